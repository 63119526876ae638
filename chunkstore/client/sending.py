"""Sends those chunks of a content that a server lacks.

Digests are asked about in growing batches, so the first chunks leave early and large contents need
few requests. What is missing goes in packs (`packing`), or as a stream where that is better
(`streaming`). Chunks are read again for that, usually from the system's cache, or kept if they came
by a pipe; so a few packs are in memory, and no more of the content.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from chunkstore.client.manifests import Manifest, split_digests
from chunkstore.client.outcome import Progress
from chunkstore.client.packing import PackSender, Wanted
from chunkstore.client.reading import Cut, Piece
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import Abilities
from chunkstore.client.session import Session
from chunkstore.client.streaming import ContentStream, Read, Streamed
from chunkstore.core.chunk_lists import ENTRY_SIZE
from chunkstore.core.digest import DIGEST_SIZE

_FIRST_BATCH: Final = 64
# What batches that are asked about may hold of a content that comes by a pipe.
_HELD_SIZE: Final = 8 * 1024 * 1024
_BATCHES_UNDER_WAY: Final = 2
# A digest takes some 100 bytes in a set. Of what is beyond, the server is asked.
_MOST_REMEMBERED: Final = 200_000
# Fewer chunks than this are not worth a stream.
_LEAST_STREAMED: Final = 16
# A stream waits for each batch.
_STREAMED_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that was begun, and how many bytes of the content it has already."""

    upload: str
    offset: int = 0


class KnownChunks:
    """What a server has for sure: the chunks of a base, at the same place or anywhere in it."""

    def __init__(self, bases: Sequence[Manifest]) -> None:
        self._first = bases[0].entries if bases else b""
        self._anywhere: set[bytes] = set()
        for base in bases:
            if len(self._anywhere) + len(base) <= _MOST_REMEMBERED:
                self._anywhere.update(digest for digest, _ in base)

    def has(self, number: int, digest: bytes) -> bool:
        """Whether the chunk with this number and digest is known."""
        at = number * ENTRY_SIZE
        return self._first[at : at + DIGEST_SIZE] == digest or digest in self._anywhere


