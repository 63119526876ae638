"""Hashing the content of an upload that comes as a list, while the rest of it is awaited.

A list can come in parts, each once the chunks that it names are there. Where a content has to be
read for its digest, most of that is done by the time at which the last chunk comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.resumable.append import Hashers
from chunkstore.store.contract.resumable import ResumableUpload

# Each reads as a download does; the contents of further ones are read at their end.
_MOST: Final = 2

_logger = logging.getLogger(__name__)

Read = Callable[[ResumableUpload, int], AsyncGenerator[bytes, None]]
Find = Callable[[str], Awaitable[ResumableUpload | None]]

Judge = Callable[[ResumableUpload], Awaitable[bool]]


class HashingAlong:
    """Hashes uploads up to where their lists have come, unless their digests are spared that.

    `find` returns an upload as it is now, `read` the bytes that it has from an offset on.
    """

    def __init__(self, hashers: Hashers, find: Find, read: Read, is_spared: Judge) -> None:
        self._hashers = hashers
        self._is_spared = is_spared
        self._find = find
        self._read = read
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, upload: ResumableUpload) -> None:
        """Hash what is there of an upload, in the background, unless that is under way."""
        if upload.id in self._running or len(self._running) >= _MOST:
            return
        task = asyncio.create_task(self._hash(upload))
        self._running[upload.id] = task
        task.add_done_callback(lambda _: self._running.pop(upload.id, None))
        task.add_done_callback(retrieve_exception)

    async def settle(self, upload_id: str) -> None:
        """Wait until all that has come of an upload is hashed that was begun to be."""
        task = self._running.get(upload_id)
        if task is not None:
            await asyncio.wait({task})

    async def close(self) -> None:
        """Hash no more."""
        tasks = set(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _hash(self, upload: ResumableUpload) -> None:
        if await self._is_spared(upload):
            return
        size, hasher = self._hashers.take_prefix(upload.id)
        try:
            current: ResumableUpload | None = upload
            while current is not None and current.chunks is not None and current.chunks.size > size:
                async with aclosing(self._read(current, size)) as windows:
                    async for window in windows:
                        await asyncio.to_thread(hasher.update, window)
                        size += len(window)
                current = await self._find(upload.id)
        except ChunkstoreError as error:
            _logger.info("An upload is not hashed while it comes: %s", error)
        # Not of one that was cancelled, which a thread may still have.
        self._hashers.keep(upload.id, size, hasher, was_read=True)
