"""A link between clients and a server, which can break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

_PIECE_SIZE = 16 * 1024


class Link:
    """Forwards connections from `port` to `target`, another port of this machine.

    `watch` is called with all that clients send and get, before it is forwarded.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.watch: Callable[[bytes], None] = lambda _: None
        self._is_broken = False
        self._open: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def forwarding(cls) -> AsyncIterator[Link]:
        """Run one for the time of a context."""
        link = cls()
        server = await asyncio.start_server(link._forward, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            server.close()
            link.cut()

    def cut(self) -> None:
        """Lose all connections, and what is under way in them; the link takes new ones."""
        for writer in self._open:
            writer.transport.abort()

    def take_down(self) -> None:
        """Lose all connections, and each new one at once."""
        self._is_broken = True
        self.cut()

    def mend(self) -> None:
        """Forward again."""
        self._is_broken = False

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._is_broken:
                return
            with suppress(OSError):
                inner_reader, inner = await asyncio.open_connection("127.0.0.1", self.target)
                self._open.add(inner)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._carry(reader, inner))
                        both.create_task(self._carry(inner_reader, writer))
                finally:
                    self._open.discard(inner)
                    inner.transport.abort()
        except* OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE_SIZE):
            self.watch(piece)
            writer.write(piece)
            await writer.drain()
        # All of an answer has arrived when its connection ends.
        with suppress(OSError):
            writer.write_eof()
