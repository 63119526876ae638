"""Send parts of a file at the pace of its client, with little memory for one that stops reading.

The kernel is given what it takes at once. Where it takes no more, one slice waits in the transport,
which tells when that has gone. The rest of the window stays here, and can be given back when others
want the memory: what is in the transport stays reserved, and the rest is read again, from where
sending stopped, once the client has taken that. So a chunk is read again at most once per slice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.ranges import ByteRange
from chunkstore.http.runtime.exchange import (
    LIMITS,
    paced_connection,
    send_now,
    write_without_waiting,
)
from chunkstore.service.downloads import ContentReader, Window, spans
from chunkstore.service.memory import Reservation

# Bytes in the transport cannot be taken back, so it gets only this part of a window, which is
# larger the faster the client was, and at least so many bytes.
_SLICE_PART: Final = 64
_LEAST_SLICE: Final = 4 * 1024


@dataclass(slots=True)
class Part:
    """What is still to be sent of one range: its head, and the bytes `start` to `stop`."""

    head: bytes
    start: int
    stop: int

    def take_head(self) -> bytes:
        """Return the head, which is to be sent once."""
        head, self.head = self.head, b""
        return head


class BodySender:
    """Sends parts of a file, which ascend and do not overlap, as the body of an answer."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, parts: Iterable[Part]
    ) -> None:
        self._request = request
        self._response = response
        self._connection = paced_connection(request)
        self._parts = deque(part for part in parts if part.start < part.stop)
        # The head of the answer leaves with the first slice.
        self._begun = False
        self._stall_seconds = request.app[LIMITS].stall_seconds

    async def send(self, reader: ContentReader, manifest: Manifest) -> None:
        """Send all parts.

        The first window is read before anything is sent, so that damage there is a clean error.
        Where the parts are the whole content, its last window is sent only if the chunk list is the
        one that was sealed.
        """
        parts = [(part.start, part.stop) for part in self._parts]
        whole = ListHasher() if parts == [(0, manifest.size)] else None
        while self._parts:
            ranges = [ByteRange(part.start, part.stop) for part in self._parts]
            span = next(spans(manifest, ranges))
            kept = None
            async with aclosing(reader.windows(manifest, span.start, span.stop, whole)) as stream:
                async for window in stream:
                    kept = await self._send_window(window)
                    # Its bytes go before the next one is waited for.
                    del window
                    if kept is not None:
                        break
            if kept is not None:
                with kept:
                    await self._all_taken()
        await self._prepare()

    async def _prepare(self) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)

    async def _send_window(self, window: Window) -> Reservation | None:
        """Send the bytes of the parts that lie in the window.

        If the client does not take them while others want the memory, stop, and return the
        reservation of those that wait in the transport.
        """
        await self._prepare()
        began = asyncio.get_running_loop().time()
        while self._parts and (part := self._parts[0]).start < window.stop:
            await self._write(window, part, min(part.stop, window.stop))
            if part.start == part.stop:
                self._parts.popleft()
            if not await self._taken(window.reservation, began):
                transport = self._request.transport
                return window.reservation.split(
                    0 if transport is None else transport.get_write_buffer_size()
                )
        return None

    async def _write(self, window: Window, part: Part, stop: int) -> None:
        """Write some of a part without waiting; all of it where the connection is not paced."""
        at = part.start - window.start
        if self._connection is None:
            part.start = stop
            await self._response.write(part.take_head() + window.content[at : stop - window.start])
            return
        if self._begun and not part.head:
            unsent = memoryview(window.content)[at : stop - window.start]
            sent = send_now(self._request, self._connection, unsent)
            part.start += sent
            at += sent
        if part.start < stop:
            slice_size = max(_LEAST_SLICE, len(window.content) // _SLICE_PART)
            part.start = min(part.start + slice_size, stop)
            self._begun = True
            octets = part.take_head() + window.content[at : part.start - window.start]
            await write_without_waiting(self._request, octets)

    async def _taken(self, reservation: Reservation, began: float) -> bool:
        """Wait for the client to take what was written, and return whether it has.

        Give up when others want the memory and the client takes nothing, or so little that it has
        had the window for too long, since `began` by the loop's clock.
        """
        connection = self._connection
        if connection is None:
            return True
        loop = asyncio.get_running_loop()
        while connection.is_draining:
            taken = await connection.wait_drained(self._stall_seconds or None)
            long = 0 < self._stall_seconds <= loop.time() - began
            if reservation.wanted and (long or not taken):
                return False
            if taken:
                return True
        return True

    async def _all_taken(self) -> None:
        if self._connection is not None:
            await self._connection.wait_drained(None)
