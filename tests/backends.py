"""The databases that a store can be in, so that one test can run on each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from chunkstore.core.client_limits import Limits
from chunkstore.core.compression import NO_COMPRESSION, Compression
from chunkstore.store.contract.store import Store
from chunkstore.store.postgres.store import PostgresStore
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.postgres.rows import PostgresRows
from tests.store.rows import Rows
from tests.store.sqlite.rows import SQLiteRows

# Small, so that small contents have many chunks.
CHUNK_SIZE = 4096
# For servers whose figures are asked for right after a change.
FRESH = Limits(stats_seconds=0)


class Backend(ABC):
    """A database for one store. `location` is what `--db` says, `rows` what is in it."""

    location: str
    rows: Rows

    @abstractmethod
    async def open(
        self, *, chunk_size: int = CHUNK_SIZE, compression: Compression = NO_COMPRESSION
    ) -> Store:
        """Open the store, whose chunks are small and by default kept as they are."""

    @abstractmethod
    async def clear(self) -> None:
        """Make the store an empty one. It must not be open."""


class SQLiteBackend(Backend):
    """The SQLite database at `path`."""

    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self.rows = SQLiteRows(path)
        self._path = path

    async def open(
        self, *, chunk_size: int = CHUNK_SIZE, compression: Compression = NO_COMPRESSION
    ) -> Store:
        return await SQLiteStore.open(self._path, chunk_size=chunk_size, compression=compression)

    async def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class PostgresBackend(Backend):
    """The PostgreSQL database at `url`, which tests have one after the other.

    To make one takes longer than most of them.
    """

    rows: PostgresRows

    def __init__(self, url: str) -> None:
        self.location = url
        self.rows = PostgresRows(url)

    async def open(
        self, *, chunk_size: int = CHUNK_SIZE, compression: Compression = NO_COMPRESSION
    ) -> Store:
        return await PostgresStore.open(
            self.location, chunk_size=chunk_size, compression=compression
        )

    async def clear(self) -> None:
        await self.rows.clear()

    def close(self) -> None:
        """Let go of the database."""
        self.rows.close()
