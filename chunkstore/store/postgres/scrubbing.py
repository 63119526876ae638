"""Scrub: reading all chunks again, and the chunk lists, to find damage before a download does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.postgres.connection import Connection, Database, Row
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk

_STEP_SIZE: Final = 4 * 1024 * 1024
_CHUNKS_A_STEP: Final = 1024
_CONTENTS_A_STEP: Final = 100
_PLACES_AT_ONCE: Final = 4096


async def scrub(database: Database, gaps: Gaps, *, note: bool) -> AsyncIterator[Scrubbed]:
    """Check everything in short steps; without `note`, damage is told of and not noted.

    A list in which something is missing that may be there soon is looked at again at the end.
    """
    after = b""
    while digests := await database.read(partial(_next_chunks, after=after)):
        after = digests[-1]
        yield await _check_chunks(database, digests, note=note)
    content = -1
    doubtful: list[Row] = []
    while rows := await database.fetch("contents_behind", content, _CONTENTS_A_STEP):
        broken = [(row, await _check_content(database, row)) for row in rows]
        damage = [found for _, found in broken if found is not None]
        if gaps.settle_seconds is not None and damage:
            doubtful += [row for row, found in broken if found is not None]
            damage = []
        yield Scrubbed(damage=damage)
        content = rows[-1][0]
    if doubtful and gaps.settle_seconds is not None:
        await _wait(gaps.settle_seconds)
        again = [await _check_content(database, row) for row in doubtful]
        yield Scrubbed(damage=[found for found in again if found is not None])


async def _wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _next_chunks(db: Connection, after: bytes) -> list[bytes]:
    """Return the digests of some MiB of chunks behind one, in order."""
    digests = []
    size = 0
    for digest, stored_size in await db.fetch(QUERIES["chunk_sizes_behind"], after, _CHUNKS_A_STEP):
        digests.append(digest)
        size += stored_size
        if size >= _STEP_SIZE:
            break
    return digests


async def _check_chunks(database: Database, digests: Sequence[bytes], *, note: bool) -> Scrubbed:
    rows = await database.fetch("chunks_to_scrub", digests)
    damaged = await asyncio.to_thread(_find_damaged, rows)
    if note:
        for row in rows:
            marked, digest = row[0], row[2]
            if marked != (digest in damaged):
                await database.write(partial(mark, digest=digest, damaged=not marked))
    damage = [
        Damage("chunk", Digest(digest), await _files_with(database, digest)) for digest in damaged
    ]
    return Scrubbed(len(rows), sum(row[1] for row in rows), damage)


def _find_damaged(rows: Sequence[Row]) -> list[bytes]:
    damaged = []
    for _, _, *kept in rows:
        try:
            check_chunk(*kept)
        except DamagedChunk as error:
            damaged.append(error.digest.raw)
    return damaged


async def mark(db: Connection, digest: bytes, *, damaged: bool) -> None:
    """Note that a chunk is damaged, or that it is whole again."""
    await db.execute(QUERIES["mark_chunk"], digest, damaged)


async def _files_with(database: Database, digest: bytes) -> list[FileName]:
    references = await database.fetch("references", [digest])
    return await _names(database, [manifest for _, manifest in references])


async def _names(database: Database, manifests: Sequence[int]) -> list[FileName]:
    rows = await database.fetch("names_of_manifests", manifests)
    return [FileName(path) for (path,) in rows]


async def _check_content(database: Database, row: Row) -> Damage | None:
    """Compare a content's places and bytes with how many there should be."""
    manifest, digest, size, chunk_size = row
    places, last, bytes_found = 0, -1, 0
    while found := await database.fetch("places_behind", manifest, last, _PLACES_AT_ONCE):
        rows = await database.fetch("sizes_of_chunks", [one for _, one in found])
        sizes: dict[bytes, int] = {row[0]: row[1] for row in rows}
        places += len(found)
        last = found[-1][0]
        bytes_found += sum(sizes.get(one, 0) for _, one in found)
    if places == last + 1 == -(-size // chunk_size) and bytes_found == size:
        return None
    files = await _names(database, [manifest])
    # Without a file it may have been in the middle of being removed.
    return Damage("content", Digest(digest), files) if files else None
