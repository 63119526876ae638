"""Work that a server repeats in the background, and that goes on after any failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chunkstore.core.errors import ChunkstoreError, StoreAway, describe_causes

# A failure that lasts is logged once in this time.
_LOG_AGAIN_SECONDS: Final = 3600.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of the work ended, at `time`; `error` tells people why it failed."""

    time: datetime
    error: str | None = None


class Periodic:
    """Runs `work` again and again from `start` to `stop`, each time after `wait` has returned.

    An exception of either is logged in one line and remembered, and `wait` is called again after
    `retry_seconds`. `last` is how the last run ended, None before the first.
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
        self._logged: tuple[str, float] | None = None

    def start(self) -> None:
        """Start; `wait` is called first."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Stop, also during `work`; harmless if not started."""
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
                # Something that the task waited for was cancelled, not the task itself.
                self._failed(error)
            except Exception as error:
                self._failed(error)
            else:
                self._succeeded()
                continue
            await asyncio.sleep(self._retry_seconds)

    def _succeeded(self) -> None:
        self.last = Ended(datetime.now(UTC))
        if self._logged is not None:
            self._logged = None
            _logger.info("The task %s succeeds again.", self.name)

    def _failed(self, error: BaseException) -> None:
        reason, expected = f"{type(error).__name__}; the log says more", False
        if isinstance(error, ChunkstoreError):
            reason, expected = error.for_clients, True
        self.last = Ended(datetime.now(UTC), reason)
        if isinstance(error, StoreAway):
            return  # The store has logged it, and will log when it is back.
        text, now = describe_causes(error), asyncio.get_running_loop().time()
        known = self._logged is not None and self._logged[0] == text
        if self._logged is not None and known and now - self._logged[1] < _LOG_AGAIN_SECONDS:
            return
        self._logged = text, now
        # An unexpected exception is a defect: its traceback is logged, once.
        _logger.error(
            "The task %s failed; it goes on at its next time. %s",
            self.name,
            text,
            exc_info=None if expected or known else error,
        )
