"""The places of chunk lists: how they are written, and what is read through them, for every store.

`read_places` is the gate for lists, as `check_chunk` is for chunks: it refuses places that are not
what was written, or between which one is missing.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunkstoreError, StoreDamaged
from chunkstore.core.manifest import ChunkList, ListHasher, Manifest, tie
from chunkstore.store.contract.edits import Edit, Put, Uploaded

# What a place and its chunk take in memory beside the chunk's bytes.
_PLACE_COST: Final = 512
# So many are nothing.
_FEW_PLACES: Final = 64


class DamagedList(StoreDamaged):
    """What is stored is damaged and was not sent; put the same content again to repair it."""

    def __init__(self, manifest_id: int, chunk: Digest | None = None) -> None:
        """`chunk` is the digest of a chunk in the list that is damaged too."""
        super().__init__()
        self.manifest_id = manifest_id
        self.chunk = chunk


class Place(NamedTuple):
    """The place of a chunk in a list: its offset, size and digest, and what ties them to it."""

    start: int
    size: int
    digest: bytes
    tie: int

    @property
    def stop(self) -> int:
        """The offset at which the next chunk begins."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class OpenManifest:
    """The manifest of an upload: chunks of `size` bytes together are in the store under `id`."""

    id: int
    chunk_size: int
    size: int

    def places(self, chunks: Iterable[tuple[bytes, int]]) -> Iterator[Place]:
        """Yield the places that further chunks get, by their digests and sizes."""
        start = self.size
        for digest, size in chunks:
            yield Place(start, size, digest, tie(self.id, start, size, digest))
            start += size


def most_places(most: int) -> int:
    """Return how many places are read at once by whoever reads at most so many bytes.

    Chunks may be tiny: then what is beside their bytes would take many times as much memory.
    """
    return max(_FEW_PLACES, most // _PLACE_COST)


def read_places(manifest_id: int, places: Sequence[Place], start: int) -> None:
    """Check places that follow each other, the first of which holds the offset `start`.

    Raises:
        DamagedList: one is not as it was written, or is missing.
    """
    if not places or not places[0].start <= start < places[0].stop:
        raise DamagedList(manifest_id)
    expected = places[0].start
    for place in places:
        if place.start != expected or not _is_tied(manifest_id, place):
            raise DamagedList(manifest_id)
        expected = place.stop


def _is_tied(manifest_id: int, place: Place) -> bool:
    try:
        return place.tie == tie(manifest_id, place.start, place.size, place.digest)
    except struct.error:
        # A number is beyond what it can be.
        return False


async def hash_list(
    chunks: ChunkList, next_places: Callable[[int], Awaitable[Sequence[Place]]]
) -> ListHasher:
    """Return the hasher that has seen a whole list, which at most grows meanwhile.

    `next_places` returns some checked places from an offset on.

    Raises:
        DamagedList: the list is not as it was written.
    """
    hasher = ListHasher()
    while hasher.size < chunks.size:
        places = await next_places(hasher.size)
        if not places:
            raise DamagedList(chunks.id)
        for place in places:
            # What is behind the list of an upload is not confirmed, or has just completed it.
            if place.start < chunks.size:
                hasher.add(place.digest, place.size)
    if hasher.size != chunks.size:
        raise DamagedList(chunks.id)
    return hasher


async def lists_of_uploads(
    edits: Sequence[Edit], hash_whole: Callable[[str], Awaitable[ListHasher | None]]
) -> dict[str, ListHasher]:
    """Return the chunk lists of the resumable uploads that are put, by their ids.

    They are read before the transaction, which should not take as long as that. `hash_whole`
    returns None of an upload that is not whole; an error's `edit` is the place of the edit.
    """
    lists = {}
    for place, edit in enumerate(edits):
        if isinstance(edit, Put) and isinstance(edit.content, Uploaded):
            upload_id = edit.content.upload_id
            try:
                whole = await hash_whole(upload_id)
            except ChunkstoreError as error:
                error.edit = place
                raise
            if whole is not None:
                lists[upload_id] = whole
    return lists


@dataclass(frozen=True, slots=True)
class ReadBytes:
    """Bytes that were read from a chunk list, from `start` on, and the places they are from."""

    start: int
    content: bytes
    places: Sequence[Place]

    @classmethod
    def join(
        cls, places: Sequence[Place], contents: Sequence[bytes], start: int, stop: int
    ) -> ReadBytes:
        """Return the bytes `start` to `stop` of chunks, or to their end if that comes first."""
        # A damaged index may find more than was looked for.
        needed = sum(place.start < stop for place in places)
        places, contents = places[:needed], contents[:needed]
        stop = min(stop, places[-1].stop)
        if len(contents) == 1:
            [content] = contents
            whole = start == places[0].start and stop == places[0].stop
            part = content if whole else content[start - places[0].start : stop - places[0].start]
            return cls(start, part, places)
        first = memoryview(contents[0])[start - places[0].start :]
        last = memoryview(contents[-1])[: stop - places[-1].start]
        return cls(start, b"".join([first, *contents[1:-1], last]), places)

    def continue_list(self, chunks: ChunkList, whole: ListHasher) -> None:
        """Add the chunks that were not read before, and compare at the end of a manifest's list.

        Raises:
            DamagedList: it is not the list that was sealed.
        """
        continue_list(chunks, self.places, self.start + len(self.content), whole)


def continue_list(chunks: ChunkList, places: Iterable[Place], stop: int, whole: ListHasher) -> None:
    """Add chunks that were not read before, and compare if `stop` is the end of a manifest's list.

    Raises:
        DamagedList: it is not the list that was sealed.
    """
    for place in places:
        if place.start == whole.size:
            whole.add(place.digest, place.size)
    if stop == chunks.size and isinstance(chunks, Manifest) and not whole.proves(chunks):
        raise DamagedList(chunks.id)


def entries_of(
    chunks: ChunkList, places: Iterable[Place], whole: ListHasher | None
) -> list[KnownChunk]:
    """Return the entries at checked places, one at least, which `whole` has seen then.

    Raises:
        DamagedList: it is not the list that was sealed.
    """
    # What is behind the list of an upload is not confirmed.
    listed = [place for place in places if place.start < chunks.size]
    if whole is not None:
        continue_list(chunks, listed, listed[-1].stop, whole)
    return [KnownChunk(Digest(place.digest), place.size) for place in listed]
