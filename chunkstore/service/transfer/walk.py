"""Walk all names of a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from chunkstore.core.names import FolderName
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import File


async def walk(store: Store, folder: FolderName) -> AsyncGenerator[File | FolderName, None]:
    """Yield all files and folders below `folder`, each after those it lies in."""
    after = None
    while True:
        page = await store.names.list(folder, delimiter="/", after=after)
        for file in page.files:
            yield file
        for inner in page.folders:
            yield inner
            async for entry in walk(store, inner):
                yield entry
        after = page.next
        if after is None:
            return
