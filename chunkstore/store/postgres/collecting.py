"""Collection: removing what nothing needs, while any number of servers do everything else.

What can go is looked for in pages, and removed in short transactions.

No file comes to point at a sealed manifest again once none does: a name is copied or moved in a
transaction that keeps the old name until the new one is there. So such a manifest is condemned, as
are those of uploads that have expired or whose server is gone, and removed when no download needs
it any more (`presence`).

A chunk is removed when no manifest refers to it. An upload that has found it and is about to refer
to it is safe: either its reference comes first, and the foreign key keeps the chunk, or its
transaction fails and is run again with the chunk's bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from chunkstore.store.contract.reports import Collected
from chunkstore.store.postgres import locks, resumable, subtrees
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.failures import ChunkCollected
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.paths import BEHIND_ALL_NAMES
from chunkstore.store.postgres.presence import Presence, clock, forget_dead, seen_by_all
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.times import now_microseconds

_PAGE: Final = 1000
_CHUNKS_A_STEP: Final = 64
_PLACES_A_STEP: Final = 4096
# No job is repeated for nearly as long.
_RECEIPT_MICROSECONDS: Final = 3600 * 1_000_000


async def collect(
    database: Database, presence: Presence, gaps: Gaps, grace_seconds: float
) -> AsyncIterator[Collected]:
    """Remove what is unused and older than the grace.

    On a store that is spread over machines, a file may become visible after its manifest was
    condemned. So what was condemned there rests for a while, and is checked again.
    """
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    await database.write(forget_dead)
    await _condemn(database, before)
    await presence.beat()
    for manifest in await _removable(database, gaps):
        if await _remove_manifest(database, manifest):
            yield Collected(manifests=1)
    async for rows in _pages(database, "unused_chunks", "digest", b"", before):
        digests = [row["digest"] for row in rows]
        for start in range(0, len(digests), _CHUNKS_A_STEP):
            yield await _delete_chunks(database, digests[start : start + _CHUNKS_A_STEP])
    await _forget_folders(database)
    await database.execute("delete_expired_records", now_microseconds())
    if await database.fetch("first_lock"):
        await locks.sweep(database)
    await database.execute("delete_receipts", now_microseconds() - _RECEIPT_MICROSECONDS)


async def find_unused(database: Database, grace_seconds: float) -> AsyncIterator[Collected]:
    """Yield what a collection would remove."""
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    expired = await database.read(resumable.find_expired)
    unused = {manifest for _, manifest in expired if manifest is not None}
    uploads = [upload for upload, _ in expired]
    unused.update(await database.fetch_values("packs_of_uploads", uploads))
    async for manifests in _unused_manifests(database, before):
        unused.update(manifests)
    unused.update(await _condemned(database, await database.read(clock)))
    yield Collected(manifests=len(unused))
    async for chunks in _pages(database, "old_chunks", "digest", b"", before):
        references = await database.fetch("references", [row["digest"] for row in chunks])
        needed = {row["digest"] for row in references if row["manifest"] not in unused}
        sizes = [row["stored_size"] for row in chunks if row["digest"] not in needed]
        yield Collected(chunks=len(sizes), size=sum(sizes))


async def _condemn(database: Database, before: int) -> None:
    for upload, _ in await database.read(resumable.find_expired):
        await database.write(resumable.expire, upload)
    async for manifests in _unused_manifests(database, before):
        await database.write(condemn, manifests)
    await database.write(_condemn_abandoned)


async def condemn(db: Connection, manifests: Sequence[int]) -> None:
    """Note that these manifests are needed by downloads at most."""
    await db.execute(QUERIES["condemn_manifests"], manifests, await clock(db))


async def _condemn_abandoned(db: Connection) -> None:
    """Condemn what servers left behind that are gone."""
    await db.execute(QUERIES["condemn_abandoned"], await clock(db))


async def _unused_manifests(database: Database, before: int) -> AsyncIterator[list[int]]:
    """Yield the sealed manifests that no file points at."""
    async for rows in _pages(database, "sealed_manifests", "id", -1, before):
        ids = {row["id"] for row in rows}
        used = await database.fetch_values("manifests_of_files", list(ids))
        if unused := sorted(ids.difference(used)):
            yield unused


async def _condemned(database: Database, before: int) -> list[int]:
    """Return the manifests that were condemned before then."""
    found = [-1]
    while ids := await database.fetch_values("condemned_manifests", before, found[-1], _PAGE):
        found += ids
    return found[1:]


async def _removable(database: Database, gaps: Gaps) -> list[int]:
    seen, pinned = await database.read(seen_by_all)
    if gaps.settle_seconds is None:
        return [manifest for manifest in await _condemned(database, seen) if manifest not in pinned]
    rested = await database.read(clock) - int(gaps.settle_seconds * 1_000_000)
    manifests = await _condemned(database, min(seen, rested))
    named = set(await database.fetch_values("manifests_of_files", manifests))
    if named:
        await database.execute("spare_manifests", sorted(named))
    return [manifest for manifest in manifests if manifest not in pinned | named]


async def _pages(
    database: Database, query: str, key: str, after: bytes | int, before: int
) -> AsyncIterator[list[Row]]:
    """Yield rows in order of their column `key`, a page at a time."""
    while rows := await database.fetch(query, after, before, _PAGE):
        yield rows
        after = rows[-1][key]


async def _remove_manifest(database: Database, manifest: int) -> bool:
    """Remove a condemned chunk list from its end; return whether nobody else has."""
    while await database.write(subtrees.shorten, manifest):
        pass
    while await database.write(_shorten, manifest):
        pass
    return await database.write_once(_remove, manifest)


async def _shorten(db: Connection, manifest: int) -> bool:
    """Remove some places; return whether there are more."""
    last = await db.fetch(QUERIES["last_places"], manifest, _PLACES_A_STEP)
    if len(last) < _PLACES_A_STEP:
        return False
    digests = sorted({row["digest"] for row in last})
    await db.execute(QUERIES["delete_some_references"], manifest, digests)
    await db.execute(QUERIES["shorten_manifest"], manifest, last[-1]["start"])
    return True


async def _remove(db: Connection, manifest: int) -> bool:
    removed = await db.fetchval(QUERIES["delete_manifest"], manifest) is not None
    # Behind the manifest's row, for which uploads to it are waited for.
    await db.execute(QUERIES["delete_references"], manifest)
    await db.execute(QUERIES["unmark_list"], manifest)
    return removed


async def _delete_chunks(database: Database, digests: Sequence[bytes]) -> Collected:
    try:
        sizes = await database.write_once(_delete, digests)
    except ChunkCollected:
        # An upload began to refer to one of them at this moment.
        if len(digests) == 1:
            return Collected()
        removed = Collected()
        for digest in digests:
            removed += await _delete_chunks(database, [digest])
        return removed
    return Collected(chunks=len(sizes), size=sum(sizes))


async def _delete(db: Connection, digests: Sequence[bytes]) -> list[int]:
    return [size for (size,) in await db.fetch(QUERIES["delete_unused_chunks"], digests)]


async def _forget_folders(database: Database) -> None:
    """Remove the rows of folders that do not exist any more."""
    before = BEHIND_ALL_NAMES
    while paths := await database.fetch_values("vacated_folders", before, _PAGE):
        before = paths[-1]
        while paths:
            for path in paths:
                await database.execute("forget_folder", path)
            # Those that they lie in may be vacated by that.
            above = {path.rpartition("/")[0] for path in paths} - {""}
            paths = await database.fetch_values("vacated_among", list(above)) if above else []


async def forget_abandoned(database: Database) -> None:
    """Remove what servers left behind that are gone, as far as nobody may read it."""
    await database.write(forget_dead)
    for manifest in await database.fetch_values("abandoned_manifests"):
        await _remove_manifest(database, manifest)
