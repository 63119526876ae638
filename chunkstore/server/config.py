"""What the command line and the environment can set, as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chunkstore.core.compression import Compression
from chunkstore.core.hosts import Host

# Room for the database's log, so that deleting and collecting stay possible.
DEFAULT_MIN_FREE: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How to serve. Sizes are bytes; None leaves a bound out or a setting as it is.

    `db` is where the store is, `read_db` a standby to read chunks from, `workers` how many
    processes share the port; `base_path` the path that all URLs begin with; `chunk_size` that of
    new contents; `memory` bounds what all requests together hold of contents. New chunks are kept
    by `compression`; what adds anything is refused where the disk would have less than `min_free`
    left. Every
    `collect_seconds`, 0 for never, what has been unused and is older than `grace_seconds` is
    removed. Once the last scrub is `scrub_seconds` ago, 0 for never, there is another, of at most
    `scrub_rate` bytes a second. `max_connections` may be open at once; `head_seconds`,
    `idle_seconds` and `min_rate`, in bytes per second, bound the patience with slow clients, 0
    meaning no bound. Resumable uploads last `upload_expiry_seconds` from their last progress on,
    and have `max_unfinished` bytes in the store at most until they are finished. Pages of
    `cors_origins` may use the server. Requests may be for `allowed_hosts` too, see `hosts`.
    `access_log` is whether each request has a line in the log.
    """

    db: str
    read_db: str | None
    workers: int
    host: str
    port: int
    base_path: str
    chunk_size: int | None
    compression: Compression
    min_free: int
    max_file_size: int | None
    memory: int
    tune_malloc: bool
    upload_expiry_seconds: float
    max_unfinished: int
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[Host, ...]
    shutdown_seconds: float
    collect_seconds: float
    grace_seconds: float
    scrub_seconds: float
    scrub_rate: int
    max_connections: int
    head_seconds: float
    idle_seconds: float
    min_rate: int
    access_log: bool
