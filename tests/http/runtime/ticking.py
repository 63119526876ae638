"""`chunkstore` as a program that measures its event loop, as a wrapper of the real one.

`python tests/http/runtime/ticking.py python -m chunkstore serve …` does what is behind it. A task
ticks in the server's event loop; the processor time that the loop's thread has spent between two
ticks is how long nobody else had a turn, and no other program makes it longer. The longest ones are
written to GAPS when the server ends. Warnings are errors.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from chunkstore.cli import main
from chunkstore.server import process

GAPS: Final = "gaps.json"
_TICK_SECONDS: Final = 0.002
_MOST_KEPT: Final = 20
_COMMAND: Final = ("python", "-m", "chunkstore")


class Gaps:
    """The longest times, in milliseconds, each with the Unix time of its end."""

    def __init__(self) -> None:
        self._longest: list[tuple[float, float]] = []

    async def measure(self) -> None:
        """Tick until cancelled."""
        last = time.thread_time()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.thread_time()
            heapq.heappush(self._longest, (1000 * (now - last), time.time()))
            if len(self._longest) > _MOST_KEPT:
                heapq.heappop(self._longest)
            last = now

    def save(self) -> None:
        """Write them, the longest first."""
        Path(GAPS).write_text(json.dumps(sorted(self._longest, reverse=True)))


async def serve(config: Any, announce: Callable[[str], None], **options: Any) -> None:  # noqa: ANN401 - those of `server.serve`
    """Serve, and measure from when the server answers."""
    gaps = Gaps()
    tasks = []

    def announce_and_measure(url: str) -> None:
        tasks.append(asyncio.create_task(gaps.measure()))
        announce(url)

    try:
        await _serve(config, announce_and_measure, **options)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        gaps.save()


if __name__ == "__main__":
    warnings.simplefilter("error")
    _serve, process.serve = process.serve, serve
    del sys.argv[1 : 1 + len(_COMMAND)]
    main.main()
