"""Sends chunks in packs, several at once, each over a connection of its own.

Of those that can be read again only their places are in memory until their pack is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Final

from chunkstore.client.errors import Mismatch, SourceChanged
from chunkstore.client.outcome import Progress
from chunkstore.client.reading import Piece
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities
from chunkstore.client.session import Session
from chunkstore.client.streaming import Read
from chunkstore.core.compression import DEFAULT_COMPRESSION, NO_COMPRESSION, Codec
from chunkstore.core.digest import Digest
from chunkstore.core.packs import HEAD_SIZE, Record

# The server syncs what a pack has before it answers, so larger ones are faster.
_PACK_SIZE: Final = 16 * 1024 * 1024
# Far from a server they grow while each takes less than so long: the link is to be kept busy from
# the first chunk on, and what is sent behind packs to come soon.
_FIRST_PACK_SIZE: Final = 2 * 1024 * 1024
_SHORT_SECONDS: Final = 0.5
# Of a content that comes by a pipe, whose chunks are in memory until they are sent.
_HELD_PACK_SIZE: Final = 4 * 1024 * 1024
# How many chunks tell whether compression makes a content shorter.
_SAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk that the server may lack; `piece` its bytes, if they cannot be read again.

    `number` counts the chunks before it, and is -1 for one that is wanted again.
    """

    number: int
    offset: int
    digest: bytes
    size: int
    piece: Piece | None


class PackSender:
    """Sends packs to the upload that `begun` returns; used by one thread.

    `read` returns the bytes of the content at an offset; None if it cannot be read again.
    """

    def __init__(
        self, session: Session, server: Server, abilities: Abilities, progress: Progress,
        begun: Callable[[], str], read: Read | None,
    ) -> None:  # fmt: skip
        self._session = session
        self._chunks = server.chunks
        self._abilities = abilities
        self._progress = progress
        self._begun = begun
        self._read = read
        self._compression = DEFAULT_COMPRESSION if "zstd" in abilities.codecs else NO_COMPRESSION
        most = _PACK_SIZE if read is not None else _HELD_PACK_SIZE
        self._most_packed = min(most, abilities.max_pack_size)
        first = self._most_packed if server.transport.is_near else _FIRST_PACK_SIZE
        self._pack_size = min(first, self._most_packed)
        self._pack: list[Wanted] = []
        self._packed = 0
        # With their first chunks.
        self._sending: dict[Future[None], Wanted] = {}

    @property
    def is_sending(self) -> bool:
        """Whether packs are under way."""
        return bool(self._sending)

    def firsts(self) -> Iterable[Wanted]:
        """Return the first chunk of each pack that has not arrived."""
        return [*self._sending.values(), *self._pack[:1]]

    def add(self, wanted: Wanted) -> None:
        """Take a chunk, and send the pack if it has no room for it. Raise as `send`."""
        if self._packed + wanted.size > self._pack_size or (
            len(self._pack) >= self._abilities.max_digests
        ):
            self.send()
        self._pack.append(wanted)
        self._packed += wanted.size

    def send(self) -> None:
        """Have what was taken be under way.

        Raises:
            SourceChanged: the content was changed meanwhile.
            ClientError: the server refuses or is away.
        """
        if not self._pack:
            return
        upload = self._begun()
        pack, self._pack, self._packed = self._pack, [], 0
        while len(self._sending) >= self._session.settings.connections:
            self.wait_for_one()
        sending = self._session.requests.submit(self._send_pack, upload, pack)
        self._sending[sending] = pack[0]

    def wait_for_one(self) -> None:
        """Wait until one pack has arrived of those under way. Raise as `send`."""
        for future in wait(self._sending, return_when=FIRST_COMPLETED).done:
            del self._sending[future]
            future.result()

    def cancel(self) -> None:
        """Send no pack that is not under way yet."""
        for sending in self._sending:
            sending.cancel()

    def wait(self) -> None:
        """Wait for all packs under way, whatever comes of them."""
        wait(self._sending)

    def gets_shorter(self, chunks: Sequence[Wanted]) -> bool:
        """Whether compression makes chunks shorter, by samples of them."""
        samples = chunks[:: max(1, len(chunks) // _SAMPLES)]
        return any(
            self._compression.encode(self._content_of(one)).codec is not Codec.IDENTITY
            for one in samples
        )

    def _send_pack(self, upload: str, pack: Sequence[Wanted]) -> None:
        began = time.monotonic()
        try:
            self._chunks.send_pack(upload, _PackBody(pack, self._record_of, self._progress))
        except Mismatch as error:
            raise SourceChanged from error
        if time.monotonic() - began < _SHORT_SECONDS:
            self._pack_size = min(2 * self._pack_size, self._most_packed)

    def _record_of(self, wanted: Wanted) -> bytes:
        encoded = self._compression.encode(self._content_of(wanted))
        return Record(Digest(wanted.digest), wanted.size, encoded).to_bytes()

    def _content_of(self, wanted: Wanted) -> bytes:
        if wanted.piece is not None:
            return bytes(wanted.piece)
        if self._read is None:
            raise SourceChanged(
                "A chunk that the server had is gone, and a pipe cannot be read twice."
            )
        content = self._read(wanted.offset, wanted.size)
        if len(content) != wanted.size:
            raise SourceChanged
        return content


class _PackBody:
    """A pack as the body of a request: its records are made as they are sent."""

    def __init__(
        self, pack: Sequence[Wanted], record_of: Callable[[Wanted], bytes], progress: Progress
    ) -> None:
        self._pack = pack
        self._record_of = record_of
        self._progress = progress
        # How many records were counted as sent; those that are sent again are not.
        self._counted = 0
        self._number = 0
        self._record = b""
        self._sent = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of one record, none at the end of the pack.

        They may be more than `size` by the head of a record, rather than that alone.
        """
        if self._sent == len(self._record):
            if self._number == len(self._pack):
                return b""
            self._record, self._sent = self._record_of(self._pack[self._number]), 0
            self._number += 1
            if self._number > self._counted:
                self._counted = self._number
                self._progress.moved(self._pack[self._number - 1].size, len(self._record))
        start = self._sent
        is_last = size < 0 or len(self._record) - start <= size + HEAD_SIZE
        self._sent = len(self._record) if is_last else start + size
        return self._record[start : self._sent]

    def tell(self) -> int:
        """Return 0: a pack is only sent again from its start."""
        return 0

    def seek(self, offset: int, /) -> int:
        """Go back to the start."""
        self._number, self._record, self._sent = 0, b"", 0
        return offset
