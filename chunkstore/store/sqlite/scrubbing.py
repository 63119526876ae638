"""Scrub: reading all chunks again, and the chunk lists, to find damage before a download does."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import mark
from chunkstore.store.sqlite.rows import QUERIES

_STEP_SIZE: Final = 4 * 1024 * 1024
_CONTENTS_A_STEP: Final = 100


@dataclass(slots=True)
class _Step:
    """Chunks checked, up to the one with the id `last`; `size` is theirs as stored."""

    last: int
    chunks: int = 0
    size: int = 0
    damage: list[Damage] = field(default_factory=list)
    newly_damaged: list[Digest] = field(default_factory=list)
    whole_again: list[Digest] = field(default_factory=list)


async def scrub(readers: Runner, writer: Writer | None) -> AsyncIterator[Scrubbed]:
    """Check everything in short steps; without `writer`, damage is told of and not noted."""
    async for step in _check_chunks(readers):
        if writer is not None and (step.newly_damaged or step.whole_again):
            await writer.run(partial(_note, step=step))
        yield Scrubbed(chunks=step.chunks, size=step.size, damage=tuple(step.damage))
    async for broken in find_broken_contents(readers):
        yield Scrubbed(damage=tuple(broken))


async def _check_chunks(readers: Runner) -> AsyncIterator[_Step]:
    step = _Step(last=0)
    while True:
        step = await readers.run(partial(_check_some, after=step.last))
        if not step.chunks:
            return
        yield step


def _check_some(db: sqlite3.Connection, after: int) -> _Step:
    step = _Step(last=after)
    # Closed early, it must not keep its view of the database.
    with closing(db.execute(QUERIES["chunks_to_scrub"], {"after": after})) as rows:
        for step.last, stored_size, marked, *kept in rows:
            step.chunks += 1
            step.size += stored_size
            _check_one(db, step, kept, marked)
            if step.size >= _STEP_SIZE:
                break
    return step


def _check_one(db: sqlite3.Connection, step: _Step, kept: Sequence[Any], marked: int) -> None:
    try:
        check_chunk(*kept)
    except DamagedChunk as error:
        files = _names(db, "files_with_chunk", {"chunk": step.last})
        step.damage.append(Damage("chunk", error.digest, files))
        if not marked:
            step.newly_damaged.append(error.digest)
    else:
        if marked:
            step.whole_again.append(Digest(kept[0]))


def _note(db: sqlite3.Connection, step: _Step) -> None:
    for digest in step.newly_damaged:
        mark(db, digest, damaged=True)
    for digest in step.whole_again:
        mark(db, digest, damaged=False)


async def find_broken_contents(readers: Runner) -> AsyncIterator[list[Damage]]:
    """Yield contents whose chunk lists do not add up."""
    last = await readers.run(lambda db: db.execute(QUERIES["last_manifest"]).fetchone()[0])
    for after in range(0, last, _CONTENTS_A_STEP):
        broken = await readers.run(partial(_broken_contents, after=after))
        if broken:
            yield broken


def _broken_contents(db: sqlite3.Connection, after: int) -> list[Damage]:
    span = {"after": after, "last": after + _CONTENTS_A_STEP}
    return [
        Damage("content", Digest(digest), _names(db, "files_of_manifest", {"manifest": manifest}))
        for manifest, digest in db.execute(QUERIES["broken_contents"], span).fetchall()
    ]


def _names(db: sqlite3.Connection, query: str, parameters: dict[str, int]) -> list[FileName]:
    return [FileName(name) for (name,) in db.execute(QUERIES[query], parameters).fetchall()]
