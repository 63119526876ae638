"""Send parts of a file at the pace of its client, with little memory for one that stops reading.

What the client does not take (`pacing`) stays here, and can be given back when others want the
memory: what is in the transport stays reserved, and the rest is read again, from where sending
stopped, once the client has taken that. So a chunk is read again at most once per slice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web

from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.ranges import ByteRange
from chunkstore.http.message.pacing import PacedWriter
from chunkstore.service.downloads import ContentReader, Window, spans
from chunkstore.service.memory import Reservation

RequireValid: TypeAlias = Callable[[], Awaitable[None]]
# Raises once what the request is answered by is not valid any more, as a link that was revoked.
REQUIRE_VALID: Final[web.RequestKey[RequireValid]] = web.RequestKey("require_valid")


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
        self._writer = PacedWriter(request, response)
        self._require_valid = request.get(REQUIRE_VALID)
        self._parts = deque(part for part in parts if part.start < part.stop)

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
                    if self._require_valid is not None:
                        await self._require_valid()
                    kept = await self._send_window(window)
                    # Its bytes go before the next one is waited for.
                    del window
                    if kept is not None:
                        break
            if kept is not None:
                with kept:
                    await self._writer.all_taken()
        await self._writer.prepare()

    async def _send_window(self, window: Window) -> Reservation | None:
        """Send the bytes of the parts that lie in the window.

        If the client does not take them while others want the memory, stop, and return the
        reservation of those that wait in the transport.
        """
        await self._writer.prepare()
        began = asyncio.get_running_loop().time()
        content = memoryview(window.content)
        while self._parts and (part := self._parts[0]).start < window.stop:
            stop = min(part.stop, window.stop)
            unsent = content[part.start - window.start : stop - window.start]
            part.start += await self._writer.write(part.take_head(), unsent, len(content))
            if part.start == part.stop:
                self._parts.popleft()
            if not await self._writer.taken(window.reservation, began):
                return window.reservation.split(self._writer.waiting_size)
        return None
