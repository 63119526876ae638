"""The store contract: what every backend owes to those who call it.

Obligations common to all methods:

- **Durable.** When a method that changes something returns, the change has been synced to disk.
  Only what an `Upload` has appended may still be on its way until its `Put` returns.
- **Atomic.** Each call takes effect whole or not at all, also when it is cancelled, and no other
  call sees half of it. A cancelled call may have taken effect.
- **Nothing is held while a caller waits.** No connection, transaction or lock outlives a call, so
  a caller may take any time between two of them.
- **Errors.** Failures are `ChunkstoreError`s; those of a driver never pass. `StoreFull` changes
  nothing and leaves reading possible; after `StoreUnavailable` the call may be made again.
- **Names** are canonical (`chunkstore.core.names`); sizes are bytes; times are aware and in UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from chunkstore.store.contract.contents import Contents
from chunkstore.store.contract.maintenance import Backups, Maintenance
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.uploads import Uploads


class Store(ABC):
    """A database of chunks, manifests and names, by its parts: callers take the narrowest."""

    @property
    @abstractmethod
    def names(self) -> Names:
        """Files and folders."""

    @property
    @abstractmethod
    def contents(self) -> Contents:
        """The content of files."""

    @property
    @abstractmethod
    def uploads(self) -> Uploads:
        """The uploads that outlive their request."""

    @property
    @abstractmethod
    def maintenance(self) -> Maintenance:
        """Collection, scrubs, and what the store tells of itself."""

    @property
    def backups(self) -> Backups | None:
        """What makes backups of the store, None where the database has its own means."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Finish what runs, make it durable and let go of the database."""
