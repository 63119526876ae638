"""Collection: removing what nothing needs, while everything else goes on.

Candidates are looked for on a reader, a span of ids at a time, and removed on the writer, which
checks them again, since a file may have begun to need one in between. They are removed in steps,
each a transaction that ends after some milliseconds, so that nobody waits for longer. None is
synced: what a crash undoes is found again.

A download may need a manifest whose file is gone. Downloads pin their manifests in memory
(`shared/pins`), because no other process writes. So a manifest is removed in three steps:

1. It is condemned: in one transaction that sees no file point at it, it loses its digest. From then
   on no lookup and no upload finds it. To everyone else, also to the next start after a crash, it
   is the manifest of an upload that never ended, and removed as such.
2. Lookups that began before may have found it and be about to pin it, so they are waited for.
3. Unless it is pinned, its rows are deleted. Otherwise that is left to a later collection.

So every open manifest is condemned that belongs neither to a resumable upload nor to one that runs.
What uploads leave behind goes the same way: those that have expired, packs that no upload holds any
more, and manifests so long that the end of the upload did not wait for their deletion.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar

from chunkstore.store.contract.reports import Collected, Reclaimable
from chunkstore.store.shared.pins import Pins
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite import manifests, resumable
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.rows import execute, fetch_value

T = TypeVar("T")
R = TypeVar("R")

_SPAN: Final = 10_000
# A step ends after this time or this many rows, and adds about this much to the log. It may take a
# few pages for each row, also on a full disk: see `engine/disk_space`.
_STEP_SECONDS: Final = 0.02
_ROWS_A_STEP: Final = 256
_LOG_SIZE_OF_A_STEP: Final = 2 * 1024 * 1024


async def collect(
    readers: Runner,
    writer: Writer,
    pins: Pins,
    running: Callable[[], Collection[int]],
    grace_seconds: float,
) -> AsyncIterator[Collected]:
    """Remove what is unused and older than the grace.

    `running` returns the ids of the manifests of uploads that run in this process.
    """
    age = _age(grace_seconds)
    while await writer.run(partial(_delete_expired_records, now=age["now"]), durable=False):
        pass
    expired = await readers.run(partial(resumable.find_expired, now=age["now"]))
    expire = partial(_expire, now=age["now"])
    async for _ in _in_steps(writer, expire, [upload for upload, _ in expired]):
        pass
    async for span in _spans(readers, "unused_manifests", "last_manifest", **age):
        unpinned = [row["id"] for row in span if row["id"] not in pins.held()]
        if unpinned:
            await writer.run(_record_last_manifest, durable=False)
        async for _ in _in_steps(writer, _condemn, unpinned):
            pass
    # In this order: a later upload is not among them, and no later lookup finds one of them.
    condemned = await readers.run(_Rows("open_manifests").run)
    needed = set(running())
    await pins.wait_for_lookups()
    needed.update(pins.held())
    left = [row["id"] for row in condemned if row["id"] not in needed]
    async for removed in _remove_manifests(writer, left):
        yield removed
    async for span in _spans(readers, "unused_chunks", "last_chunk", **age):
        async for deleted in _in_steps(writer, _delete_chunk, span):
            yield sum(deleted, Collected())
    while await writer.run(_free_pages, log_size=_LOG_SIZE_OF_A_STEP, durable=False):
        pass


async def find_unused(readers: Runner, grace_seconds: float) -> AsyncIterator[Collected]:
    """Yield what a collection would remove."""
    age = _age(grace_seconds)
    expired = await readers.run(partial(resumable.find_expired, now=age["now"]))
    manifests_left = [manifest for _, manifest in expired if manifest is not None]
    manifests_left += await readers.run(partial(resumable.find_expired_packs, now=age["now"]))
    if manifests_left:
        yield Collected(manifests=len(manifests_left))
    async for span in _spans(readers, "unused_manifests", "last_manifest", **age):
        yield Collected(manifests=len(span))
    async for span in _spans(readers, "collectable_chunks", "last_chunk", **age):
        yield Collected(chunks=len(span), size=sum(row["stored_size"] for row in span))


async def find_reclaimable(readers: Runner) -> Reclaimable:
    """Return what collections will give back once it is old enough."""
    size = stored_size = 0
    # In spans: a long transaction would keep the log from being emptied.
    async for [span] in _spans(readers, "unneeded_chunks", "last_chunk"):
        size += span["size"]
        stored_size += span["stored_size"]
    return Reclaimable(size, stored_size, await readers.run(_free_size))


async def _spans(
    readers: Runner, query: str, last: str, **parameters: int
) -> AsyncIterator[Sequence[sqlite3.Row]]:
    """Yield the rows of a query, a span of ids at a time; the query `last` has the greatest id."""
    end = await readers.run(partial(fetch_value, query=last))
    for after in range(0, end, _SPAN):
        rows = await readers.run(
            _Rows(query, {**parameters, "after": after, "last": after + _SPAN}).run
        )
        if rows:
            yield rows


async def _in_steps(
    writer: Writer, job: Callable[[sqlite3.Connection, T], R], rows: Sequence[T]
) -> AsyncIterator[list[R]]:
    """Run a job for each of some rows; yield the results of each step."""
    done = 0
    while done < len(rows):
        step = _Step(job, rows[done : done + _ROWS_A_STEP])
        results = await writer.run(step.run, log_size=_LOG_SIZE_OF_A_STEP, durable=False)
        done += len(results)
        yield results


async def _remove_manifests(writer: Writer, left: Sequence[int]) -> AsyncIterator[Collected]:
    """Delete open manifests, long ones a piece at a time."""
    while left:
        gone: list[bool] = []
        async for step in _in_steps(writer, manifests.forget, left):
            gone += step
            yield Collected(manifests=sum(step))
        left = [manifest for manifest, whole in zip(left, gone, strict=True) if not whole]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The job that returns the rows of a query."""

    query: str
    parameters: Mapping[str, int] = field(default_factory=dict)

    def run(self, db: sqlite3.Connection) -> list[sqlite3.Row]:
        return execute(db, self.query, **self.parameters).fetchall()