class ChunkSender:
    """Sends the chunks that are missing of one content; used by one thread, as a context.

    `begin` begins the upload that they are sent to, and is called when the first one is missing;
    `read` returns the bytes of the content at an offset. `streamed` is what it is if it may be
    sent as bytes.
    """

    def __init__(
        self,
        session: Session,
        server: Server,
        abilities: Abilities,
        progress: Progress,
        known: KnownChunks,
        begin: Callable[[], Begun],
        read: Read | None,
        streamed: Streamed | None = None,
    ) -> None:
        self.upload: str | None = None
        # Up to where the upload has all of the content.
        self.appended = 0
        self._session = session
        self._chunks = server.chunks
        self._transport = server.transport
        self._abilities = abilities
        self._progress = progress
        self._known = known
        self._begin = begin
        self._read = read
        self._streamed = streamed
        self._stream: ContentStream | None = None
        self._has_seat = False
        self._packs = PackSender(session, server, abilities, progress, self.begun, read)
        self._number = self._taken = 0
        self._seen: set[bytes] = set()
        self._batch: list[Wanted] = []
        self._held = 0
        self._batch_limit = min(_FIRST_BATCH, abilities.max_digests)
        self._asking: deque[tuple[list[Wanted], Future[bytes]]] = deque()

    def __enter__(self) -> ChunkSender:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what is under way: it may read the content."""
        if kind is not None and not issubclass(kind, Exception):
            # Ctrl-C waits for no pack.
            self._session.stop()
        for asking in self._asking:
            asking[1].cancel()
        self._packs.cancel()
        if self._stream is not None:
            self._stream.cancel()
        if self._has_seat:
            self._has_seat = False
            self._session.streams.release()
        self._packs.wait()

    def begun(self) -> str:
        """Return the URL of the upload, which is begun now unless it was.

        Raises:
            ClientError: the server refuses or is away.
        """
        if self.upload is None:
            found = self._begin()
            self.upload, self.appended = found.upload, found.offset
        return self.upload

    def add(self, cut: Cut) -> None:
        """Take the next chunks of the content."""
        pieces: Sequence[Piece | None] = cut.pieces if self._read is None else ()
        offset = cut.offset
        for at, (digest, size) in enumerate(cut.chunks):
            if self._known.has(self._number, digest) or digest in self._seen:
                self._progress.spared(size)
            else:
                self._want(
                    Wanted(self._number, offset, digest, size, pieces[at] if pieces else None)
                )
            self._number += 1
            offset += size
        self._taken = offset
        self._take_answers()
        if not self._asking and not self._transport.is_near:
            # As many at a time as come while the answer before is on its way.
            self._ask()

    def add_again(self, offset: int, chunks: Sequence[tuple[bytes, int]]) -> None:
        """Ask for chunks that were taken to be there, and send those that are not."""
        for digest, size in chunks:
            self._want(Wanted(-1, offset, digest, size, None))
            offset += size
        self.finish()

    def flush(self) -> None:
        """Have all that is missing be under way; packs may not have arrived.

        Raises:
            ClientError: as `finish`.
        """
        self._ask()
        while self._asking:
            self._sort(*self._asking.popleft())
        self._packs.send()
        if self._stream is not None:
            self._stream.settle()
            self.appended = self._stream.stop

    def finish(self) -> None:
        """Wait until the server has all chunks.

        Raises:
            SourceChanged: the content was changed meanwhile.
            ClientError: the server refuses or is away.
        """
        self.flush()
        while self.is_sending:
            self.wait_for_pack()

    @property
    def arrived(self) -> tuple[int, int]:
        """How many chunks of those taken the server has from the start on, and their bytes."""
        lacking = [
            *self._packs.firsts(), *self._batch[:1], *(batch[0] for batch, _ in self._asking),
        ]  # fmt: skip
        if not lacking:
            return self._number, self._taken
        first = min(lacking, key=lambda wanted: wanted.offset)
        return first.number, first.offset

    @property
    def is_streaming(self) -> bool:
        """Whether bytes are appended to the upload, or were."""
        return self._stream is not None

    @property
    def is_sending(self) -> bool:
        """Whether packs are under way."""
        return self._packs.is_sending

    def wait_for_pack(self) -> None:
        """Wait until one pack has arrived of those under way. Raise as `finish`."""
        self._packs.wait_for_one()

    def _want(self, wanted: Wanted) -> None:
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen.add(wanted.digest)
        self._batch.append(wanted)
        self._held += wanted.size if wanted.piece is not None else 0
        if len(self._batch) >= self._batch_limit or self._held >= _HELD_SIZE:
            self._ask()

    def _ask(self) -> None:
        """Ask which of the batch are missing."""
        if self._batch:
            batch, self._batch, self._held = self._batch, [], 0
            digests = b"".join(wanted.digest for wanted in batch)
            self._asking.append(
                (batch, self._session.requests.submit(self._chunks.missing, digests))
            )
            self._progress.moved(0, len(digests))
            most = self._abilities.max_digests if self._stream is None else _STREAMED_BATCH
            self._batch_limit = min(2 * self._batch_limit, most)
        self._take_answers()

    def _take_answers(self) -> None:
        """Sort what was answered, and wait if too much is asked for."""
        while self._asking and (
            self._asking[0][1].done() or len(self._asking) > _BATCHES_UNDER_WAY
        ):
            self._sort(*self._asking.popleft())

    def _sort(self, batch: Sequence[Wanted], answer: Future[bytes]) -> None:
        missing = set(split_digests(answer.result()))
        lacking = []
        for wanted in batch:
            if wanted.digest in missing:
                missing.discard(wanted.digest)
                lacking.append(wanted)
            else:
                self._progress.spared(wanted.size)
        if lacking and self.upload is None:
            upload = self.begun()
            self._stream = self._stream_to(upload, lacking)
        for wanted in lacking:
            stop = wanted.offset + wanted.size
            if stop <= self.appended:
                self._progress.spared(wanted.size)
            elif self._stream is None or not self._stream.take(wanted.offset, stop):
                self._packs.add(wanted)

    def _stream_to(self, upload: str, lacking: Sequence[Wanted]) -> ContentStream | None:
        """Return a stream of the content behind what an upload has, where that is better.

        It also takes what makes a chunk whole of which the upload has the beginning.
        """
        streamed, read = self._streamed, self._read
        if streamed is None or read is None:
            return None
        is_better = (
            self._transport.is_near
            and len(lacking) >= _LEAST_STREAMED
            and lacking[0].offset <= self.appended
            and not self._packs.gets_shorter(lacking)
            and self._session.streams.acquire(blocking=False)
        )
        offset, least = self.appended, streamed.end_of_chunk(self.appended)
        if not is_better and least == offset:
            return None
        stream = ContentStream(self._chunks, upload, offset, least, read, self._progress)
        self._has_seat = is_better
        if not is_better:
            stream.close()
        return stream
