"""Whom a server process tells how it is: nobody, systemd, or the supervisor of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Overseer:
    """Is told how a server is; this one does not care.

    With `beat_seconds` it wants to hear so often that the event loop runs. `reloads` is whether it
    may ask for a reload by SIGHUP, which otherwise ends a process.
    """

    beat_seconds: float | None = None
    reloads = False

    def ready(self, status: str) -> None:
        """All requests are answered from now on."""

    def reloading(self) -> None:
        """What can be loaded again is, until `reloaded`."""

    def reloaded(self) -> None:
        """That has ended, well or not."""

    def stopping(self, status: str) -> None:
        """The server was asked to stop."""

    def beat(self) -> None:
        """The server works."""


NOBODY = Overseer()


@asynccontextmanager
async def beating(overseer: Overseer) -> AsyncIterator[None]:
    """Let the overseer hear that the event loop runs, for the time of the context."""
    if overseer.beat_seconds is None:
        yield
        return
    task = asyncio.create_task(_beat(overseer, overseer.beat_seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _beat(overseer: Overseer, seconds: float) -> None:
    while True:
        overseer.beat()
        await asyncio.sleep(seconds)
