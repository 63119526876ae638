"""Scrub: reading everything again, to find damage before a download does.

Chunks and chunk lists are checked against their digests, names against the manifests that they
were made for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.contract.values import DamagedFile
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.reading import next_places
from chunkstore.store.postgres.rows import QUERIES, Row, to_file_to_edit
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk
from chunkstore.store.shared.lists import DamagedList
from chunkstore.store.shared.manifest_rows import proved_manifest

_STEP_SIZE: Final = 4 * 1024 * 1024
_CHUNKS_A_STEP: Final = 1024
_MANIFESTS_A_STEP: Final = 100
_NAMES_A_STEP: Final = 500


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
        broken = [row for row in rows if not await _is_whole(database, row)]
        if gaps.settle_seconds is None:
            yield Scrubbed(damage=await _note_lists(database, rows, broken, note=note))
        else:
            doubtful += broken
            yield Scrubbed()
    if doubtful and gaps.settle_seconds is not None:
        await _wait(gaps.settle_seconds)
        broken = [row for row in doubtful if not await _is_whole(database, row)]
        yield Scrubbed(damage=await _note_lists(database, doubtful, broken, note=note))
    path = ""
    while rows := await database.fetch("files_behind", path, _NAMES_A_STEP):
        path = rows[-1]["path"]
        yield Scrubbed(damage=await _check_names(database, rows, may_lack=gaps.is_spread))


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


async def _is_whole(database: Database, row: Row) -> bool:
    """Whether the list of a manifest is the one that was sealed, of chunks that are kept."""
    manifest = proved_manifest(row)
    if manifest is None:
        return False
    hasher = ListHasher()
    while hasher.size < manifest.size:
        try:
            places = await database.read(next_places, manifest.id, hasher.size)
        except DamagedList:
            return False
        digests = {place.digest for place in places}
        if len(digests) > len(await database.fetch("chunks_kept", manifest.id, list(digests))):
            return False
        for place in places:
            hasher.add(place.digest, place.size)
    return hasher.proves(manifest)


async def _note_lists(
    database: Database, checked: Sequence[Row], broken: Sequence[Row], *, note: bool
) -> list[Damage]:
    """Return the damage of lists that are broken, and mark them; take back older marks."""
    damage = []
    for row in broken:
        files = await database.fetch_values("names_of_manifests", [row["id"]])
        # Without a file it may have been in the middle of being removed.
        if files:
            damage.append(Damage("content", Digest(row["digest"]), files))
            for digest, proof in await database.fetch("proofs_of_files", row["id"]):
                if note:
                    await database.execute("mark_list", digest, row["id"], proof)
    if note:
        whole = {row["id"] for row in checked}.difference(row["id"] for row in broken)
        for manifest in await database.fetch_values("marked_lists", list(whole)):
            await database.execute("unmark_list", manifest)
    return damage


async def _check_names(database: Database, rows: Sequence[Row], *, may_lack: bool) -> list[Damage]:
    """Return the names that do not fit the manifests that they point at."""
    found = await _misfits(database, rows, may_lack=may_lack)
    if found:
        # One may have been replaced since it was read, and its manifest removed.
        again = await database.fetch("files_among", [row["path"] for row in found])
        found = await _misfits(database, again, may_lack=may_lack)
    return [Damage("name", None, [FileName(row["path"])]) for row in found]


async def _misfits(database: Database, rows: Sequence[Row], *, may_lack: bool) -> list[Row]:
    proofs = dict(
        await database.fetch("proofs_of_manifests", list({row["manifest"] for row in rows}))
    )
    return [
        row
        for row in rows
        if isinstance(to_file_to_edit(row), DamagedFile)
        or not (may_lack or row["manifest"] in proofs)
        or proofs.get(row["manifest"], row["proof"]) != row["proof"]
    ]
