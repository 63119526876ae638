"""The contract of chunks and lists by themselves, for who sends or fetches only what is missing.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.core.packs import Record


@dataclass(frozen=True, slots=True)
class KeptChunks:
    """Chunks of a list that follow each other, as they are kept; the first begins at `start`."""

    start: int
    records: Sequence[Record]

    @property
    def stop(self) -> int:
        """The offset at which the next chunk begins, or the list ends."""
        return self.start + sum(record.size for record in self.records)


class Chunks(ABC):
    """Which chunks a store has, and those of a list: named, or as they are kept."""

    @abstractmethod
    async def read_kept(
        self, chunks: ChunkList, start: int, stop: int, most: int, whole: ListHasher | None = None
    ) -> KeptChunks:
        """Return the chunks that hold the bytes `start` to `stop` of a list, as they are kept.

        Places are checked as in `Contents.read`, but not the bytes of the chunks, which are not
        decoded: each record carries the digest that whoever decodes it compares. If the chunks have
        more than `most` bytes together, or are very many for so many bytes, fewer are returned, but
        one at least. There are none if
        `start` is `stop`. `whole` is as for `Contents.read`.

        Raises:
            ValueError: the range does not lie within the list.
            StoreDamaged: a chunk is missing, or cannot be what its digest says, or the list is not
                what it was.
        """

    @abstractmethod
    async def entries(
        self, chunks: ChunkList, start: int, most: int, whole: ListHasher | None = None
    ) -> Sequence[KnownChunk]:
        """Return the entries of a list, at most `most`, from the chunk on that holds `start`.

        They may be fewer. Every place is checked; `whole` is as for `Contents.read`. There are none
        if the list ends at `start`.

        Raises:
            ValueError: `start` does not lie within the list.
            StoreDamaged: the list is not what it was.
        """

    @abstractmethod
    async def find_sizes(self, digests: Sequence[Digest]) -> Mapping[Digest, int]:
        """Return the sizes in bytes of those chunks that the store has and that are not damaged.

        Callers ask for up to 16,384 at once. The answer is advice: nothing keeps them there.
        """

    @abstractmethod
    async def find_equal(self, list_digest: Digest, names: Sequence[FileName]) -> Digest | None:
        """Return the digest of the content that has the list with this digest, if it is known.

        The files `names` are looked at; where a store finds lists by their digest, all are. A list
        that is damaged proves nothing.
        """