@dataclass(frozen=True, slots=True)
class _Step(Generic[T, R]):
    """The job that runs another for as many rows as there is time for, at least one."""

    job: Callable[[sqlite3.Connection, T], R]
    rows: Sequence[T]

    def run(self, db: sqlite3.Connection) -> list[R]:
        stop = time.monotonic() + _STEP_SECONDS
        results = []
        for row in self.rows:
            results.append(self.job(db, row))
            if time.monotonic() >= stop:
                break
        return results


def _age(grace_seconds: float) -> dict[str, int]:
    """Return the parameters by which queries find what is older than the grace.

    They compare how far a row's time is from now, be it past or future: what was stamped by a clock
    that was ahead would stay for as long as it was.
    """
    return {"now": now_microseconds(), "grace": int(grace_seconds * 1_000_000)}


def _expire(db: sqlite3.Connection, upload: str, now: int) -> None:
    """Forget an upload that has expired; its manifest is as good as condemned then."""
    resumable.expire(db, upload, now)


def _delete_expired_records(db: sqlite3.Connection, now: int) -> bool:
    """Delete some records that have expired, and locks; return whether there are more."""
    execute(db, "delete_expired_locks", now=now)
    deleted = execute(db, "delete_expired_records", now=now, count=_ROWS_A_STEP).rowcount
    return bool(deleted == _ROWS_A_STEP)


def _record_last_manifest(db: sqlite3.Connection) -> None:
    execute(db, "record_last_manifest")


def _condemn(db: sqlite3.Connection, manifest: int) -> None:
    execute(db, "condemn_manifest", id=manifest)


def _delete_chunk(db: sqlite3.Connection, chunk: sqlite3.Row) -> Collected:
    if execute(db, "delete_unused_chunk", id=chunk["id"]).rowcount:
        return Collected(chunks=1, size=chunk["stored_size"])
    return Collected()


def _free_pages(db: sqlite3.Connection) -> bool:
    """Give free pages back to the file system for a step; return whether there are more.

    There are none for a database that was not set up to give them back.
    """
    stop = time.monotonic() + _STEP_SECONDS
    before = _free_pages_left(db)
    for _ in range(_ROWS_A_STEP):
        # One page each time: Python's cursors take only the first step of this statement, and one
        # page is one step.
        db.execute("PRAGMA incremental_vacuum(1)")
        if time.monotonic() >= stop:
            break
    return 0 < _free_pages_left(db) < before


def _free_size(db: sqlite3.Connection) -> int:
    return int(_free_pages_left(db) * db.execute("PRAGMA page_size").fetchone()[0])


def _free_pages_left(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0])
