"""The store contract: what every backend owes its callers.

Obligations common to all methods:

- **Durable.** When a method that changes something returns, the change has been synced to disk.
  Only what an `Upload` has appended may be unsynced until its `Put` returns, and locks always.
- **Atomic.** Each call takes effect as a whole or not at all, even when cancelled, and no other
  call sees half of it. A cancelled call may have taken effect.
- **Nothing is held between calls.** No connection, transaction or lock outlives a call, so a
  caller may take any time between two of them.
- **Errors.** Failures are `ChunkstoreError`s; no driver's error passes. `StoreFull` changes
  nothing and leaves reading possible; after `StoreUnavailable` the call may be repeated.
- **Names** are canonical (`chunkstore.core.names`); sizes are bytes; times are aware and in UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from chunkstore.store.contract.audit import AuditLog
from chunkstore.store.contract.checksums import Checksums
from chunkstore.store.contract.chunks import Chunks
from chunkstore.store.contract.contents import Contents
from chunkstore.store.contract.locks import Locks
from chunkstore.store.contract.maintenance import Backups, Maintenance
from chunkstore.store.contract.measures import Measures
from chunkstore.store.contract.name_changes import NameChanges
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.properties import Properties
from chunkstore.store.contract.quotas import Quotas
from chunkstore.store.contract.records import Records
from chunkstore.store.contract.subtrees import Subtrees
from chunkstore.store.contract.uploads import Uploads


class Store(ABC):
    """A database of chunks, manifests and names, in parts: callers take the narrowest."""

    @property
    @abstractmethod
    def names(self) -> Names:
        """Files and folders."""

    @property
    @abstractmethod
    def contents(self) -> Contents:
        """File content."""

    @property
    @abstractmethod
    def chunks(self) -> Chunks:
        """Chunks and lists by themselves."""

    @property
    @abstractmethod
    def uploads(self) -> Uploads:
        """Resumable uploads."""

    @property
    @abstractmethod
    def subtrees(self) -> Subtrees:
        """Chaining values of chunks, of which digests are computed."""

    @property
    @abstractmethod
    def checksums(self) -> Checksums:
        """Digests of contents by other algorithms."""

    @property
    @abstractmethod
    def properties(self) -> Properties:
        """What is kept with files and folders."""

    @property
    @abstractmethod
    def records(self) -> Records:
        """What is small and found by a key: accounts, rules, tokens."""

    @property
    @abstractmethod
    def quotas(self) -> Quotas:
        """What the files under folders may come to."""

    @property
    @abstractmethod
    def locks(self) -> Locks:
        """Write locks."""

    @property
    @abstractmethod
    def audit(self) -> AuditLog:
        """Who did what."""

    @property
    @abstractmethod
    def maintenance(self) -> Maintenance:
        """Collection, scrubs, health and statistics."""

    @property
    def measures(self) -> Measures:
        """What this process has counted of its work with the store."""
        return self.names.measures

    @property
    def backups(self) -> Backups | None:
        """The capability to make backups, None where the database has its own tools."""
        return None

    @property
    def name_changes(self) -> NameChanges | None:
        """The capability to tell of changes of names, None where another process may make some."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Finish what is running, make it durable and close the database."""
