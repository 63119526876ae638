"""The store contract over one PostgreSQL database, which any number of servers have open."""

from __future__ import annotations

from chunkstore.core.chunking import check_chunk_size
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.store.contract.store import Store
from chunkstore.store.postgres import collecting, schema
from chunkstore.store.postgres.connection import CONNECTIONS, Connection, Database
from chunkstore.store.postgres.contents import PostgresContents
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.maintenance import PostgresMaintenance
from chunkstore.store.postgres.names import PostgresNames
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.presence import Presence
from chunkstore.store.postgres.resumable import PostgresUploads
from chunkstore.store.postgres.settings import settle_chunk_size
from chunkstore.store.shared.pins import Pins


class PostgresStore(Store):
    """The store contract over one PostgreSQL database. Open it with `open`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._names = PostgresNames(opened)
        self._contents = PostgresContents(opened)
        self._maintenance = PostgresMaintenance(opened)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        read_url: str | None = None,
        chunk_size: int | None = None,
        compression: Compression = DEFAULT_COMPRESSION,
        connections: int = CONNECTIONS,
        read_only: bool = False,
        create: bool = True,
    ) -> PostgresStore:
        """Open the database at `url`; without `create`, or to be read only, it must be a store.

        Chunks' bytes are read from the database at `read_url`, a standby, if there is one; what it
        lacks comes from the primary. `chunk_size` becomes the store's for new contents; None keeps
        the one it has. New chunks are kept by `compression`. At most `connections` are made to each
        database.

        Raises:
            StoreUnusable: it cannot be opened; a subclass says more where more is known.
            ValueError: `chunk_size` is not a possible one.
        """
        if chunk_size is not None:
            check_chunk_size(chunk_size)
        database = await Database.open(url, connections=connections)
        standby = store = None
        try:
            if create and not read_only:
                await schema.prepare(database)
            else:
                await database.read(schema.require_current)
            chunk_size = await settle_chunk_size(database, chunk_size, read_only=read_only)
            if read_url is not None:
                standby = await Database.open(read_url, connections=connections, what="The standby")
            pins = Pins()
            opened = Opened(
                database=database,
                standby=standby,
                gaps=await Gaps.of(database),
                pins=pins,
                presence=Presence(database, pins),
                compression=compression,
                chunk_size=chunk_size,
                read_only=read_only,
            )
            store = cls(opened)
            if not await database.read(_is_standby):
                # Also to read only: what its reader is in the middle of must not be removed.
                await opened.presence.start()
            if not read_only:
                await collecting.forget_abandoned(database)
        except BaseException:
            if store is not None:
                await store.close()
                raise
            await database.close()
            if standby is not None:
                await standby.close()
            raise
        return store

    @property
    def names(self) -> PostgresNames:
        return self._names

    @property
    def contents(self) -> PostgresContents:
        return self._contents

    @property
    def uploads(self) -> PostgresUploads:
        opened = self._opened
        return PostgresUploads(opened.writable, opened.compression, opened.chunk_size)

    @property
    def maintenance(self) -> PostgresMaintenance:
        return self._maintenance

    async def close(self) -> None:
        await self._opened.close()


async def _is_standby(db: Connection) -> bool:
    return bool(await db.fetchval("SELECT pg_is_in_recovery()"))
