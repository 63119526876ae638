"""The command line: the only place that knows every part."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

import chunkstore
from chunkstore.chunking import check_chunk_size
from chunkstore.collect import collect_all, format_collected
from chunkstore.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.config import DEFAULT_MIN_FREE, ServeConfig
from chunkstore.errors import ChunkstoreError, StoreInUse, StoreUnusable
from chunkstore.http.app import DEFAULT_MEMORY
from chunkstore.http.presentation import describe_stats
from chunkstore.scrub import format_damage, format_report, scrub_all
from chunkstore.server import serve as run_server
from chunkstore.store.base import Collected, Scrubbed, ScrubReport, Stats, Store
from chunkstore.store.open import open_store
from chunkstore.units import format_size, parse_duration_seconds, parse_size
from chunkstore.uploads import DEFAULT_EXPIRY_SECONDS, DEFAULT_MAX_UNFINISHED

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

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


def _positive(number: int) -> int:
    if number <= 0:
        raise ValueError("it must be more than nothing")
    return number


SIZE = _Parsed("size", parse_size)
CHUNK_SIZE = _Parsed("size", lambda text: check_chunk_size(parse_size(text)))
RATE = _Parsed("size", lambda text: _positive(parse_size(text)))
COMPRESSION = _Parsed("compression", Compression.parse)
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
@click.option(
    "--compression",
    type=COMPRESSION,
    default=DEFAULT_COMPRESSION,
    show_default=str(DEFAULT_COMPRESSION),
    metavar="none|zstd[:LEVEL]",
    help="How to keep new chunks, where it saves enough.",
)
@click.option(
    "--min-free",
    type=SIZE,
    default=DEFAULT_MIN_FREE,
    show_default=format_size(DEFAULT_MIN_FREE),
    help="Refuse new content where the file system would have less left; 0 for no floor.",
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
@click.option(
    "--scrub-every",
    "scrub_seconds",
    type=DURATION,
    default=30 * 86400.0,
    show_default="30d",
    help="How often to check all that is stored against its digests; 0 for never.",
)
@click.option(
    "--scrub-rate",
    type=RATE,
    default=16 * 1024 * 1024,
    show_default="16MiB",
    help="How much of it to read in a second.",
)
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


@cli.command(context_settings=SETTINGS)
@db_option
def scrub(db: str) -> None:
    """Check all that is stored against its digests; the exit status is 1 if something is damaged.

    A server does so by itself. While one has the store open, this only tells of what is damaged;
    otherwise it is noted too, and the next upload that brings it repairs it.
    """
    report = run(_scrub(db), db)
    click.echo(f"Checked {format_report(report)}.")
    sys.exit(1 if report.damaged else 0)


async def _scrub(db: str) -> ScrubReport:
    try:
        async with _opened(db, create=False) as store:
            report = await _show_scrub(store)
            await store.put_scrub_report(report)
            return report
    except StoreInUse:
        click.echo("A server has the store open: damage is told of, not noted.", err=True)
    async with _opened(db, read_only=True) as store:
        return await _show_scrub(store)


async def _show_scrub(store: Store) -> ScrubReport:
    total = (await store.stats()).stored_size
    with progress("Scrubbing", total) as bar:

        def show(step: Scrubbed) -> None:
            bar.update(step.size)
            for damage in step.damage:
                click.echo(format_damage(damage))

        return await scrub_all(store, show)


async def _collect(db: str, grace_seconds: float, *, dry_run: bool) -> Collected:
    async with _opened(db, read_only=dry_run, create=False) as store:
        return await collect_all(store, grace_seconds, dry_run=dry_run)


async def _read_stats(db: str) -> Stats:
    async with _opened(db, read_only=True) as store:
        return await store.stats()


def progress(label: str, total: int) -> ProgressBar[int]:
    """Return a bar on the terminal, if there is one."""
    hidden = not sys.stderr.isatty()
    return click.progressbar(length=total, label=label, file=sys.stderr, hidden=hidden)


@asynccontextmanager
async def _opened(db: str, *, read_only: bool = False, create: bool = True) -> AsyncIterator[Store]:
    store = await open_store(db, read_only=read_only, create=create)
    try:
        yield store
    finally:
        await store.close()


def _format_stats(found: Stats) -> str:
    scrubbed = found.scrub
    rows = {
        "files": f"{found.files:,}",
        "contents": f"{found.contents:,}",
        "chunks": f"{found.chunks:,} of {format_size(found.chunk_size)}",
        "logical size": format_size(found.logical_size),
        "unique size": format_size(found.unique_size),
        "stored size": format_size(found.stored_size),
        "ratio": _format_ratio(found.ratio),
        "deduplication": _format_ratio(found.deduplication),
        "compression": _format_ratio(found.compression),
        "database size": format_size(found.database_size),
        "damaged chunks": f"{found.damaged:,}",
        "last scrub": "-" if scrubbed is None else _format_scrub(scrubbed),
        **found.versions,
    }
    return "\n".join(f"{label:14} {value}" for label, value in rows.items())


def _format_scrub(report: ScrubReport) -> str:
    return f"{report.finished:%Y-%m-%d %H:%M} UTC: {format_report(report)}"


def _format_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


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
