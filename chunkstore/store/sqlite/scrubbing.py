"""Scrub: reading everything again, to find damage before a download does.

Chunks and chunk lists are checked against their digests and sizes. Names have no digests; SQLite
checks that their tables and indexes are in order and agree, so that no name is missing unnoticed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import DatabaseDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.sqlite.engine.connection import Runner, understood_rows
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import MarkChunks, check_row
from chunkstore.store.sqlite.rows import execute, fetch_value

_STEP_SIZE: Final = 4 * 1024 * 1024
_MANIFESTS_A_STEP: Final = 100
# Those that a list of names reads.
_NAME_TABLES: Final = ("file", "folder", "manifest")

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Step:
    """The chunks checked, up to the one with the id `last`; `size` is theirs as stored."""

    last: int
    chunks: int = 0
    size: int = 0
    damage: list[Damage] = field(default_factory=list)
    newly_damaged: list[Digest] = field(default_factory=list)
    whole_again: list[Digest] = field(default_factory=list)


async def scrub(readers: Runner, writer: Writer | None) -> AsyncIterator[Scrubbed]:
    """Check everything in short steps; without `writer`, damage is reported but not marked.

    Raises:
        DatabaseDamaged: a table of names is damaged, which only a backup repairs. The rest has been
            checked before, as far as it can be read.
    """
    step = await readers.run(partial(_check_chunks, after=0))
    while step.chunks:
        if writer is not None and (step.newly_damaged or step.whole_again):
            await writer.run(MarkChunks(step.newly_damaged, step.whole_again).run)
        yield Scrubbed(chunks=step.chunks, size=step.size, damage=tuple(step.damage))
        step = await readers.run(partial(_check_chunks, after=step.last))
    async for broken in find_broken_manifests(readers):
        yield Scrubbed(damage=tuple(broken))
    for table in _NAME_TABLES:
        await readers.run(partial(_require_order, table=table))


def _require_order(db: sqlite3.Connection, table: str) -> None:
    """Check the pages of a table and its indexes: in one step, a second for a million rows."""
    [(problem,), *_] = db.execute(f"PRAGMA integrity_check({table})").fetchall()
    if problem != "ok":
        _logger.error("The table %r is damaged: %s", table, problem.replace("\n", " "))
        raise DatabaseDamaged


def _check_chunks(db: sqlite3.Connection, after: int) -> _Step:
    step = _Step(last=after)
    # Closed early, the cursor must not keep its view of the database.
    with understood_rows(), closing(execute(db, "chunks_to_scrub", after=after)) as rows:
        for row in rows:
            step.last = row["id"]
            step.chunks += 1
            step.size += row["stored_size"]
            _check_chunk(db, step, row)
            if step.size >= _STEP_SIZE:
                break
    return step


def _check_chunk(db: sqlite3.Connection, step: _Step, row: sqlite3.Row) -> None:
    try:
        check_row(row)
    except DamagedChunk as error:
        files = find_names(db, "files_with_chunk", row["id"])
        step.damage.append(Damage("chunk", error.digest, files))
        if not row["damaged"]:
            step.newly_damaged.append(error.digest)
    else:
        if row["damaged"]:
            step.whole_again.append(Digest(row["digest"]))


async def find_broken_manifests(readers: Runner) -> AsyncIterator[list[Damage]]:
    """Yield the content whose chunk list is not as long as it should be."""
    last = await readers.run(partial(fetch_value, query="last_manifest"))
    for after in range(0, last, _MANIFESTS_A_STEP):
        if broken := await readers.run(partial(_broken_manifests, after=after)):
            yield broken


def _broken_manifests(db: sqlite3.Connection, after: int) -> list[Damage]:
    last = after + _MANIFESTS_A_STEP
    rows = execute(db, "broken_manifests", after=after, last=last).fetchall()
    with understood_rows():
        return [
            Damage("content", Digest(row["digest"]), find_names(db, "files_of_manifest", row["id"]))
            for row in rows
        ]


def find_names(db: sqlite3.Connection, query: str, row_id: int) -> list[FileName]:
    """Return the files that a chunk or a manifest belongs to."""
    return [FileName(row["name"]) for row in execute(db, query, id=row_id)]
