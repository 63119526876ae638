"""Appending a list of chunks to an upload: what the store has is referred to, no byte is sent.

The list is parsed as it comes, so it may have any length. Entries are appended up to the first
whose chunk is not there; behind that they are only looked up, so that the client learns what else
it has to send.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final

from chunkstore.core.chunk_lists import ListEntry, ListParser
from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk, size_of
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunksMissing,
    ChunkstoreError,
    InconsistentLength,
    InvalidRequest,
    LengthExceeded,
)
from chunkstore.service.known_chunks import KnownChunks
from chunkstore.service.memory import Account, Reservation
from chunkstore.service.resumable.append import Ending, UploadLimits, UploadRequest
from chunkstore.store.contract.resumable import ResumableUpload
from chunkstore.store.contract.upload_state import Append, AppendLast, Progress
from chunkstore.store.contract.uploads import Uploads

# Entries of one transaction, and of one look-up.
LISTED_AT_ONCE: Final = 2048
# What one takes in memory while it is in a batch.
ENTRY_COST: Final = 256
# Entries that are looked up behind the first that is missing, and digests of which are told.
_MOST_LOOKED_UP: Final = 16_384
_MOST_TOLD: Final = 100
_PARSED_AT_ONCE: Final = 16 * 1024

_logger = logging.getLogger(__name__)


class ListReceiver:
    """Takes the list that one request brings and appends it to its upload, batch by batch."""

    def __init__(
        self,
        known: KnownChunks,
        uploads: Uploads,
        limits: UploadLimits,
        upload: ResumableUpload,
        request: UploadRequest,
        memory: Account,
        parser: ListParser,
    ) -> None:
        assert upload.chunks is not None
        self._known = known
        self._uploads = uploads
        self._limits = limits
        self._upload = upload
        self._request = request
        self._memory = memory
        self._parser = parser
        self._length = upload.length if request.length is None else request.length
        # Bytes that came by themselves and fill no chunk become one, if any other comes.
        self._tail = upload.tail
        self._entries: list[ListEntry] = []
        self._reservation: Reservation | None = None
        self._missing: dict[Digest, None] = {}
        self._missing_entries = self._looked_up = 0

    async def take(self, piece: bytes) -> None:
        """Take the next bytes; an empty piece says that the client makes the server wait.

        Raises:
            InvalidRequest: they are no list, or a size is not that of the chunk.
            LengthExceeded, TooLarge, QuotaExceeded: the list is of more bytes than there may be.
            StoreError: the store failed. UploadSuperseded, NotFound: as `Uploads.apply`.
        """
        if not piece and self._reservation is not None and self._reservation.wanted:
            await self._append_all()
            self._release()
        for start in range(0, len(piece), _PARSED_AT_ONCE):
            if self._reservation is None:
                size = LISTED_AT_ONCE * ENTRY_COST
                self._reservation = await self._memory.reserve(size, size)
            self._entries += self._parse(piece[start : start + _PARSED_AT_ONCE])
            if len(self._entries) >= LISTED_AT_ONCE:
                await self._append_all()

    async def keep(self) -> None:
        """Append what has come of a list that broke off."""
        try:
            await self._append_all()
        except ChunkstoreError as error:
            _logger.info("What had come of a list was not kept: %s", error)

    async def confirm(self, *, body_ended: bool) -> ResumableUpload:
        """Append all that has come; return the upload as it is then.

        Raises:
            ChunksMissing: the store lacks some; `offset` is where the list ends.
        """
        try:
            self._entries += self._parser.finish()
        except ValueError as error:
            raise InvalidRequest(f"The list is malformed: {error}.") from error
        whole = self._request.ending is Ending.WITH_BODY
        await self._append_all(whole=whole)
        if self._missing:
            missing = [str(digest) for digest in self._missing]
            raise ChunksMissing(missing, self._upload.offset, count=self._missing_entries)
        if whole and not self._upload.whole:
            raise InconsistentLength(f"The upload's length is {self._length}; fewer bytes came.")
        return self._upload

    async def close(self) -> None:
        """Give the memory back."""
        self._release()

    def _release(self) -> None:
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    def _parse(self, piece: bytes) -> list[ListEntry]:
        try:
            return self._parser.feed(piece)
        except ValueError as error:
            raise InvalidRequest(f"The list is malformed: {error}.") from error

    async def _append_all(self, *, whole: bool = False) -> None:
        """Append what has been parsed, as far as it is there; `whole` if nothing follows it."""
        entries, self._entries = self._entries, []
        if self._looked_up >= _MOST_LOOKED_UP:
            return
        digests = digests_in(entries)
        sizes = dict(await self._known.find_sizes(digests)) if digests else {}
        appended = False
        while not self._missing and not appended:
            known = known_entries(entries, sizes)
            try:
                await self._append(known, whole=whole and len(known) == len(entries))
            except ChunksMissing as error:
                # They went meanwhile.
                for digest in error.digests:
                    del sizes[Digest.parse(digest)]
            else:
                entries, appended = entries[len(known) :], True
        self._note_missing(entries, sizes)

    async def _append(self, known: Sequence[KnownChunk], *, whole: bool) -> None:
        chunks: list[AnyChunk] = [*known]
        tail = self._tail
        if chunks and tail:
            chunks.insert(0, Chunk.of(tail))
            tail = b""
        assert self._upload.chunks is not None
        start = self._upload.chunks.size
        offset = start + size_of(chunks) + len(tail)
        if self._length is not None and offset > self._length:
            raise LengthExceeded(f"The upload's length is {self._length}; the list is of more.")
        self._limits.check_size(offset)
        self._request.room.check(offset)
        whole = whole and self._length in (None, offset)
        if not chunks and not whole:
            return
        length = offset if whole else self._length
        progress = Progress(offset, tail, length, self._limits.expiry())
        kind = AppendLast if whole else Append
        append = kind(self._upload.epoch, start, chunks, progress, self._limits.max_unfinished)
        self._upload = await self._uploads.apply(self._upload.id, append)
        self._tail = tail

    def _note_missing(self, entries: Sequence[ListEntry], sizes: Mapping[Digest, int]) -> None:
        """Note the missing ones of entries that were not appended, if any, the first being one."""
        self._looked_up += len(entries)
        for entry in entries:
            if entry.digest not in sizes:
                self._missing_entries += 1
                if len(self._missing) < _MOST_TOLD:
                    self._missing[entry.digest] = None


def digests_in(entries: Sequence[ListEntry]) -> list[Digest]:
    """Return the digests in a list, each once, in order."""
    return list(dict.fromkeys(entry.digest for entry in entries))


def known_entries(entries: Sequence[ListEntry], sizes: Mapping[Digest, int]) -> list[KnownChunk]:
    """Return the entries of a list up to the first whose chunk is missing, with their sizes.

    Raises:
        InvalidRequest: an entry has another size than its chunk.
    """
    known = []
    for entry in takewhile(lambda entry: entry.digest in sizes, entries):
        size = sizes[entry.digest]
        if entry.size not in (None, size):
            raise InvalidRequest(f"The chunk {entry.digest} has {size} bytes, not {entry.size}.")
        known.append(KnownChunk(entry.digest, size))
    return known
