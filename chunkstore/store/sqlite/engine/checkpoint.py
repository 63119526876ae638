"""Checkpoints: copying the write-ahead log into the database."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal, TypeAlias

from chunkstore.store.sqlite.engine.connection import BUSY_TIMEOUT_SECONDS, translated_failed_syncs

# Readers of this program use the log for a few milliseconds.
_READER_WAIT_MILLISECONDS: Final = 50
_FRAME_HEADER_SIZE: Final = 24

Mode: TypeAlias = Literal["RESTART", "TRUNCATE"]


def checkpoint(db: sqlite3.Connection, mode: Mode) -> int:
    """Copy the log into the database as far as readers allow; an attached one is left alone.

    The first pass is PASSIVE and waits for nobody. Then little is left, and `mode` waits a moment
    for readers that use the log. Return the size of the log in bytes, 0 if no reader was in the
    way, so that the log restarts from its beginning.

    Raises:
        SyncFailed: the log or the database was not synced.
        sqlite3.OperationalError: it was interrupted, or failed in another way; nothing is lost.
    """
    db.execute(f"PRAGMA busy_timeout = {_READER_WAIT_MILLISECONDS}")
    try:
        with translated_failed_syncs():
            _run(db, "PASSIVE")
            busy, frames = _run(db, mode)
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
    return frames * (int(page_size) + _FRAME_HEADER_SIZE) if busy else 0


def _run(db: sqlite3.Connection, mode: str) -> tuple[bool, int]:
    """Return whether a reader was in the way, and how many frames the log has."""
    [(busy, frames, _)] = db.execute(f"PRAGMA main.wal_checkpoint({mode})").fetchall()
    return bool(busy), int(frames)
