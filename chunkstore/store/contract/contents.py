"""The contract of file content: how it gets into a store, and how it is read.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from chunkstore.core.chunking import AnyChunk, KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.core.packs import Record
from chunkstore.store.contract.values import File


@dataclass(frozen=True, slots=True)
class KeptChunks:
    """Chunks of a list that follow each other, as they are kept; the first begins at `start`."""

    start: int
    records: Sequence[Record]

    @property
    def stop(self) -> int:
        """The offset at which the next chunk begins, or the list ends."""
        return self.start + sum(record.size for record in self.records)


class PreparedBatch(ABC):
    """A batch of one upload, prepared while the batches before it may not be stored yet."""

    @abstractmethod
    async def store(self) -> None:
        """Append the chunks; store those that are missing. Called once, in the order of batches."""


class Upload(ABC):
    """A manifest in the making: chunks are appended in order, then a `Put` takes it.

    Nothing of it is visible before that. An upload whose process dies is forgotten.
    """

    async def append(self, chunks: Sequence[AnyChunk]) -> None:
        """Append the next chunks; store those that are missing.

        Each chunk, whether new or known, is referenced in the transaction that relies on it, so
        that no collection can remove it in between. No chunk is larger than the store's chunk
        size. At most one call at a time runs on one upload; each call is one short
        transaction, so callers keep batches to a few MiB and a few thousand chunks.

        A `KnownChunk` refers to what the store had before; what the same upload brings may count
        as missing.

        Raises:
            ChunksMissing: a `KnownChunk` is not there, or damaged, or has another size; nothing
                was changed.
        """
        batch = await self.prepare(chunks)
        await batch.store()

    @abstractmethod
    async def prepare(self, chunks: Sequence[AnyChunk]) -> PreparedBatch:
        """Do the part of `append` that changes nothing; return what does the rest.

        Earlier batches need not be stored yet; they are before `store` is called on this one.
        """

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether the store holds something that nobody needs if no `Put` comes."""

    @abstractmethod
    async def abort(self) -> None:
        """Forget the upload. Harmless after a `Put`, an `Uploads.hold` or an abort."""


class Contents(ABC):
    """File content: uploads of one request, and reading.

    There is no method that seals a manifest: `Put` does, because sealing without a name would cost
    each upload a second transaction.
    """

    @property
    @abstractmethod
    def chunk_size(self) -> int:
        """The chunk size of new content, in bytes."""

    @abstractmethod
    def begin(self) -> Upload:
        """Return a new upload. Nothing is stored before the first append or the `Put`."""

    @abstractmethod
    def open(self, name: FileName, *, inline: int = 0) -> AbstractAsyncContextManager[File | None]:
        """Pin the file's content within a context, which yields None if there is no such file.

        Content of at most `inline` bytes may come along, checked. Until the context ends, the
        content is not collected, whatever becomes of the name. A pin is no connection, transaction
        or lock.
        """

    @abstractmethod
    async def read(
        self,
        chunks: ChunkList,
        start: int,
        stop: int,
        most: int | None = None,
        whole: ListHasher | None = None,
    ) -> bytes:
        """Return the bytes `start` to `stop` of a chunk list, every chunk and place checked.

        If they are more than `most` bytes, which is the list's chunk size at least, fewer are
        returned, up to the end of a chunk. Callers keep them to a few MiB, which are read in one
        consistent view. The list is the manifest of a file that is open, or that of an upload that
        is not complete; any other may have been collected.

        Whoever reads a whole list, in order, passes the same `whole` each time: then its last bytes
        are returned only if it is the list that was sealed.

        Raises:
            ValueError: the range does not lie within the list.
            StoreDamaged: a chunk is missing or does not match its digest, or the list is not what
                it was. The next upload of the same content repairs it.
        """

    @abstractmethod
    async def read_kept(
        self, chunks: ChunkList, start: int, stop: int, most: int, whole: ListHasher | None = None
    ) -> KeptChunks:
        """Return the chunks that hold the bytes `start` to `stop` of a list, as they are kept.

        Places are checked as in `read`, but not the bytes of the chunks, which are not decoded:
        each record carries the digest that whoever decodes it compares. If the chunks have more
        than `most` bytes together, fewer are returned, but one at least. There are none if `start`
        is `stop`. `whole` is as for `read`.

        Raises:
            ValueError: the range does not lie within the list.
            StoreDamaged: a chunk is missing, or cannot be what its digest says, or the list is not
                what it was.
        """

    @abstractmethod
    async def entries(
        self, chunks: ChunkList, start: int, most: int, whole: ListHasher | None = None
    ) -> Sequence[KnownChunk]:
        """Return the entries of a list, at most `most`, from the chunk on that begins at `start`.

        Every place is checked; `whole` is as for `read`. There are none if the list ends at
        `start`.

        Raises:
            ValueError: `start` does not lie within the list.
            StoreDamaged: no chunk begins there, or the list is not what it was.
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
