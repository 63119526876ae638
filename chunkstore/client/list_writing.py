"""Makes a file of the list of its chunks, sending what turns out to be missing after all."""

from __future__ import annotations

from typing import Final

from chunkstore.client.errors import ChunksMissing, Refused
from chunkstore.client.manifests import Manifest
from chunkstore.client.sending import ChunkSender
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities, Written
from chunkstore.core.chunk_lists import ENTRY_SIZE

# So much of a list is sent in one request, and has to be sent again if that fails.
_LIST_PART: Final = 65_536
_MOST_ROUNDS: Final = 5


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
