"""The contract of file content: how it comes into a store, and how it is read.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from chunkstore.core.chunking import Chunk
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File


class PreparedBatch(ABC):
    """Chunks of one upload that are prepared as far as can be before those ahead are stored."""

    @abstractmethod
    async def store(self) -> None:
        """Store what is missing of them behind those before. To be called once."""


class Upload(ABC):
    """A manifest in the making: it is fed chunks in order, then given to `Put`.

    Nothing of it is visible before that. An upload whose process dies is forgotten.
    """

    async def append(self, chunks: Sequence[Chunk]) -> None:
        """Add the next chunks; store those that are missing.

        A chunk that is relied on, stored now or long ago, is referenced in the same transaction,
        so that no collection can take it away between the two. All chunks but the last of an
        upload have the store's chunk size. At most one call at a time runs on one upload; each
        call is one short transaction, so callers keep batches to a few MiB.
        """
        batch = await self.prepare(chunks)
        await batch.store()

    @abstractmethod
    async def prepare(self, chunks: Sequence[Chunk]) -> PreparedBatch:
        """Do of `append` what changes nothing; return what does the rest.

        The chunks before need not be added yet; when the rest is done, they are.
        """

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether there is something in the store that nobody needs if no `Put` comes."""

    @abstractmethod
    async def abort(self) -> None:
        """Forget the upload. Harmless when it was put or aborted before."""


class Contents(ABC):
    """The content of files.

    To seal a manifest is no method: it is part of `Put`, because a list that no name points at
    would cost each upload a second transaction.
    """

    @property
    @abstractmethod
    def chunk_size(self) -> int:
        """The size in bytes of the chunks of new content."""

    @abstractmethod
    def begin(self) -> Upload:
        """Return a new upload. Nothing is stored before the first append or the `Put`."""

    @abstractmethod
    def open(self, name: FileName, *, inline: int = 0) -> AbstractAsyncContextManager[File | None]:
        """Pin the file's content for the time of a context; None if there is no such file.

        Content of at most `inline` bytes may come along, checked. Until the context ends the
        content is not collected, whatever becomes of the name. This holds no connection,
        transaction or lock.
        """

    @abstractmethod
    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        """Return the bytes `start` to `stop` of a chunk list, every chunk's digest checked.

        Callers keep the range to a few MiB; it is read in one consistent view. The list is the
        manifest of a file that is open, or that of an upload that is not complete; any other
        may have been collected.

        Raises:
            StoreDamaged: a chunk is missing or is not what its digest says.
        """
