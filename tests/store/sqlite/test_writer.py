"""The writer of an SQLite store: what shares a transaction, and what is synced when."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chunkstore.core.errors import NotFound, StoreError, StoreFull
from chunkstore.store.sqlite.engine import early_sync, log_rewriter
from chunkstore.store.sqlite.engine import writer as writing
from chunkstore.store.sqlite.engine.checkpoint import Mode, checkpoint
from chunkstore.store.sqlite.engine.connection import (
    BUSY_TIMEOUT_SECONDS,
    Connection,
    Job,
    SyncFailed,
    connect_writer,
)
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.engine.early_sync import Flusher
from chunkstore.store.sqlite.engine.log_rewriter import LogRewriter
from chunkstore.store.sqlite.engine.transactions import Change, NoObserver, Transactions
from chunkstore.store.sqlite.engine.writer import Writer

NORMAL, FULL = 1, 2


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    path = tmp_path / "writer.db"
    connection = await Connection.open(lambda: connect_writer(path))
    await connection.run(prepare)
    writer = Writer(connection, DiskReserve(path))
    yield writer
    await writer.close()


async def test_a_closed_writer_runs_no_job(tmp_path: Path) -> None:
    path = tmp_path / "closed.db"
    writer = Writer(await Connection.open(lambda: connect_writer(path)), DiskReserve(path))
    await writer.close()
    outcomes = await asyncio.gather(
        writer.run(add("a")), writer.run(add("b")), return_exceptions=True
    )
    assert all(isinstance(outcome, ValueError) for outcome in outcomes)


async def test_what_nobody_foresaw_keeps_no_job_waiting(tmp_path: Path) -> None:
    def fail(*_: object) -> list[Any]:
        raise OSError(errno.EISDIR, "as where a folder stands in the place of a file")

    path = tmp_path / "failing.db"
    connection = await Connection.open(lambda: connect_writer(path))
    await connection.run(prepare)
    writer = Writer(connection, DiskReserve(path), check=fail)
    outcomes = await asyncio.gather(
        writer.run(add("a")), writer.run(add("b")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
    await writer.close()


def prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("CREATE TABLE word (text TEXT)")


def add(text: str, *, refuse: bool = False) -> Job[str]:
    def job(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO word VALUES (?)", (text,))
        if refuse:
            raise NotFound(text)
        return text

    return job


def words(db: sqlite3.Connection) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM word ORDER BY text")]


def synchronous(db: sqlite3.Connection) -> int:
    [(level,)] = db.execute("PRAGMA synchronous").fetchall()
    return int(level)


async def test_a_job_that_refuses_takes_none_of_the_others_with_it(writer: Writer) -> None:
    jobs = [add("a"), add("b", refuse=True), add("c"), add("d", refuse=True), add("e")]
    outcomes = await asyncio.gather(*map(writer.run, jobs), return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["a", "c", "e"]
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, NotFound)] == ["b", "d"]
    assert await writer.run(words) == ["a", "c", "e"]


async def test_a_job_that_refuses_alone_leaves_nothing(writer: Writer) -> None:
    with pytest.raises(NotFound):
        await writer.run(add("a", refuse=True))
    assert await writer.run(words) == []


async def test_jobs_that_come_while_one_runs_share_the_next_transaction(
    writer: Writer,
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    statements: list[str] = []

    def first(db: sqlite3.Connection) -> None:
        db.set_trace_callback(statements.append)
        begun.set()
        go_on.wait()

    running = asyncio.create_task(writer.run(first))
    await asyncio.to_thread(begun.wait)
    others = [asyncio.create_task(writer.run(add(text))) for text in "abc"]
    withdrawn = asyncio.create_task(writer.run(add("d")))
    await asyncio.sleep(0)
    withdrawn.cancel()
    go_on.set()
    await asyncio.gather(running, *others)
    assert statements.count("COMMIT") == 2
    assert await writer.run(words) == ["a", "b", "c"]


class FailingReserve(DiskReserve):
    """Has no space for two, and then a checkpoint that fails to be synced."""

    def prepare(self, db: sqlite3.Connection, size: int) -> None:
        if size > 1:
            raise StoreFull
        if not db.total_changes:
            db.execute("INSERT INTO word VALUES ('')")
            raise SyncFailed


async def test_after_a_failed_sync_no_other_job_is_tried(writer: Writer, tmp_path: Path) -> None:
    def try_all(db: sqlite3.Connection) -> list[Any]:
        changes = [Change(add(text), 1, durable=True) for text in "abc"]
        reserve = FailingReserve(tmp_path / "writer.db")
        return Transactions(reserve, NoObserver()).run(changes, db)

    outcomes = await writer.run_alone(try_all)
    assert [type(outcome.error) for outcome in outcomes] == [SyncFailed] * 3
    assert await writer.run(words) == [""]


class DoubtfulReserve(DiskReserve):
    """Has one checkpoint that fails to be synced."""

    failed = False

    def checkpoint(self, db: sqlite3.Connection, mode: Mode) -> int:
        if not self.failed:
            self.failed = True
            raise SyncFailed
        return super().checkpoint(db, mode)


async def test_what_the_last_sync_has_lost_is_written_again_before_the_database_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing it, SQLite would copy the log, and take for synced what is in it."""
    path, rewritten = tmp_path / "doubtful.db", list[int]()
    rewrite = LogRewriter.rewrite

    def noted(self: LogRewriter) -> None:
        rewritten.append(path.with_name("doubtful.db-wal").stat().st_size)
        rewrite(self)

    monkeypatch.setattr(LogRewriter, "rewrite", noted)
    connection = await Connection.open(lambda: connect_writer(path))
    await connection.run(prepare)
    writer = Writer(connection, DoubtfulReserve(path))
    await writer.run(add("a"), durable=False)
    await writer.close()
    [size] = rewritten
    assert size > 0


