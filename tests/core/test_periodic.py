"""Work in the background goes on, whatever it raises, and tells how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from chunkstore.core.errors import StoreError, StoreFileUnavailable, StoreUnavailable
from chunkstore.core.periodic import Periodic


@asynccontextmanager
async def repeated(
    *work: Callable[[], Awaitable[object]],
) -> AsyncIterator[tuple[Periodic, Callable[[], Awaitable[None]]]]:
    """Yield a task that does each piece of work in its turn, and what lets it do the next."""
    left = list(work)
    turns: asyncio.Queue[None] = asyncio.Queue()
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await turns.get()

    async def take() -> object:
        return await left.pop(0)()

    async def next_one() -> None:
        waiting.clear()
        turns.put_nowait(None)
        await waiting.wait()

    task = Periodic("work", wait, take)
    task.start()
    await waiting.wait()
    yield task, next_one
    await task.stop()


async def succeed() -> None:
    pass


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [StoreError("It is away."), RuntimeError("a\ndefect"), asyncio.CancelledError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
async def test_it_goes_on_after_any_error(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with repeated(failing(error), succeed) as (task, next_one):
        assert task.last is None
        await next_one()
        assert task.last is not None
        assert task.last.error
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert f"work failed; it goes on at its next time. {type(error).__name__}" in (
            record.getMessage()
        )
        assert "\n" not in record.getMessage()
        # The traceback of a defect is wanted; that of what was foreseen tells nothing.
        assert bool(record.exc_info) is not isinstance(error, StoreError)
        await next_one()
        assert task.last.error is None


async def test_only_the_log_names_a_file(caplog: pytest.LogCaptureFixture) -> None:
    error = StoreFileUnavailable("/var/lib/files.db-segments: Permission denied.")
    async with repeated(failing(error)) as (task, next_one):
        await next_one()
        assert task.last is not None
        assert task.last.error == str(StoreUnavailable())
    assert "/var/lib/files.db-segments" in caplog.text


async def test_a_failure_that_lasts_is_logged_once_and_its_end_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    away, other = failing(StoreError("It is away.")), failing(StoreError("It is full."))
    async with repeated(away, away, away, other, succeed, succeed, away) as (task, next_one):
        for _ in range(7):
            await next_one()
        assert task.last is not None
        assert task.last.error == "It is away."
    said = [
        record.getMessage().partition(". ")[2] or record.getMessage() for record in caplog.records
    ]
    assert said == [
        "StoreError: It is away.",
        "StoreError: It is full.",
        "The task work succeeds again.",
        "StoreError: It is away.",
    ]


async def test_it_stops_in_the_middle_of_its_work() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = Periodic("work", succeed, work)
    await task.stop()
    task.start()
    await begun.wait()
    await task.stop()
    assert task.last is None
