"""Jobs on the database as a whole: its settings, recovery after a crash, and its counts."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE, check_chunk_size
from chunkstore.core.errors import DatabaseReplaced, StoreUnusable
from chunkstore.store.contract.reports import ScrubReport
from chunkstore.store.shared.records import format_report, parse_report
from chunkstore.store.sqlite import schema
from chunkstore.store.sqlite.engine.connection import snapshot, understood_rows
from chunkstore.store.sqlite.rows import execute, fetch_value


@dataclass(frozen=True, slots=True)
class State:
    """The chunk size of new content in bytes, and the greatest id that a manifest has had.

    Large contents go to segments unless the store is to be `one_file`. `segment_session` is the
    last session of writing segments, None if there was none.
    """

    chunk_size: int
    last_manifest: int
    one_file: bool
    segment_session: int | None


def read_state(db: sqlite3.Connection) -> State:
    """Return the recorded state."""
    chunk_size = fetch_value(db, "find_setting", name="chunk_size")
    recorded = fetch_value(db, "find_setting", name="last_manifest")
    with understood_rows():
        last_manifest = max(recorded or 0, fetch_value(db, "last_manifest"))
        return State(
            check_chunk_size(chunk_size or DEFAULT_CHUNK_SIZE),
            last_manifest,
            bool(fetch_value(db, "find_setting", name="one_file")),
            fetch_value(db, "find_setting", name="segment_session"),
        )


def check_and_read_state(db: sqlite3.Connection) -> State:
    """Return the state of a database that is opened for reading only.

    Raises:
        NotAStore, NewerSchema, StoreUnusable: its schema is not the current one.
    """
    version = schema.check(db)
    if version != schema.SCHEMA_VERSION:
        raise StoreUnusable(
            "It is empty."
            if version == 0
            else "Its schema is old: `chunkstore init --db` on it migrates it."
        )
    return read_state(db)


@dataclass(frozen=True, slots=True)
class NewSettings:
    """What is to be recorded when a database is opened for writing; None keeps what it has."""

    chunk_size: int | None
    one_file: bool | None


def recover(db: sqlite3.Connection, settings: NewSettings) -> State:
    """Forget the uploads of a crashed process, and record settings.

    A store without an id gets one, by which its backups know it. No id of a manifest is given
    again: another process, as one that exports, may still read by it.
    """
    execute(db, "record_last_manifest")
    execute(db, "delete_open_manifests")
    execute(db, "add_setting", name="id", value=secrets.token_hex(16))
    if settings.one_file is not None:
        execute(db, "put_setting", name="one_file", value=int(settings.one_file))
    size = settings.chunk_size or read_state(db).chunk_size
    execute(db, "put_setting", name="chunk_size", value=size)
    return read_state(db)


def put_scrub_report(db: sqlite3.Connection, report: ScrubReport) -> None:
    """Record the report of the last scrub."""
    execute(db, "put_setting", name="scrub", value=format_report(report))


def find_scrub_report(db: sqlite3.Connection) -> ScrubReport | None:
    """Return the report of the last scrub, None if there is none."""
    report = fetch_value(db, "find_setting", name="scrub")
    with understood_rows():
        return None if report is None else parse_report(report)


def count(db: sqlite3.Connection) -> dict[str, int]:
    """Return the figures of `Stats` that are counted, by name, of one snapshot."""
    with snapshot(db):
        return {
            **execute(db, "count_files").fetchone(),
            **execute(db, "count_chunks").fetchone(),
        }


def database_size(path: Path) -> int:
    """Return the size of the database and its log on disk, in bytes.

    Raises:
        DatabaseReplaced: the database is gone.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DatabaseReplaced from error
    with suppress(FileNotFoundError):
        size += log.stat().st_size
    return size