async def test_what_need_not_be_durable_is_synced_with_what_must(writer: Writer) -> None:
    assert await writer.run(synchronous, durable=False) == NORMAL
    assert await writer.run(synchronous) == FULL
    together = await asyncio.gather(
        writer.run(synchronous, durable=False),
        writer.run(synchronous),
        writer.run(synchronous, durable=False),
    )
    assert set(together) == {FULL}


async def test_the_log_is_written_early_beside_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, synced = tmp_path / "log", list[Path]()
    monkeypatch.setattr(early_sync, "_sync", synced.append)
    flusher = Flusher(log)
    flusher.wrote(early_sync._STEP_SIZE - 1)
    await flusher.close()
    assert synced == []
    flusher.wrote(1)
    await flusher.close()
    assert synced == [log]


async def test_a_log_that_is_not_there_is_left_to_the_commit(tmp_path: Path) -> None:
    flusher = Flusher(tmp_path / "none")
    for _ in range(2):
        flusher.wrote(early_sync._STEP_SIZE)
        await flusher.close()
    assert not flusher.failed


async def test_after_a_flush_that_failed_the_log_begins_anew(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "as a disk does")

    log = tmp_path / "writer.db-wal"
    await writer.run(add("a" * early_sync._STEP_SIZE))
    before = log.stat().st_size
    monkeypatch.setattr(early_sync, "_sync", fail)
    await writer.run(add("b"), size=early_sync._STEP_SIZE, durable=False)
    await writer._flusher.close()
    await writer.run(add("c"))
    assert log.stat().st_size < before // 2
    assert len(await writer.run(words)) == 3


async def test_what_is_durable_waits_for_a_flush_that_runs_and_is_written_again_if_it_failed(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_fail = threading.Event(), threading.Event()
    order = []

    def fail(_: Path) -> None:
        began.set()
        may_fail.wait()
        order.append("the flush failed")
        raise OSError(errno.EIO, "as a disk does")

    def rewrite(rewriter: LogRewriter) -> None:
        order.append("all was written again")
        rewrite_all(rewriter)

    def job(db: sqlite3.Connection) -> None:
        order.append("the job ran")
        add("c")(db)

    rewrite_all = LogRewriter.rewrite
    monkeypatch.setattr(LogRewriter, "rewrite", rewrite)
    monkeypatch.setattr(early_sync, "_sync", fail)
    await writer.run(add("b"), size=early_sync._STEP_SIZE, durable=False)
    await asyncio.to_thread(began.wait)
    durable = asyncio.create_task(writer.run(job))
    try:
        await asyncio.wait([durable], timeout=0.2)
    finally:
        may_fail.set()
    await durable
    assert order == ["the flush failed", "all was written again", "the job ran"]


async def test_rewriting_changes_nothing_and_reaches_each_page(
    tmp_path: Path, writer: Writer
) -> None:
    await writer.run(add("a" * 100_000))
    await writer.run_alone(partial(checkpoint, mode="RESTART"))
    await writer.run(add("b" * 100_000))
    files = [tmp_path / "writer.db", tmp_path / "writer.db-wal"]
    before = [file.read_bytes() for file in files]
    with files[1].open("rb") as log:
        page_size, pages = log_rewriter._pages_in(log.fileno())
    assert page_size == 4096
    assert len(pages) > 20
    rewriter = LogRewriter(files[1])
    await writer.run_alone(lambda _: rewriter.rewrite())
    assert [file.read_bytes() for file in files] == before
    rewriter.close()


def busy_timeout(db: sqlite3.Connection) -> float:
    [(milliseconds,)] = db.execute("PRAGMA busy_timeout").fetchall()
    return float(milliseconds) / 1000


async def test_a_checkpoint_leaves_the_patience_of_the_connection_as_it_was(writer: Writer) -> None:
    await writer.run(add("a"))
    for mode in ("RESTART", "TRUNCATE"):
        assert await writer.run_alone(partial(checkpoint, mode=mode)) == 0
        assert await writer.run_alone(busy_timeout) == BUSY_TIMEOUT_SECONDS


async def test_a_write_breaks_an_idle_checkpoint_off(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(db: sqlite3.Connection, _mode: str) -> int:
        db.create_function("begin", 0, begun.set)
        db.execute(
            "WITH RECURSIVE t(n) AS (SELECT begin() UNION ALL SELECT 1 FROM t) SELECT n FROM t"
            " WHERE n = 2"
        ).fetchall()
        return 0

    monkeypatch.setattr(writing, "_IDLE_SECONDS", 0)
    monkeypatch.setattr(writer._reserve, "checkpoint", endless)
    for text in "abc":
        await writer.run(add(text))
        await asyncio.to_thread(begun.wait)
        begun.clear()
    monkeypatch.undo()
    assert await writer.run(words) == ["a", "b", "c"]


async def test_checkpoints_broken_off_at_any_moment_lose_nothing(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_IDLE_SECONDS", 0)
    for number in range(300):
        await writer.run(add(f"{number:05} " * 10_000))
        for _ in range(number % 30):
            await asyncio.sleep(0)
    assert len(await writer.run(words)) == 300
    [(verdict,)] = await writer.run_alone(
        lambda db: db.execute("PRAGMA integrity_check").fetchall()
    )
    assert verdict == "ok"
