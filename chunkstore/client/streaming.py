"""Sends the beginning of a content as bytes, one after the other, while the server has none of it.

A server can hash such bytes as they come, and write them where they belong. What comes in packs, in
any order, it has to read once more for the content's digest. So this is faster where the server is
near, and what is sent does not get shorter by compression; elsewhere several connections are, and
packs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from chunkstore.client.errors import Mismatch, Refused, ServerAway, SourceChanged, Stopped
from chunkstore.client.outcome import Progress
from chunkstore.client.server.chunks import Chunks

Read = Callable[[int, int], bytes]

_MOST_FAILURES: Final = 5
_OFFSET_PROBLEM: Final = "mismatching-upload-offset"


@dataclass(frozen=True, slots=True)
class Streamed:
    """A content that the server cuts as this client does: into chunks of `chunk_size`."""

    size: int
    chunk_size: int

    def end_of_chunk(self, offset: int) -> int:
        """Return where the chunk ends that has the byte before `offset`."""
        return min(-(-offset // self.chunk_size) * self.chunk_size, self.size)


class ContentStream:
    """Appends the bytes of a content to an upload that has `offset` of them, in one request.

    `stop` is up to where the upload has them, or will: `least` at the least. `read` returns those
    at an offset.
    """

    def __init__(
        self, chunks: Chunks, upload: str, offset: int, least: int, read: Read, progress: Progress
    ) -> None:
        """Begin to send, on a thread of its own."""
        self.stop = least
        self._chunks = chunks
        self._upload = upload
        self._read = read
        self._progress = progress
        # Those that are sent again are not counted once more.
        self._counted = offset
        self._is_open = True
        self._is_cancelled = False
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(1, "chunkstore-stream")
        self._sending = self._pool.submit(self._append, offset)

    def take(self, start: int, stop: int) -> bool:
        """Have the bytes up to `stop` sent, unless there are others between; tell whether so.

        Raises:
            ClientError: to send what was taken before has failed.
        """
        if self._sending.done():
            self._sending.result()
        with self._changed:
            if start > self.stop or not self._is_open:
                return False
            self.stop = max(stop, self.stop)
            self._changed.notify()
            return True

    def close(self) -> None:
        """Take no more."""
        with self._changed:
            self._is_open = False
            self._changed.notify()

    def settle(self) -> None:
        """Take no more, and wait until the upload has all that was taken.

        Raises:
            SourceChanged: the content has become shorter.
            ClientError: the server refuses or is away.
        """
        self.close()
        self._sending.result()

    def cancel(self) -> None:
        """Send no more, and wait for what is under way."""
        self._is_cancelled = True
        self.close()
        self._pool.shutdown()

    def wait_for(self, offset: int) -> int:
        """Return up to where bytes may be sent, once there are some behind `offset` or no more.

        Raises:
            Stopped: nothing is to be sent any more.
        """
        with self._changed:
            while offset == self.stop and self._is_open:
                self._changed.wait()
            if self._is_cancelled:
                raise Stopped
            return self.stop

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the content that are about to be sent.

        Raises:
            SourceChanged: it has become shorter.
        """
        found = self._read(offset, size)
        if len(found) != size:
            raise SourceChanged
        if offset + size > self._counted:
            new = offset + size - self._counted
            self._progress.moved(new, new)
            self._counted = offset + size
        return found

    def _append(self, start: int) -> None:
        failures, farthest = 0, start
        while start < self.wait_for(start):
            failures += 1
            try:
                reached = self._chunks.append_bytes(self._upload, start, _Rest(self, start))
            except (ServerAway, Refused) as error:
                if failures > _MOST_FAILURES or (
                    isinstance(error, Refused) and error.problem != _OFFSET_PROBLEM
                ):
                    raise
                # How much of it has arrived is the server's to tell.
                reached = self._chunks.state(self._upload).offset
            if reached > farthest:
                failures, farthest = 0, reached
            elif failures > _MOST_FAILURES:
                raise Mismatch("The server keeps none of the bytes that it is sent.")
            start = reached


class _Rest:
    """The bytes of a stream from an offset on as the body of a request, as they are taken."""

    def __init__(self, stream: ContentStream, start: int) -> None:
        self._stream = stream
        self._start = self._offset = start

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end of the stream. Raise as `ContentStream`."""
        left = self._stream.wait_for(self._offset) - self._offset
        piece = self._stream.bytes_at(self._offset, left if size < 0 else min(size, left))
        self._offset += len(piece)
        return piece

    def tell(self) -> int:
        """Return the offset within it."""
        return self._offset - self._start

    def seek(self, offset: int, /) -> int:
        """Go to an offset within it."""
        self._offset = self._start + offset
        return offset
