"""What the sender of an answer and the reader of a body need of a connection."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

from aiohttp import web


class PacedConnection(web.RequestHandler):
    """A connection that reads and writes no faster than the handler and the client do.

    Only this server's runner makes such connections: an application that another runs has
    connections of aiohttp's own class.
    """

    __slots__ = ()

    @property
    def is_draining(self) -> bool:
        """Whether some of what was written waits in the transport for the client."""
        return self.writing_paused

    @abstractmethod
    def reading_held(self) -> AbstractContextManager[None]:
        """Read nothing from the socket within the context, where the handler waits for the store.

        What the client sends meanwhile fills the kernel's receive buffer, and then waits with the
        client.
        """

    @abstractmethod
    def let_read(self) -> None:
        """Read again, also if a body's reader that was left within `reading_held` still exists."""

    @abstractmethod
    def send_now(self, octets: memoryview) -> int:
        """Send what the kernel takes at once, without a copy, and return how many bytes it took.

        Raises:
            ConnectionError: the connection is lost.
        """

    @abstractmethod
    async def wait_drained(self, seconds: float | None) -> bool:
        """Wait until the transport has passed on all that was written, for at most `seconds`.

        Return whether it has.

        Raises:
            ConnectionError: the connection is lost.
        """
