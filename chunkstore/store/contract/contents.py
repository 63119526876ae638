"""The contract of file content: how it gets into a store, and how it is read.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from chunkstore.core.chunking import AnyChunk
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File


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

        If they are more than `most` bytes, which is the list's chunk size at least, or of very many
        chunks for so many bytes, fewer are returned, up to the end of a chunk. Callers keep them to
        a few MiB, which are read in one consistent view. The list is the manifest of a file that is
        open, or that of an upload that is not complete; any other may have been collected.

        Whoever reads a whole list, in order, passes the same `whole` each time: then its last bytes
        are returned only if it is the list that was sealed.

        Raises:
            ValueError: the range does not lie within the list.
            StoreDamaged: a chunk is missing or does not match its digest, or the list is not what
                it was. The next upload of the same content repairs it.
        """
