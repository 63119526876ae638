"""Scrub: reading everything again, to find damage before a download does.

Chunks and chunk lists are checked against their digests, names against the manifests that they
were made for. SQLite checks that the tables of names and their indexes are in order and agree, so
that no name is missing unnoticed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import DatabaseDamaged, StoreDamaged
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.shared.manifest_rows import proved_manifest
from chunkstore.store.sqlite.chunk_bytes import BytesReader, run_with_bytes
from chunkstore.store.sqlite.engine.connection import Runner, snapshot, understood_rows
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import Marks
from chunkstore.store.sqlite.reading import PLACES_A_STEP, check_row, places_of, read_list
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.segments.reading import SegmentReaders

_STEP_SIZE: Final = 4 * 1024 * 1024
_NAMES_A_STEP: Final = 10_000
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


async def scrub(
    readers: Runner, writer: Writer | None, segments: SegmentReaders
) -> AsyncIterator[Scrubbed]:
    """Check everything in short steps; without `writer`, damage is reported but not marked.

    Raises:
        DatabaseDamaged: a table of names is damaged, which only a backup repairs. The rest has been
            checked before, as far as it can be read.
    """
    step = await run_with_bytes(readers.run, segments, partial(_check_chunks, after=0))
    while step.chunks:
        await _mark(writer, Marks(chunks=step.newly_damaged))
        await _mark(writer, Marks(chunks=step.whole_again, damaged=False))
        yield Scrubbed(chunks=step.chunks, size=step.size, damage=tuple(step.damage))
        step = await run_with_bytes(readers.run, segments, partial(_check_chunks, after=step.last))
    async for damage in find_damaged_lists(readers, writer):
        yield Scrubbed(damage=damage)
    async for damage in _find_damaged_names(readers):
        yield Scrubbed(damage=damage)
    for table in _NAME_TABLES:
        await readers.run(partial(_require_order, table=table))


def _require_order(db: sqlite3.Connection, table: str) -> None:
    """Check the pages of a table and its indexes: in one step, a second for a million rows."""
    [(problem,), *_] = db.execute(f"PRAGMA integrity_check({table})").fetchall()
    if problem != "ok":
        _logger.error("The table %r is damaged: %s", table, problem.replace("\n", " "))
        raise DatabaseDamaged


def _check_chunks(db: sqlite3.Connection, reader: BytesReader, after: int) -> _Step:
    step = _Step(last=after)
    # Closed early, the cursor must not keep its view of the database.
    with understood_rows(), closing(execute(db, "chunks_to_scrub", after=after)) as rows:
        for row in rows:
            step.last = row["id"]
            step.chunks += 1
            step.size += row["stored_size"]
            _check_chunk(db, reader, step, row)
            if step.size >= _STEP_SIZE:
                break
    return step


def _check_chunk(
    db: sqlite3.Connection, reader: BytesReader, step: _Step, row: sqlite3.Row
) -> None:
    try:
        check_row(row, reader)
    except DamagedChunk as error:
        files = find_names(db, "files_with_chunk", row["id"])
        step.damage.append(Damage("chunk", error.digest, files))
        if not row["damaged"]:
            step.newly_damaged.append(error.digest)
    else:
        if row["damaged"]:
            step.whole_again.append(Digest(row["digest"]))


@dataclass(slots=True)
class _ListStep:
    """The lists checked, up to that of the manifest with the id `last`.

    `long` is the last one, with its row, if its list is to be checked in steps of its own.
    """

    last: int
    places: int = 0
    long: tuple[sqlite3.Row, Manifest] | None = None
    damaged: list[sqlite3.Row] = field(default_factory=list)
    newly_damaged: list[int] = field(default_factory=list)
    whole_again: list[int] = field(default_factory=list)

    def note(self, row: sqlite3.Row, *, sound: bool) -> None:
        """Note how the list of a manifest was found."""
        if not sound:
            self.damaged.append(row)
        if bool(row["damaged"]) == sound:
            (self.whole_again if sound else self.newly_damaged).append(row["id"])


async def find_damaged_lists(
    readers: Runner, writer: Writer | None, after: int = 0
) -> AsyncIterator[list[Damage]]:
    """Check the lists of all manifests with ids behind `after`; yield what each step found.

    With `writer`, damage is marked.
    """
    while True:
        step = await readers.run(partial(_check_lists, after=after))
        if step.last == after:
            return
        after = step.last
        if step.long is not None:
            await _check_long_list(readers, step, *step.long)
        await _mark(writer, Marks(manifests=step.newly_damaged))
        await _mark(writer, Marks(manifests=step.whole_again, damaged=False))
        yield await readers.run(partial(_damage_of, rows=step.damaged))


def _check_lists(db: sqlite3.Connection, after: int) -> _ListStep:
    """Check lists in the order of their manifests, until they have had some thousand places."""
    step = _ListStep(last=after)
    with snapshot(db), closing(execute(db, "manifests_to_scrub", after=after)) as rows:
        for row in rows:
            step.last = row["id"]
            manifest = proved_manifest(row)
            if manifest is not None and manifest.chunk_count > PLACES_A_STEP:
                step.long = row, manifest
                break
            step.note(row, sound=manifest is not None and _proves(db, manifest))
            step.places += 1 if manifest is None else 1 + manifest.chunk_count
            if step.places >= PLACES_A_STEP:
                break
    return step


def _proves(db: sqlite3.Connection, manifest: Manifest) -> bool:
    """Whether the list of a manifest is the one that was sealed."""
    hasher = ListHasher()
    try:
        for place in places_of(db, manifest.id, 0):
            hasher.add(place.digest, place.size)
    except StoreDamaged:
        return False
    return hasher.proves(manifest)


async def _check_long_list(
    readers: Runner, step: _ListStep, row: sqlite3.Row, manifest: Manifest
) -> None:
    try:
        sound = (await read_list(readers, manifest)).proves(manifest)
    except StoreDamaged:
        sound = False
    if not sound and not await readers.run(partial(fetch_value, query="is_sealed", id=manifest.id)):
        return
    step.note(row, sound=sound)


def _damage_of(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[Damage]:
    with understood_rows():
        return [
            Damage("content", Digest(row["digest"]), find_names(db, "files_of_manifest", row["id"]))
            for row in rows
        ]


async def _find_damaged_names(readers: Runner) -> AsyncIterator[list[Damage]]:
    """Yield, step by step, the names that do not fit the manifests that they point at."""
    after = ""
    while rows := await readers.run(partial(_names_after, after=after)):
        after = rows[-1]["name"]
        yield [
            Damage("name", None, [FileName(row["name"])])
            for row in rows
            if row["proof"] != row["expected"]
        ]


def _names_after(db: sqlite3.Connection, after: str) -> list[sqlite3.Row]:
    return execute(db, "names_to_scrub", after=after, count=_NAMES_A_STEP).fetchall()


async def _mark(writer: Writer | None, marks: Marks) -> None:
    if writer is not None and (marks.chunks or marks.manifests):
        await writer.run(marks.run)


def find_names(db: sqlite3.Connection, query: str, row_id: int) -> list[FileName]:
    """Return the files that a chunk or a manifest belongs to."""
    return [FileName(row["name"]) for row in execute(db, query, id=row_id)]
