"""The command line: the only place that knows every part."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

import chunkstore
from chunkstore.chunking import check_chunk_size
from chunkstore.collect import collect_all, format_collected
from chunkstore.config import ServeConfig
from chunkstore.errors import ChunkstoreError, StoreUnusable
from chunkstore.http.app import DEFAULT_MEMORY
from chunkstore.http.presentation import describe_stats
from chunkstore.server import serve as run_server
from chunkstore.store.base import Collected, Stats
from chunkstore.store.open import open_store
from chunkstore.units import format_size, parse_duration_seconds, parse_size
from chunkstore.uploads import DEFAULT_EXPIRY_SECONDS, DEFAULT_MAX_UNFINISHED

T = TypeVar("T")


class _Parsed(click.ParamType[Any]):
    """An option whose text a function turns into a value, or refuses by ValueError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click passes what it has
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = _Parsed("size", parse_size)
CHUNK_SIZE = _Parsed("size", lambda text: check_chunk_size(parse_size(text)))
DURATION = _Parsed("duration", parse_duration_seconds)

db_option = click.option(
    "--db",
    default="chunkstore.db",
    show_default=True,
    metavar="PATH",
    help="Where the store is.",
)


grace_option = click.option(
    "--grace",
    "grace_seconds",
    type=DURATION,
    default=3600.0,
    show_default="1h",
    help="Keep what is unused but younger.",
)

# Each option is also an environment variable, --db being CHUNKSTORE_DB for every command.
SETTINGS = {"auto_envvar_prefix": "CHUNKSTORE", "help_option_names": ["-h", "--help"]}


@click.group(context_settings=SETTINGS)
@click.version_option(chunkstore.__version__, prog_name="chunkstore")
def cli() -> None:
    """A file server that keeps files as deduplicated chunks in a database.

    Each option can also be set in the environment: --max-file-size as CHUNKSTORE_MAX_FILE_SIZE.
    """


@cli.command(context_settings=SETTINGS)
@db_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--chunk-size",
    type=CHUNK_SIZE,
    help="For new contents: a power of two from 4KiB to 1MiB.  [default: the store's, or 256KiB]",
)
@click.option("--max-file-size", type=SIZE, help="Refuse larger files.  [default: no bound]")
@click.option(
    "--memory",
    type=SIZE,
    default=DEFAULT_MEMORY,
    show_default=format_size(DEFAULT_MEMORY),
    help="For the bytes of contents that all requests together hold.",
)
@click.option(
    "--upload-expiry",
    "upload_expiry_seconds",
    type=DURATION,
    default=DEFAULT_EXPIRY_SECONDS,
    show_default="24h",
    help="How long a resumable upload may rest before it is forgotten.",
)
@click.option(
    "--max-unfinished",
    type=SIZE,
    default=DEFAULT_MAX_UNFINISHED,
    show_default=format_size(DEFAULT_MAX_UNFINISHED),
    help="For the bytes that all unfinished resumable uploads together have in the store.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin, like https://example.org, use the server; * for any.",
)
@click.option(
    "--shutdown-timeout",
    "shutdown_seconds",
    type=DURATION,
    default=30.0,
    show_default="30s",
    help="How long requests under way may take to end after SIGTERM or SIGINT.",
)
@click.option(
    "--collect-every",
    "collect_seconds",
    type=DURATION,
    default=3600.0,
    show_default="1h",
    help="How often to remove what no file needs any more; 0 for never.",
)
@grace_option
def serve(**options: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Serve files over HTTP."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    config = ServeConfig(**options)
    run(run_server(config, lambda url: click.echo(f"Serving {config.db} at {url}")), config.db)


@cli.command(context_settings=SETTINGS)
@db_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(db: str, *, as_json: bool) -> None:
    """Tell what the store holds."""
    found = run(_read_stats(db), db)
    if as_json:
        click.echo(json.dumps(describe_stats(found), indent=2))
    else:
        click.echo(_format_stats(found))


@cli.command(context_settings=SETTINGS)
@db_option
@grace_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def collect(db: str, grace_seconds: float, *, dry_run: bool) -> None:
    """Remove what no file needs any more, and give its space back.

    A server that runs does so by itself; while it has the store open, this can be a --dry-run only.
    """
    removed = run(_collect(db, grace_seconds, dry_run=dry_run), db)
    click.echo(f"{'Would remove' if dry_run else 'Removed'} {format_collected(removed)}.")


async def _collect(db: str, grace_seconds: float, *, dry_run: bool) -> Collected:
    store = await open_store(db, read_only=dry_run, create=False)
    try:
        return await collect_all(store, grace_seconds, dry_run=dry_run)
    finally:
        await store.close()


async def _read_stats(db: str) -> Stats:
    store = await open_store(db, read_only=True)
    try:
        return await store.stats()
    finally:
        await store.close()


def _format_stats(found: Stats) -> str:
    rows = {
        "files": f"{found.files:,}",
        "contents": f"{found.contents:,}",
        "chunks": f"{found.chunks:,} of {format_size(found.chunk_size)}",
        "logical size": format_size(found.logical_size),
        "stored size": format_size(found.stored_size),
        "ratio": "-" if found.ratio is None else f"{found.ratio:.3f}",
        "database size": format_size(found.database_size),
        **found.versions,
    }
    return "\n".join(f"{label:14} {value}" for label, value in rows.items())


def run(command: Coroutine[Any, Any, T], db: str) -> T:
    """Run a command to its end; an error becomes one line and exit status 1."""
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(command)
    except StoreUnusable as error:
        sys.exit(f"chunkstore: cannot open {db}: {error}")
    except ChunkstoreError as error:
        sys.exit(f"chunkstore: {error}")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop, and asyncio's own where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def main() -> None:
    """Run the program."""
    cli()
