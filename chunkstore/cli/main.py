"""The command line: the only place that knows every part."""

from __future__ import annotations

import logging
from typing import Any

import click

import chunkstore
from chunkstore.cli import commands
from chunkstore.cli.options import (
    BASE_PATH,
    CHUNK_SIZE,
    COMPRESSION,
    DURATION,
    HOST,
    MEMORY,
    ORIGIN,
    RATE,
    SETTINGS,
    SIZE,
    Program,
    db_option,
    grace_option,
)
from chunkstore.core.chunking import MAX_CHUNK_SIZE
from chunkstore.core.client_limits import DEFAULT_LIMITS
from chunkstore.core.compression import DEFAULT_COMPRESSION
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.units import format_size
from chunkstore.server.config import DEFAULT_MIN_FREE, ServeConfig
from chunkstore.server.run import run
from chunkstore.service.memory import DEFAULT_MEMORY
from chunkstore.service.resumable.uploads import DEFAULT_EXPIRY_SECONDS, DEFAULT_MAX_UNFINISHED
from chunkstore.store.open import describe_location, is_shared

_logger = logging.getLogger(__name__)


@click.group(cls=Program, context_settings=SETTINGS)
@click.version_option(chunkstore.__version__, prog_name="chunkstore")
def cli() -> None:
    """A file server that keeps files as deduplicated chunks in a database.

    Each option can also be set in the environment: --max-file-size as CHUNKSTORE_MAX_FILE_SIZE.
    """


@cli.command(context_settings=SETTINGS)
@db_option
@click.option(
    "--read-db",
    metavar="URL",
    help="A standby of a PostgreSQL --db, to read chunks from; the primary has what it lacks.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that share the port; more than one on PostgreSQL only.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--base-path",
    type=BASE_PATH,
    default="/",
    show_default=True,
    help="The path that all URLs begin with, for a reverse proxy that passes it on.",
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
    help="Refuse what adds anything where the disk would have less left; 0 for no floor.",
)
@click.option("--max-file-size", type=SIZE, help="Refuse larger files.  [default: no bound]")
@click.option(
    "--memory",
    type=MEMORY,
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
    type=ORIGIN,
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin, like https://example.org, use the server; * for any. Can be"
    " given several times.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    type=HOST,
    multiple=True,
    metavar="HOST",
    envvar="CHUNKSTORE_ALLOW_HOST",
    help="Answer requests for this host, like files.example.org, too; else only for localhost and"
    " the machine's own addresses. Can be given several times.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMITS.max_connections,
    show_default=True,
    help="Refuse more at the same time.",
)
@click.option(
    "--head-timeout",
    "head_seconds",
    type=DURATION,
    default=DEFAULT_LIMITS.head_seconds,
    show_default="20s",
    help="How long the head of a request may take to come; 0 for no bound.",
)
@click.option(
    "--idle-timeout",
    "idle_seconds",
    type=DURATION,
    default=DEFAULT_LIMITS.idle_seconds,
    show_default="1m",
    help="Break off a request of which not a byte comes or is taken for so long; 0 for never.",
)
@click.option(
    "--min-rate",
    type=SIZE,
    default=DEFAULT_LIMITS.min_rate,
    show_default=format_size(DEFAULT_LIMITS.min_rate),
    help="Break off a request that is slower, in bytes a second, for --idle-timeout; 0 for none.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    show_default=True,
    help="Log each request on standard error.",
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
    # Here, because it takes longer to load than most other commands to run.
    from chunkstore.server.process import serve as run_server
    from chunkstore.server.workers import supervise

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    _log_nothing_else()
    config = ServeConfig(**options)
    hosts = HostPolicy.of(config.host, config.allowed_hosts)

    def announce(url: str) -> None:
        if not hosts.is_loopback_only:
            _logger.info("Answering for %s; --allow-host adds others.", hosts.describe())
        click.echo(f"Serving {describe_location(config.db)} at {url}")

    if config.memory < config.workers * MAX_CHUNK_SIZE:
        least = format_size(config.workers * MAX_CHUNK_SIZE)
        raise click.UsageError(f"--memory must be at least {least} for so many --workers.")
    if config.workers == 1:
        run(run_server(config, announce), config.db)
    elif is_shared(config.db):
        supervise(config, announce)
    else:
        raise click.UsageError(
            "--workers is for PostgreSQL: an SQLite database has one process, which writes faster"
            " than several that would wait for each other."
        )


def _log_nothing_else() -> None:
    """Find out nothing for each line but what the format shows (logging's HOWTO, Optimization)."""
    logging._srcfile = None
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False


for command in commands.COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the program."""
    cli()
