"""Jobs on the database as a whole: what it is set up for, what a crash left, what it holds."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.errors import DatabaseReplaced, StoreUnusable
from chunkstore.store.contract.reports import ScrubReport
from chunkstore.store.shared.records import format_report, parse_report
from chunkstore.store.sqlite import schema
from chunkstore.store.sqlite.rows import QUERIES


@dataclass(frozen=True, slots=True)
class State:
    """How a store goes on: with chunks of this size in bytes, and manifests behind this id."""

    chunk_size: int
    last_manifest: int


@dataclass(frozen=True, slots=True)
class FileCount:
    """How many names and different contents there are; `logical_size` is the names' in bytes."""

    files: int
    logical_size: int
    contents: int


@dataclass(frozen=True, slots=True)
class ChunkCount:
    """How many chunks there are, their bytes, these as stored, and how many are damaged."""

    chunks: int
    size: int
    stored_size: int
    damaged: int


def read_state(db: sqlite3.Connection) -> State:
    """Return the state as it is recorded."""
    row = db.execute(QUERIES["find_setting"], {"name": "chunk_size"}).fetchone()
    last_manifest = db.execute(QUERIES["last_manifest"]).fetchone()[0]
    return State(DEFAULT_CHUNK_SIZE if row is None else row[0], last_manifest)


def inspect(db: sqlite3.Connection) -> State:
    """Return the state of a database that is only to be read.

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


def recover(db: sqlite3.Connection, chunk_size: int | None) -> State:
    """Forget the uploads of a process that died; record `chunk_size` unless it is None.

    A store that has no id gets one, by which its backups know it.
    """
    db.execute(QUERIES["delete_open_manifests"])
    db.execute(QUERIES["add_setting"], {"name": "id", "value": secrets.token_hex(16)})
    wanted = chunk_size or read_state(db).chunk_size
    db.execute(QUERIES["put_setting"], {"name": "chunk_size", "value": wanted})
    return read_state(db)


def put_scrub_report(db: sqlite3.Connection, report: ScrubReport) -> None:
    """Keep the report of the last scrub."""
    db.execute(QUERIES["put_setting"], {"name": "scrub", "value": format_report(report)})


def find_scrub_report(db: sqlite3.Connection) -> ScrubReport | None:
    """Return the report of the last scrub."""
    row = db.execute(QUERIES["find_setting"], {"name": "scrub"}).fetchone()
    return None if row is None else parse_report(row[0])


def count(db: sqlite3.Connection) -> tuple[FileCount, ChunkCount]:
    """Count in one consistent view, so that the two belong together."""
    db.execute("BEGIN")
    try:
        files = FileCount(*db.execute(QUERIES["count_files"]).fetchone())
        chunks = ChunkCount(*db.execute(QUERIES["count_chunks"]).fetchone())
    finally:
        db.execute("COMMIT")
    return files, chunks


def database_size(path: Path) -> int:
    """Return the bytes that the database and its log take on disk.

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
