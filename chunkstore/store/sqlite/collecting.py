"""Collection: removing what nothing needs, while everything else goes on.

What can go is looked for on a reader, a span of ids at a time, and removed on the writer, which
looks again, since a file may have begun to need it in between. It is removed in steps, each a
transaction that ends after some milliseconds, so that nobody waits for longer. None is synced: what
a crash undoes is found again.

A content may be needed by a download whose file is gone. Downloads hold their manifests in memory
(`holds`), because this process is the only one that writes. A manifest goes in three steps:

1. It is condemned: in one transaction that sees no file point at it, it loses its digest. From
   there on no look-up and no upload finds it. To everyone else it is an upload that never ended,
   also to the next start after a crash, which removes it.
2. Look-ups that had begun before may have found it and are about to hold it; they are waited for.
3. Unless it is held, its rows are removed. If it is, that is left to a later collection.

So what was condemned is all that looks like an upload, but is no resumable one and none that runs.
What uploads leave behind goes the same way: those that have expired, and lists so long that their
end had no time for them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from chunkstore.store.contract.reports import Collected, Reclaimable
from chunkstore.store.shared.pins import Pins
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite import manifests, resumable
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.rows import QUERIES

T = TypeVar("T")
R = TypeVar("R")

_SPAN: Final = 10_000
# Of a step: when it ends, after how many rows at most, and about how much it adds to the log. It
# may take a few pages for each row, also on a full disk: see `room`.
_STEP_SECONDS: Final = 0.02
_ROWS_A_STEP: Final = 256
_LOG_SIZE_OF_A_STEP: Final = 2 * 1024 * 1024

Chunk = tuple[int, int]


async def collect(
    readers: Runner,
    writer: Writer,
    holds: Pins,
    running: Callable[[], Collection[int]],
    grace_seconds: float,
) -> AsyncIterator[Collected]:
    """Remove what is unused and older than the grace.

    `running` returns the ids of the manifests that uploads of this process are making.
    """
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    await _expire_uploads(readers, writer)
    async for unused in _unused_manifests(readers, before):
        held = holds.held()
        unheld = [manifest for manifest in unused if manifest not in held]
        async for _ in _in_steps(writer, _condemn, unheld):
            pass
    # In this order: an upload that begins later is not among them, a look-up does not find them.
    condemned = await readers.run(partial(_rows, query="open_manifests", parameters={}))
    needed = set(running())
    await holds.wait_for_lookups()
    needed.update(holds.held())
    left = [manifest for (manifest,) in condemned if manifest not in needed]
    async for removed in _remove_manifests(writer, left):
        yield removed
    async for chunks in _chunks_by(readers, "unused_chunks", before):
        async for deleted in _in_steps(writer, _delete_chunk, chunks):
            yield sum(deleted, Collected())
    while await writer.run(_free_pages, log_size=_LOG_SIZE_OF_A_STEP, durable=False):
        pass


async def find_unused(readers: Runner, grace_seconds: float) -> AsyncIterator[Collected]:
    """Tell what a collection would remove."""
    before = now_microseconds() - int(grace_seconds * 1_000_000)
    expired = await readers.run(partial(resumable.find_expired, now=now_microseconds()))
    if manifests_left := [manifest for _, manifest in expired if manifest is not None]:
        yield Collected(manifests=len(manifests_left))
    async for unused in _unused_manifests(readers, before):
        yield Collected(manifests=len(unused))
    async for chunks in _chunks_by(readers, "collectable_chunks", before):
        yield Collected(chunks=len(chunks), size=sum(size for _, size in chunks))


async def find_reclaimable(readers: Runner) -> Reclaimable:
    """Return what collections will give back, once it is old enough."""
    size = stored_size = 0
    last = await readers.run(partial(_scalar, query="last_chunk"))
    # No long transaction: it would keep the log from being emptied.
    for after in range(0, last, _SPAN):
        span = {"after": after, "last": after + _SPAN}
        [(more, more_stored)] = await readers.run(
            partial(_rows, query="unneeded_chunks", parameters=span)
        )
        size += more
        stored_size += more_stored
    return Reclaimable(size, stored_size, await readers.run(_free_size))


def _free_size(db: sqlite3.Connection) -> int:
    pages = db.execute("PRAGMA freelist_count").fetchone()[0]
    return int(pages * db.execute("PRAGMA page_size").fetchone()[0])


async def _in_steps(
    writer: Writer, job: Callable[[sqlite3.Connection, T], R], rows: Sequence[T]
) -> AsyncIterator[list[R]]:
    """Do a job for each of some rows; yield what those of each step returned."""
    done = 0
    while done < len(rows):
        step = partial(_do_some, job=job, rows=rows[done : done + _ROWS_A_STEP])
        results = await writer.run(step, log_size=_LOG_SIZE_OF_A_STEP, durable=False)
        done += len(results)
        yield results


def _do_some(
    db: sqlite3.Connection, job: Callable[[sqlite3.Connection, T], R], rows: Sequence[T]
) -> list[R]:
    """Do a job for as many of some rows as there is time for, at least one."""
    results = []
    stop = time.monotonic() + _STEP_SECONDS
    for row in rows:
        results.append(job(db, row))
        if time.monotonic() >= stop:
            break
    return results


async def _expire_uploads(readers: Runner, writer: Writer) -> None:
    """Forget uploads that have expired; what they leave is as good as condemned."""
    now = now_microseconds()
    expired = await readers.run(partial(resumable.find_expired, now=now))
    async for _ in _in_steps(writer, partial(_expire, now=now), [upload for upload, _ in expired]):
        pass


def _expire(db: sqlite3.Connection, upload: str, now: int) -> None:
    resumable.expire(db, upload, now)


async def _remove_manifests(writer: Writer, left: Sequence[int]) -> AsyncIterator[Collected]:
    """Remove open manifests, long ones a piece at a time."""
    while left:
        longer: list[int] = []
        done = 0
        async for gone in _in_steps(writer, manifests.forget, left):
            step = left[done : done + len(gone)]
            longer += [
                manifest for manifest, removed in zip(step, gone, strict=True) if not removed
            ]
            done += len(gone)
            yield Collected(manifests=sum(gone))
        left = longer


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
        yield [(chunk_id, size) for chunk_id, size in rows]


def _condemn(db: sqlite3.Connection, manifest: int) -> bool:
    return db.execute(QUERIES["condemn_manifest"], {"id": manifest}).rowcount > 0


def _delete_chunk(db: sqlite3.Connection, chunk: Chunk) -> Collected:
    chunk_id, size = chunk
    if db.execute(QUERIES["delete_unused_chunk"], {"id": chunk_id}).rowcount:
        return Collected(chunks=1, size=size)
    return Collected()


def _free_pages(db: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system; return whether there are more."""
    stop = time.monotonic() + _STEP_SECONDS
    for _ in range(_ROWS_A_STEP):
        # One page each time: Python's cursors take only the first step of this statement, and a
        # page is one step.
        db.execute("PRAGMA incremental_vacuum(1)")
        if time.monotonic() >= stop:
            break
    return bool(db.execute("PRAGMA freelist_count").fetchone()[0])


def _rows(db: sqlite3.Connection, query: str, parameters: dict[str, int]) -> list[tuple[Any, ...]]:
    return db.execute(QUERIES[query], parameters).fetchall()


def _scalar(db: sqlite3.Connection, query: str, parameters: dict[str, int] | None = None) -> int:
    value = db.execute(QUERIES[query], parameters or {}).fetchone()[0]
    assert isinstance(value, int)
    return value
