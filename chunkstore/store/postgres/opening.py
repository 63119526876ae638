"""What the parts of an open PostgreSQL store share."""

from __future__ import annotations

from dataclasses import dataclass

from chunkstore.core.compression import Compression
from chunkstore.core.errors import StoreError
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.presence import Presence
from chunkstore.store.shared.pins import Pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is open of a store: its database, a standby to read chunks from, its settings."""

    database: Database
    standby: Database | None
    gaps: Gaps
    pins: Pins
    presence: Presence
    compression: Compression
    chunk_size: int
    read_only: bool

    @property
    def is_spread(self) -> bool:
        """Whether tables lie on several machines, each of which has a log of its own."""
        return self.gaps.is_spread

    @property
    def writable(self) -> Database:
        """The database.

        Raises:
            StoreError: the store was opened for reading only.
        """
        if self.read_only:
            raise StoreError("The store was opened for reading only.")
        return self.database

    async def close(self) -> None:
        """Finish what runs and let go of the databases."""
        await self.presence.stop()
        if self.standby is not None:
            await self.standby.close()
        await self.database.close()
