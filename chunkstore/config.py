"""What the command line and the environment can set, as typed values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How to serve. Sizes are bytes; None leaves a bound out or a setting as it is.

    `db` is where the store is; `chunk_size` that of new contents; `memory` bounds what all
    requests together hold of contents. Every `collect_seconds`, 0 for never, what has been unused
    and is older than `grace_seconds` is removed. `max_connections` may be open at once;
    `head_seconds`, `idle_seconds` and `min_rate`, in bytes per second, bound the patience with
    slow clients, 0 meaning no bound.
    """

    db: str
    host: str
    port: int
    chunk_size: int | None
    max_file_size: int | None
    memory: int
    shutdown_seconds: float
    collect_seconds: float
    grace_seconds: float
    max_connections: int
    head_seconds: float
    idle_seconds: float
    min_rate: int
