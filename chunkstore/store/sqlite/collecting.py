"""Collection: removing what nothing needs, while everything else goes on.

What can go is looked for on a reader, a span of ids at a time, and removed on the writer in short
transactions that look again, since a file may have begun to need it in between.

A content may be needed by a download whose file is gone. Downloads hold their manifests in memory
(`holds`), because this process is the only one that writes. A manifest goes in three steps:

1. It is condemned: in one transaction that sees no file point at it, it loses its digest. From
   there on no look-up and no upload finds it. To everyone else it is an upload that never ended,
   also to the next start after a crash, which removes it.
2. Look-ups that had begun before may have found it and are about to hold it; they are waited for.
3. Unless it is held, its rows are removed. If it is, that is left to a later collection.

Uploads that have expired leave their manifests to the same steps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from chunkstore.store.holds import Holds
from chunkstore.store.reports import Collected
from chunkstore.store.sqlite import uploads
from chunkstore.store.sqlite.connection import Runner
from chunkstore.store.sqlite.rows import QUERIES
from chunkstore.store.sqlite.writer import Writer
from chunkstore.store.times import now_microseconds

_SPAN: Final = 10_000
_CHUNKS_A_STEP: Final = 64
_PLACES_A_STEP: Final = 4096
# Each may take a few pages of the log, also on a full disk: see `room`.
_PAGES_A_STEP: Final = 256

Chunk = tuple[int, int]


async def collect(
    readers: Runner,
    writer: Writer,
    holds: Holds,
    condemned: set[int],
    grace_seconds: float,
) -> AsyncIterator[Collected]:
    """Remove what is unused and older than the grace.

    `condemned` are the manifests that wait to be removed, also from one collection to the next.
    """
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    await _expire_uploads(readers, writer, condemned)
    async for manifests in _unused_manifests(readers, before):
        for manifest in manifests:
            if manifest not in holds.held() and await writer.run(
                partial(_condemn, manifest=manifest)
            ):
                condemned.add(manifest)
    await holds.wait_for_lookups()
    for manifest in condemned - set(holds.held()):
        await _remove_manifest(writer, manifest)
        condemned.discard(manifest)
        yield Collected(manifests=1)
    async for chunks in _chunks_by(readers, "unused_chunks", before):
        yield await writer.run(partial(_delete_chunks, chunks=chunks))
    while await writer.run(_free_pages):
        pass


async def find_unused(readers: Runner, grace_seconds: float) -> AsyncIterator[Collected]:
    """Tell what a collection would remove."""
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    expired = await readers.run(partial(uploads.find_expired, now=now_microseconds()))
    if manifests_left := [manifest for _, manifest in expired if manifest is not None]:
        yield Collected(manifests=len(manifests_left))
    async for manifests in _unused_manifests(readers, before):
        yield Collected(manifests=len(manifests))
    async for chunks in _chunks_by(readers, "collectable_chunks", before):
        yield Collected(chunks=len(chunks), size=sum(size for _, size in chunks))


async def _expire_uploads(readers: Runner, writer: Writer, condemned: set[int]) -> None:
    """Forget uploads that have expired; what they leave is as good as condemned."""
    now = now_microseconds()
    for upload, _ in await readers.run(partial(uploads.find_expired, now=now)):
        manifest = await writer.run(partial(uploads.expire, upload_id=upload, now=now))
        if manifest is not None:
            condemned.add(manifest)


async def _unused_manifests(readers: Runner, before: int) -> AsyncIterator[list[int]]:
    last = await readers.run(partial(_scalar, query="last_manifest"))
    for after in range(0, last, _SPAN):
        span = {"after": after, "last": after + _SPAN, "before": before}
        rows = await readers.run(partial(_rows, query="unused_manifests", parameters=span))
        if rows:
            yield [row[0] for row in rows]


async def _chunks_by(readers: Runner, query: str, before: int) -> AsyncIterator[list[Chunk]]:
    last = await readers.run(partial(_scalar, query="last_chunk"))
    for after in range(0, last, _SPAN):
        span = {"after": after, "last": after + _SPAN, "before": before, "now": now_microseconds()}
        rows = await readers.run(partial(_rows, query=query, parameters=span))
        chunks = [(chunk_id, size) for chunk_id, size in rows]
        for start in range(0, len(chunks), _CHUNKS_A_STEP):
            yield chunks[start : start + _CHUNKS_A_STEP]


def _condemn(db: sqlite3.Connection, manifest: int) -> bool:
    return db.execute(QUERIES["condemn_manifest"], {"id": manifest}).rowcount > 0


async def _remove_manifest(writer: Writer, manifest: int) -> None:
    """Remove a condemned chunk list from its end, so that no transaction is long."""
    while await writer.run(partial(_shorten, manifest=manifest)):
        pass


def _shorten(db: sqlite3.Connection, manifest: int) -> bool:
    """Remove some places, at last the manifest itself; return whether there is more to do."""
    length = _scalar(db, "manifest_length", {"id": manifest})
    first = max(0, length - _PLACES_A_STEP)
    db.execute(QUERIES["shorten_manifest"], {"id": manifest, "first": first})
    if first == 0:
        db.execute(QUERIES["delete_open_manifest"], {"id": manifest})
    return first > 0


def _delete_chunks(db: sqlite3.Connection, chunks: Sequence[Chunk]) -> Collected:
    removed = Collected()
    for chunk_id, size in chunks:
        if db.execute(QUERIES["delete_unused_chunk"], {"id": chunk_id}).rowcount:
            removed += Collected(chunks=1, size=size)
    return removed


def _free_pages(db: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system; return whether there are more."""
    # Fetched to the end, because each step of the statement frees one page.
    db.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
    return bool(db.execute("PRAGMA freelist_count").fetchone()[0])


def _rows(db: sqlite3.Connection, query: str, parameters: dict[str, int]) -> list[tuple[int, ...]]:
    return db.execute(QUERIES[query], parameters).fetchall()


def _scalar(db: sqlite3.Connection, query: str, parameters: dict[str, int] | None = None) -> int:
    value = db.execute(QUERIES[query], parameters or {}).fetchone()[0]
    assert isinstance(value, int)
    return value
