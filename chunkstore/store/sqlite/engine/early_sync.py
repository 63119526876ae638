"""Early sync: the log is synced beside the writer, before a commit needs it.

Batches of an upload that has not been answered yet need not be durable, so their transactions are
not synced; the one that commits the upload syncs the whole log. Syncing in the background leaves
little for it to do.

A sync that fails may lose what was written before it, and another one that comes just behind it may
succeed all the same. So none runs here while the writer commits what is to be durable, or
checkpoints: by then it is known whether one has failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chunkstore.store.sqlite.engine.syncing import sync_data

_STEP_SIZE: Final = 8 * 1024 * 1024

_logger = logging.getLogger(__name__)


class Flusher:
    """Syncs the write-ahead log at `log` in the background, once enough of it is not synced.

    Nothing relies on its success, but after one that `failed` nothing in the log counts as synced.
    SQLite holds no locks on the log, so closing it here releases none.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self.failed = False
        self._unflushed = 0
        self._running: asyncio.Task[None] | None = None
        self._syncing = threading.Lock()

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Have no sync run in the context, and wait for one that does; for the writer's thread."""
        with self._syncing:
            yield

    def wrote(self, size: int) -> None:
        """Note that about `size` bytes were written to the log and not synced."""
        self._unflushed += size
        if self._unflushed >= _STEP_SIZE and self._running is None:
            self._unflushed = 0
            self._running = asyncio.create_task(self._flush())

    async def close(self) -> None:
        """Wait for a sync that runs."""
        if self._running is not None:
            await self._running

    async def _flush(self) -> None:
        try:
            await asyncio.to_thread(self._sync)
        finally:
            self._running = None

    def _sync(self) -> None:
        with self._syncing:
            try:
                _sync(self._log)
            except FileNotFoundError:
                # The connection that closed last has checkpointed and removed it.
                pass
            except OSError as error:
                self.failed = True
                _logger.warning("The early sync of the log failed: %s", error)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_data(descriptor)
    finally:
        os.close(descriptor)
