"""What the command line and the environment can set, as typed values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How to serve. Sizes are bytes; None leaves a bound out or a setting as it is.

    `db` is where the store is; `chunk_size` that of new contents; `memory` bounds what all
    requests together hold of contents. Every `collect_seconds`, 0 for never, what has been unused
    and is older than `grace_seconds` is removed. Resumable uploads last `upload_expiry_seconds`
    from their last progress on, and have `max_unfinished` bytes in the store at most until they
    are finished. Pages of `cors_origins` may use the server.
    """

    db: str
    host: str
    port: int
    chunk_size: int | None
    max_file_size: int | None
    memory: int
    upload_expiry_seconds: float
    max_unfinished: int
    cors_origins: tuple[str, ...]
    shutdown_seconds: float
    collect_seconds: float
    grace_seconds: float
