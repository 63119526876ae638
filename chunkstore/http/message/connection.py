"""What answering needs of a connection besides what aiohttp's own has."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

from aiohttp import web


class PacedConnection(web.RequestHandler):
    """A connection on which bytes come and go at the pace of who waits for them.

    An application that is run by other means than this server's has connections of aiohttp's class.
    """

    __slots__ = ()

    @abstractmethod
    def reading_held(self) -> AbstractContextManager[None]:
        """Read nothing from the socket within the context, while its request waits for others.

        What comes meanwhile waits in the kernel, whose bound is small where nobody reads, and in
        the end at the client.
        """

    @abstractmethod
    def send_now(self, octets: memoryview) -> int:
        """Send what the kernel takes at once, without a copy, and return how much that is.

        Raises:
            ConnectionError: the connection is lost.
        """

    @abstractmethod
    async def has_taken(self, seconds: float | None) -> bool:
        """Wait until the client has taken most of what was written, at most `seconds`.

        Return whether it has.

        Raises:
            ConnectionError: the connection is lost.
        """
