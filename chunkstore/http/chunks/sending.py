"""Sending a body that is read by windows, at the pace of its client.

Where its length is not known before, it has the chunked coding, framed here by the window: aiohttp
would copy it, and the kernel could not be given what it takes at once.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from aiohttp import web

from chunkstore.http.message.pacing import PacedWriter
from chunkstore.http.runtime.exchange import frame_by_hand
from chunkstore.service.chunks.windows import Octets, WindowReader

# Shorter pieces are written together with what follows them.
_SHORT: Final = 4 * 1024


class WindowSender:
    """Sends what a reader has as the body of `response`, which is not prepared yet.

    The first window is read before anything is sent, so that damage there is a clean error.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._writer = PacedWriter(request, response)
        self._framed = False
        # How much of the frame that was opened last is still to come.
        self._frame_left = sys.maxsize
        self._before_frame = b""

    async def send(self, reader: WindowReader) -> web.StreamResponse:
        """Send all windows; return the response."""
        reservation = None
        try:
            while (window := await reader.read(reservation)) is not None:
                reservation = window.reservation
                await self._begin()
                unsent = await self._send(window)
                # Its bytes go before the next one is waited for.
                del window
                if unsent:
                    reader.unread(unsent)
                    with reservation.split(self._writer.waiting_size):
                        reservation.release()
                        await self._writer.all_taken()
        finally:
            if reservation is not None:
                reservation.release()
        if self._framed:
            await self._writer.write(b"\r\n0\r\n\r\n", memoryview(b""), 0)
        return self._response

    async def _begin(self) -> None:
        if self._response.prepared:
            return
        await self._writer.prepare()
        if self._writer.is_paced:
            self._framed = frame_by_hand(self._request)
            if self._framed:
                self._frame_left = 0

    async def _send(self, window: Octets) -> int:
        """Send a window; return how many bytes at its end were not taken while others wait."""
        began = asyncio.get_running_loop().time()
        size, passed, head = len(window), 0, b""
        for piece in window.pieces:
            rest = memoryview(piece)
            while rest:
                if not self._frame_left:
                    head += self._open_frame(size - passed)
                part, rest = rest[: self._frame_left], rest[self._frame_left :]
                passed += len(part)
                self._frame_left -= len(part)
                if len(part) < _SHORT and passed < size:
                    head += part
                    continue
                while part:
                    part = part[await self._writer.write(head, part, size) :]
                    head = b""
                    if not await self._writer.taken(window.reservation, began):
                        self._frame_left += len(part)
                        return len(part) + size - passed
        return 0

    def _open_frame(self, size: int) -> bytes:
        """Return what begins a frame of so many bytes, and ends the one before."""
        before, self._before_frame = self._before_frame, b"\r\n"
        self._frame_left = size
        return before + b"%x\r\n" % size
