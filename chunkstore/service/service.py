"""The use cases of one store: what every protocol, the command line and the page go through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chunkstore.core.digest import ContentCheck
from chunkstore.service.downloads import ContentReader
from chunkstore.service.ingest import Receiver
from chunkstore.service.memory import MemoryBudget, Use
from chunkstore.store.contract.store import Store


class Service:
    """File content in and out of one store, within one memory budget, on behalf of one client.

    `client` is its address, "" for the server itself; `max_file_size` is in bytes, None for no
    bound.
    """

    def __init__(
        self,
        store: Store,
        budget: MemoryBudget,
        *,
        max_file_size: int | None = None,
        client: str = "",
    ) -> None:
        self.store = store
        self.budget = budget
        self.reader = ContentReader(store.contents, budget.account(Use.DOWNLOAD, client))
        self.max_file_size = max_file_size
        self.upload_memory = budget.account(Use.UPLOAD, client)

    def on_behalf_of(self, client: str) -> Service:
        """Return the same service with its memory on the account of `client`."""
        return Service(self.store, self.budget, max_file_size=self.max_file_size, client=client)

    @asynccontextmanager
    async def receiving(self, checks: Sequence[ContentCheck] = ()) -> AsyncIterator[Receiver]:
        """Yield a receiver; what is not committed when the context ends is forgotten."""
        receiver = Receiver(
            self.store.contents, self.upload_memory, max_size=self.max_file_size, checks=checks
        )
        try:
            yield receiver
        finally:
            await receiver.close()
