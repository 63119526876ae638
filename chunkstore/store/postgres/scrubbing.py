"""Scrub: reading all chunks again, and the chunk lists, to find damage before a download does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk

_STEP_SIZE: Final = 4 * 1024 * 1024
_CHUNKS_A_STEP: Final = 1024
_MANIFESTS_A_STEP: Final = 100
_PLACES_AT_ONCE: Final = 4096


async def scrub(database: Database, gaps: Gaps, *, note: bool) -> AsyncIterator[Scrubbed]:
    """Check everything in short steps; without `note`, damage is reported and not recorded.

    A chunk list in which something is missing that may appear soon is checked again at the end.
    """
    after = b""
    while digests := await database.read(_next_chunks, after):
        after = digests[-1]
        yield await _check_chunks(database, digests, note=note)
    manifest = -1
    doubtful: list[Row] = []
    while rows := await database.fetch("manifests_behind", manifest, _MANIFESTS_A_STEP):
        manifest = rows[-1]["id"]
        broken = {row: found for row in rows if (found := await _check_manifest(database, row))}
        if gaps.settle_seconds is None:
            yield Scrubbed(damage=list(broken.values()))
        else:
            doubtful += broken
            yield Scrubbed()
    if doubtful and gaps.settle_seconds is not None:
        await _wait(gaps.settle_seconds)
        again = [await _check_manifest(database, row) for row in doubtful]
        yield Scrubbed(damage=[found for found in again if found is not None])


async def _wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _next_chunks(db: Connection, after: bytes) -> list[bytes]:
    """Return the digests of some MiB of chunks behind one, in order."""
    digests = []
    size = 0
    for row in await db.fetch(QUERIES["chunk_sizes_behind"], after, _CHUNKS_A_STEP):
        digests.append(row["digest"])
        size += row["stored_size"]
        if size >= _STEP_SIZE:
            break
    return digests


async def _check_chunks(database: Database, digests: Sequence[bytes], *, note: bool) -> Scrubbed:
    rows = await database.fetch("chunks_to_scrub", digests)
    damaged = await asyncio.to_thread(_find_damaged, rows)
    if note:
        for row in rows:
            is_damaged = row["digest"] in damaged
            if row["damaged"] != is_damaged:
                await database.execute("mark_chunk", row["digest"], is_damaged)
    damage = []
    for digest in damaged:
        references = await database.fetch("references", [digest])
        manifests = [row["manifest"] for row in references]
        files = await database.fetch_values("names_of_manifests", manifests)
        damage.append(Damage("chunk", Digest(digest), files))
    return Scrubbed(len(rows), sum(row["stored_size"] for row in rows), damage)


def _find_damaged(rows: Sequence[Row]) -> list[bytes]:
    damaged = []
    for row in rows:
        try:
            check_chunk(row["digest"], row["size"], row["codec"], row["bytes"])
        except DamagedChunk as error:
            damaged.append(error.digest.raw)
    return damaged


async def _check_manifest(database: Database, row: Row) -> Damage | None:
    """Compare the places and bytes of a manifest with how many there should be."""
    manifest, size = row["id"], row["size"]
    places, last, bytes_found = 0, -1, 0
    while found := await database.fetch("places_behind", manifest, last, _PLACES_AT_ONCE):
        digests = [place["digest"] for place in found]
        chunks = await database.fetch("sizes_of_chunks", digests)
        sizes = {chunk["digest"]: chunk["size"] for chunk in chunks}
        places += len(found)
        last = found[-1]["seq"]
        bytes_found += sum(sizes.get(digest, 0) for digest in digests)
    if places == last + 1 == -(-size // row["chunk_size"]) and bytes_found == size:
        return None
    files = await database.fetch_values("names_of_manifests", [manifest])
    # Without a file it may have been in the middle of being removed.
    return Damage("content", Digest(row["digest"]), files) if files else None
