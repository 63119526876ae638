"""Writing the body of an answer at the pace of its client.

The kernel is given what it takes at once. Where it takes no more, one slice waits in the transport,
which tells when that has gone. So whoever sends learns that its client takes nothing, and can give
back the memory of what it has not written.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from chunkstore.http.runtime.exchange import (
    LIMITS,
    paced_connection,
    send_now,
    write_without_waiting,
)
from chunkstore.service.memory import Reservation

# Bytes in the transport cannot be taken back, so it gets only this part of a window, which is
# larger the faster the client was, and at least so many bytes.
_SLICE_PART: Final = 64
_LEAST_SLICE: Final = 4 * 1024


class PacedWriter:
    """Writes the body of one answer, whose head leaves with its first slice."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._connection = paced_connection(request)
        self._begun = False
        self._stall_seconds = request.app[LIMITS].stall_seconds

    @property
    def is_paced(self) -> bool:
        """Whether the connection is one of this server's, not of another runner's."""
        return self._connection is not None

    @property
    def waiting_size(self) -> int:
        """How many bytes wait in the transport."""
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    async def prepare(self) -> None:
        """Begin the answer, unless that was done."""
        if not self._response.prepared:
            await self._response.prepare(self._request)

    async def write(self, head: bytes, content: memoryview, window_size: int) -> int:
        """Write `head`, and some of `content` without waiting; return how many bytes of that.

        `window_size` is that of all that is in memory. All is written where the connection is not
        paced.
        """
        if self._connection is None:
            await self._response.write(head + content)
            return len(content)
        sent = 0
        if self._begun and not head:
            sent = send_now(self._request, self._connection, content)
        if sent < len(content) or head:
            stop = min(sent + max(_LEAST_SLICE, window_size // _SLICE_PART), len(content))
            self._begun = True
            await write_without_waiting(self._request, head + content[sent:stop])
            sent = stop
        return sent

    async def taken(self, reservation: Reservation, began: float) -> bool:
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

    async def all_taken(self) -> None:
        """Wait for the client to take all that was written, however long."""
        if self._connection is not None:
            await self._connection.wait_drained(None)
