"""Work that a server repeats in the background, and that no failure ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chunkstore.core.errors import ChunkstoreError, StoreAway, describe_causes

# A failure that lasts is not logged each time.
_SAY_AGAIN_SECONDS: Final = 3600.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work ended one time, at `time`; `error` is what it failed by, for people."""

    time: datetime
    error: str | None = None


class Periodic:
    """`work`, again and again from `start` to `stop`, each time after `wait` has returned.

    Whatever either of them raises is logged in one line and remembered, and after
    `retry_seconds` it goes on. `last` is how it ended the last time, None before the first.
    """

    def __init__(
        self,
        name: str,
        wait: Callable[[], Awaitable[object]],
        work: Callable[[], Awaitable[object]],
        *,
        retry_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.last: Ended | None = None
        self._wait = wait
        self._work = work
        self._retry_seconds = retry_seconds
        self._task: asyncio.Task[None] | None = None
        self._told: tuple[str, float] | None = None

    def start(self) -> None:
        """Begin; it waits first."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End it, also in the middle of its work; harmless where it has not begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._wait()
                await self._work()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Something that it waited for was cancelled, not the task itself.
                self._failed(error)
            except Exception as error:
                self._failed(error)
            else:
                self._succeeded()
                continue
            await asyncio.sleep(self._retry_seconds)

    def _succeeded(self) -> None:
        self.last = Ended(datetime.now(UTC))
        if self._told is not None:
            self._told = None
            _logger.info("The task %s succeeds again.", self.name)

    def _failed(self, error: BaseException) -> None:
        expected = isinstance(error, ChunkstoreError)
        reason = str(error) if expected else f"{type(error).__name__}; the log says more"
        self.last = Ended(datetime.now(UTC), reason)
        if isinstance(error, StoreAway):
            return  # The store has told the log, and will tell it when it is back.
        text, now = describe_causes(error), asyncio.get_running_loop().time()
        known = self._told is not None and self._told[0] == text
        if self._told is not None and known and now - self._told[1] < _SAY_AGAIN_SECONDS:
            return
        self._told = text, now
        # What nobody foresaw is a defect, to be found by its traceback; once is enough.
        _logger.error(
            "The task %s failed; it goes on at its next time. %s",
            self.name,
            text,
            exc_info=None if expected or known else error,
        )
