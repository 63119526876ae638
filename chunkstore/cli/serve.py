"""`chunkstore serve` and its options."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click

from chunkstore.cli.network_options import check_network, network_options, number_from
from chunkstore.cli.options import LOCATION, chunking_option, db_option, grace_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.sign_on_options import check_sign_on, sign_on_options
from chunkstore.cli.values import DURATION, Parsed
from chunkstore.core.chunking import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    check_chunk_size,
)
from chunkstore.core.client_limits import DEFAULT_LIMITS
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.units import format_duration, format_exact_size, parse_size
from chunkstore.server.config import DEFAULT_MIN_FREE, LogFormat, ServeConfig
from chunkstore.server.run import run
from chunkstore.service.access.audit import Audited
from chunkstore.service.checksums import CHECKSUM_ALGORITHMS
from chunkstore.service.memory import DEFAULT_MEMORY
from chunkstore.service.resumable.uploads import DEFAULT_EXPIRY_SECONDS, DEFAULT_MAX_UNFINISHED
from chunkstore.store.open import is_shared, redact_password

_MAX_CONNECTIONS: Final = 1_000_000
_MAX_SIZE: Final = 2**62  # a database keeps numbers below twice as much

_logger = logging.getLogger(__name__)


def _parse_size(text: str) -> int:
    size = parse_size(text)
    if size > _MAX_SIZE:
        raise ValueError(f"{text!r} is more than {format_exact_size(_MAX_SIZE)}")
    return size


def _parse_rate(text: str) -> int:
    rate = _parse_size(text)
    if rate == 0:
        raise ValueError("it must be more than 0")
    return rate


def _parse_audited(text: str) -> Audited:
    if text not in list(Audited):
        raise ValueError(f"{text!r} is neither closed nor always nor never")
    return Audited(text)


def _parse_log_format(text: str) -> LogFormat:
    if text not in list(LogFormat):
        raise ValueError(f"{text!r} is neither text nor json")
    return LogFormat(text)


def _parse_checksums(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.lower().split(",") if name.strip()))
    for name in names:
        if name not in CHECKSUM_ALGORITHMS:
            raise ValueError(f"{name!r} is none of {', '.join(CHECKSUM_ALGORITHMS)}")
    return names


def _parse_memory(text: str) -> int:
    size = _parse_size(text)
    if size < MAX_CHUNK_SIZE:
        raise ValueError(f"it must be at least {format_exact_size(MAX_CHUNK_SIZE)}, for one chunk")
    return size


SIZE: Final = Parsed("size", _parse_size)
MEMORY: Final = Parsed("size", _parse_memory)
CHUNK_SIZE: Final = Parsed("size", lambda text: check_chunk_size(parse_size(text)))
CHECKSUMS: Final = Parsed("checksums", _parse_checksums)
RATE: Final = Parsed("size", _parse_rate)
COMPRESSION: Final = Parsed("compression", Compression.parse)

_STORE: Final = "Store"
_HOUSEKEEPING: Final = "Housekeeping"


def _options_of(section: str) -> Callable[..., Callable[[Any], Any]]:
    return partial(click.option, cls=Option, section=section)


_store_option = _options_of(_STORE)
_limit_option = _options_of("Limits")
_housekeeping_option = _options_of(_HOUSEKEEPING)
_log_option = _options_of("Logs")


@click.command("serve", cls=Command, context_settings=SETTINGS)
@db_option(section=_STORE)
@_store_option(
    "--read-db",
    type=LOCATION,
    metavar="URL",
    help="A standby of a PostgreSQL --db, to read chunks from. What it lacks comes from --db.",
)
@_store_option(
    "--chunk-size",
    type=CHUNK_SIZE,
    show_default=f"the store's; {format_exact_size(DEFAULT_CHUNK_SIZE)} for a new one",
    help=f"Chunk size for new files: a power of two from {format_exact_size(MIN_CHUNK_SIZE)} to"
    f" {format_exact_size(MAX_CHUNK_SIZE)}.",
)
@chunking_option(section=_STORE)
@_store_option(
    "--compression",
    type=COMPRESSION,
    default=str(DEFAULT_COMPRESSION),
    metavar="none|zstd[:LEVEL]",
    help="Compression of new chunks, where it saves at least an eighth. LEVEL is 1 to 19.",
)
@_store_option(
    "--checksums",
    type=CHECKSUMS,
    default="",
    show_default="none",
    metavar="[md5,sha1,sha256]",
    help="Keep these of each file, and tell them by WebDAV, as ownCloud does; rclone compares files"
    " by them. They cost processor time for each byte.",
)
@_store_option(
    "--one-file/--no-one-file",
    default=None,
    show_default="the store's; --no-one-file for a new one",
    help="Keep also large contents in the one file of an SQLite database, not in a folder beside"
    " it. That is slower. What is in the folder already moves over time.",
)
@_store_option(
    "--min-free",
    type=SIZE,
    default=format_exact_size(DEFAULT_MIN_FREE),
    help="Refuse uploads that would leave less than this free on the disk of an SQLite database."
    " 0 disables the check.",
)
@network_options
@sign_on_options
@_limit_option(
    "--max-file-size", type=SIZE, show_default="unlimited", help="Largest file to accept."
)
@_limit_option(
    "--memory",
    type=MEMORY,
    default=format_exact_size(DEFAULT_MEMORY),
    help="Memory for file content, shared by all requests.",
)
@_limit_option(
    "--hot-files/--no-hot-files",
    default=True,
    help="Keep small files that were asked for last in memory, in a quarter of --memory at most, as"
    " long as that is free. With SQLite only.",
)
@_limit_option(
    "--tune-malloc/--no-tune-malloc",
    default=True,
    help="Let all threads share one malloc heap, which keeps freed memory (glibc only). Parallel"
    " transfers then take less memory and fewer page faults, but up to 64 MiB stay with the"
    " process when they have ended.",
)
@_limit_option(
    "--max-connections",
    type=number_from(1, _MAX_CONNECTIONS),
    default=DEFAULT_LIMITS.max_connections,
    help="Maximum number of open connections. Requests on others are answered 503.",
)
@_limit_option(
    "--head-timeout",
    "head_seconds",
    type=DURATION,
    default=format_duration(DEFAULT_LIMITS.head_seconds),
    help="How long the head of a request may take to arrive. 0 disables the limit.",
)
@_limit_option(
    "--idle-timeout",
    "idle_seconds",
    type=DURATION,
    default=format_duration(DEFAULT_LIMITS.idle_seconds),
    help="How long an upload or download may stand still. 0 disables the limit.",
)
@_limit_option(
    "--min-rate",
    type=SIZE,
    default=format_exact_size(DEFAULT_LIMITS.min_rate),
    help="Minimum average rate of an upload or download, in bytes per second. A slower one is"
    " broken off once it is --idle-timeout behind. 0 disables the limit.",
)
@_limit_option(
    "--max-unfinished",
    type=SIZE,
    default=format_exact_size(DEFAULT_MAX_UNFINISHED),
    help="Maximum size of all unfinished resumable uploads together.",
)
@_limit_option(
    "--upload-expiry",
    "upload_expiry_seconds",
    type=DURATION,
    default=format_duration(DEFAULT_EXPIRY_SECONDS),
    help="How long a resumable upload is kept after its last progress.",
)
@_housekeeping_option(
    "--collect-every",
    "collect_seconds",
    type=DURATION,
    default="1h",
    help="How often to remove data that no file uses any more. 0 disables it.",
)
@grace_option(section=_HOUSEKEEPING)
@_housekeeping_option(
    "--scrub-every",
    "scrub_seconds",
    type=DURATION,
    default="30d",
    help="How often to verify all stored data against its digests. 0 disables it.",
)
@_housekeeping_option(
    "--scrub-rate",
    type=RATE,
    default="16MiB",
    help="Maximum rate at which that reads, in bytes per second.",
)
@_housekeeping_option(
    "--audit",
    "audited",
    type=Parsed("when", _parse_audited),
    default=Audited.CLOSED.value,
    metavar="closed|always|never",
    help="When the audit log tells who does what: while there are accounts, always or never.",
)
@_housekeeping_option(
    "--audit-for",
    "audit_seconds",
    type=DURATION,
    default="90d",
    help="How long the audit log keeps that. 0 keeps it for ever.",
)
@_log_option(
    "--access-log/--no-access-log", default=True, help="Log each request to standard error."
)
@_log_option(
    "--log-format",
    type=Parsed("format", _parse_log_format),
    default=LogFormat.TEXT.value,
    metavar="text|json",
    help="Log lines for people, or a JSON object a line.",
)
def serve_command(**options: Any) -> None:  # noqa: ANN401 - click gives them by name
    """Serve files over HTTP."""
    # Here, because it takes longer to load than `--help` to run.
    from chunkstore.server.logs import announce_line, configure_logging
    from chunkstore.server.process import serve
    from chunkstore.server.systemd import find_overseer
    from chunkstore.server.workers import supervise

    config = ServeConfig(**options)
    _check(config)
    configure_logging(config.log_format)
    hosts = HostPolicy.of(config.host, config.allowed_hosts)

    def announce(url: str) -> None:
        if not hosts.is_loopback_only:
            _logger.info("Answering for %s; --allow-host adds others.", hosts.format_hosts())
        serving = f"Serving {redact_password(config.db)} at {url}"
        click.echo(announce_line(serving, config.log_format))

    overseer = find_overseer()
    if config.workers == 1:
        run(serve(config, announce, overseer=overseer), config.db)
    else:
        supervise(config, announce, overseer)


def _check(config: ServeConfig) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: they do not.
    """
    if config.chunk_size is not None:
        try:
            config.chunking.require_room(config.chunk_size)
        except ValueError as error:
            raise click.UsageError(f"--chunking fixed is the only way here: {error}.") from error
    check_network(config)
    check_sign_on(config)
    least = config.workers * MAX_CHUNK_SIZE
    if config.memory < least:
        raise click.UsageError(
            f"--memory must be at least {format_exact_size(least)} for {config.workers} workers."
        )
    if config.workers > 1 and not is_shared(config.db):
        raise click.UsageError(
            "--workers needs PostgreSQL: one process writes to an SQLite database faster than"
            " several that would wait for each other."
        )
