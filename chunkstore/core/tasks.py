"""Tasks that nobody waits for any more."""

from __future__ import annotations

from typing import Protocol


class Ended(Protocol):
    """A task of asyncio that has ended."""

    def cancelled(self) -> bool:
        """Whether it was cancelled."""

    def exception(self) -> BaseException | None:
        """Return what it failed with, None if it did not; raise if it was cancelled."""


def retrieve_exception(task: Ended) -> BaseException | None:
    """Return what a task that has ended failed with, None if it did not or was cancelled.

    asyncio writes errors to the log that nobody has asked for. So this is the callback of a task
    whose failure somebody else is told of, or nobody need be.
    """
    return None if task.cancelled() else task.exception()
