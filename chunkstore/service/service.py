"""The use cases of one store: what every protocol, the command line and the page go through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chunkstore.core import chunkers
from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.digest import ContentCheck
from chunkstore.core.errors import StoreDamaged, StoreUnusable
from chunkstore.core.names import FileName
from chunkstore.service.downloads import ContentReader
from chunkstore.service.ingest import Receiver
from chunkstore.service.memory import MemoryBudget, Use
from chunkstore.service.room import NO_BOUND, Room
from chunkstore.store.contract.store import Store


class Service:
    """File content in and out of one store, within one memory budget, on behalf of one client.

    `client` is its address, "" for the server itself; `max_file_size` is in bytes, None for no
    bound. `chunking` is how new content is cut; by `AUTO`, also what replaces content-defined
    chunks is cut into such. Of what is received, the `checksums` by these algorithms are computed.

    Raises:
        StoreUnusable: the store's chunk size is too small for that.
    """

    def __init__(
        self,
        store: Store,
        budget: MemoryBudget,
        *,
        max_file_size: int | None = None,
        client: str = "",
        chunking: Chunking = Chunking.FIXED,
        checksums: Sequence[str] = (),
    ) -> None:
        try:
            chunking.require_room(store.contents.chunk_size)
        except ValueError as error:
            raise StoreUnusable(f"Files can only be cut by --chunking fixed: {error}.") from error
        chunkers.load()
        self.store = store
        self.budget = budget
        self.download_memory = budget.account(Use.DOWNLOAD, client)
        self.reader = ContentReader(store.contents, self.download_memory)
        self.max_file_size = max_file_size
        self.chunking = chunking
        self.checksums = checksums
        self.upload_memory = budget.account(Use.UPLOAD, client)

    def on_behalf_of(self, client: str, *, most_bytes: int | None = None) -> Service:
        """Return the same service with its memory on the account of `client`.

        It takes files of at most `most_bytes`, if that is less.
        """
        bounds = [one for one in (self.max_file_size, most_bytes) if one is not None]
        return Service(
            self.store,
            self.budget,
            max_file_size=min(bounds, default=None),
            client=client,
            chunking=self.chunking,
            checksums=self.checksums,
        )

    async def choose_chunking(self, name: FileName | None) -> Chunking:
        """Return how content is to be cut that becomes the file `name`, None if that is not known.

        Only `AUTO` depends on it: on the file that is there.
        """
        if self.chunking is not Chunking.AUTO or name is None:
            return self.chunking
        try:
            base = await self.store.names.find(name)
        except StoreDamaged:
            base = None
        if base is None or chunking_of(base.manifest) is Chunking.FIXED:
            return Chunking.AUTO
        return Chunking.FASTCDC

    @asynccontextmanager
    async def receiving(
        self,
        checks: Sequence[ContentCheck] = (),
        *,
        name: FileName | None = None,
        chunking: Chunking | None = None,
        room: Room = NO_BOUND,
    ) -> AsyncIterator[Receiver]:
        """Yield a receiver; what is not committed when the context ends is forgotten.

        It takes no more than there is `room` for.
        The content is cut as `chunking` says, or else as suits the file `name` that it becomes.
        """
        receiver = Receiver(
            self.store.contents,
            self.upload_memory,
            await self.choose_chunking(name) if chunking is None else chunking,
            max_size=self.max_file_size,
            checks=checks,
            algorithms=self.checksums,
            room=room,
        )
        try:
            yield receiver
        finally:
            await receiver.close()
