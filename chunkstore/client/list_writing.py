"""Makes a file of the list of its chunks, sending what turns out to be missing after all."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from chunkstore.client.errors import ChunksMissing, Refused
from chunkstore.client.manifests import Manifest
from chunkstore.client.sending import ChunkSender
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities, Written
from chunkstore.client.session import Session
from chunkstore.core.chunk_lists import ENTRY_SIZE

# So much of a list is sent in one request, and has to be sent again if that fails.
_LIST_PART: Final = 65_536
_MOST_ROUNDS: Final = 5
# Of fewer entries the server has little to do.
_FOLLOWED_AT_ONCE: Final = 512
# Behind every chunk.
_NEVER: Final = 2**62


class ListFollower:
    """Sends the list of a content as far as its chunks have arrived, while others are under way.

    So a server that has to hash the content does that while the client sends the rest. `entries`
    are those of the chunks that the sender has taken, and grow.
    """

    def __init__(
        self, session: Session, server: Server, sender: ChunkSender, entries: bytes | bytearray
    ) -> None:
        self._session = session
        self._chunks = server.chunks
        self._sender = sender
        self._entries = entries
        self._appended = 0
        self._appending: Future[int] | None = None

    def advance(self) -> None:
        """Send what can be sent, unless something is under way.

        Raises:
            ClientError: the server refuses or is away.
        """
        upload = self._sender.upload
        if upload is None or self._sender.is_streaming:
            return
        if self._sender.appended and not self._appended:
            # The last run has begun the list.
            return
        if self._appending is not None and not self._appending.done():
            return
        self.settle()
        number, offset = self._sender.arrived
        if number - self._appended < _FOLLOWED_AT_ONCE or self._sender.appended >= offset:
            return
        entries = bytes(self._entries[self._appended * ENTRY_SIZE : number * ENTRY_SIZE])
        self._appended = number
        self._appending = self._session.requests.submit(
            self._append, upload, self._sender.appended, entries
        )

    def settle(self) -> None:
        """Wait for what is under way. Raise as `advance`."""
        if self._appending is not None:
            self._sender.appended = self._appending.result()
            self._appending = None

    def _append(self, upload: str, offset: int, entries: bytes) -> int:
        try:
            return self._chunks.append(upload, offset, entries)
        except Refused:
            # As where an answer was lost, or a chunk went that was known: the end sees to it.
            self._appended = _NEVER
            return self._chunks.state(upload).offset


class ListWriter:
    """Sends the list of a content whose chunks `sender` has sent."""

    def __init__(self, server: Server, abilities: Abilities, sender: ChunkSender) -> None:
        self._chunks = server.chunks
        self._abilities = abilities
        self._sender = sender

    def append(self, upload: str, manifest: Manifest) -> Written | None:
        """Send the list to an upload, and complete it; None if its answer was lost.

        Raises:
            ClientError: the file was not made.
        """
        return self._append(upload, manifest, complete=True)

    def append_part(self, upload: str, manifest: Manifest) -> None:
        """Send the list to an upload that is no file, and is not complete by that.

        Raises:
            ClientError: it does not have all of the list.
        """
        self._append(upload, manifest, complete=False)

    def _append(self, upload: str, manifest: Manifest, *, complete: bool) -> Written | None:
        number = self._number_at(manifest, self._sender.appended)
        rounds = 0
        while True:
            stop = min(number + _LIST_PART, len(manifest))
            entries = manifest.entries[number * ENTRY_SIZE : stop * ENTRY_SIZE]
            offset = manifest.offset(number)
            try:
                if stop == len(manifest) and complete:
                    return self._chunks.complete(upload, offset, entries)
                if number == len(manifest):
                    return None
                number = self._number_at(manifest, self._chunks.append(upload, offset, entries))
                rounds = 0
            except ChunksMissing as error:
                rounds += 1
                if rounds > _MOST_ROUNDS or error.offset is None:
                    raise
                number = self._number_at(manifest, error.offset)
                self._send_again(manifest, number)
            except Refused as error:
                rounds += 1
                state = None if rounds > _MOST_ROUNDS else self._after_lost_answer(upload, error)
                if state is None:
                    raise
                if state < 0:
                    return None
                number = self._number_at(manifest, state)

    def _after_lost_answer(self, upload: str, error: Refused) -> int | None:
        """Return where an upload is whose answer was lost, -1 for its end; None if it was not."""
        if error.problem not in {"mismatching-upload-offset", "completed-upload"}:
            return None
        state = self._chunks.state(upload)
        return -1 if state.complete else state.offset

    def _send_again(self, manifest: Manifest, number: int) -> None:
        stop = min(number + self._abilities.max_digests, len(manifest))
        chunks = [manifest.entry(one) for one in range(number, stop)]
        self._sender.add_again(manifest.offset(number), chunks)

    @staticmethod
    def _number_at(manifest: Manifest, offset: int) -> int:
        number = len(manifest) if offset == manifest.size else manifest.number_at(offset)
        if manifest.offset(number) != offset:
            raise Refused(409, "", "The upload ends within a chunk; begin it anew.")
        return number
