"""The store contract over one PostgreSQL database, which any number of servers have open."""

from __future__ import annotations

from contextlib import AsyncExitStack

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE, check_chunk_size
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.store.contract.store import Store
from chunkstore.store.postgres import collecting, schema
from chunkstore.store.postgres.audit import PostgresAudit
from chunkstore.store.postgres.checksums import PostgresChecksums
from chunkstore.store.postgres.chunks import PostgresChunks
from chunkstore.store.postgres.connection import CONNECTIONS, Connection
from chunkstore.store.postgres.contents import PostgresContents
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.descriptions import PostgresProperties
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.locks import PostgresLocks
from chunkstore.store.postgres.maintenance import PostgresMaintenance
from chunkstore.store.postgres.names import PostgresNames
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.presence import Presence
from chunkstore.store.postgres.quotas import PostgresQuotas
from chunkstore.store.postgres.reading import Reader
from chunkstore.store.postgres.records import PostgresRecords
from chunkstore.store.postgres.subtrees import PostgresSubtrees
from chunkstore.store.postgres.uploads import PostgresUploads
from chunkstore.store.shared.pins import Pins


class PostgresStore(Store):
    """The store contract over one PostgreSQL database. Open it with `open`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._names = PostgresNames(opened)
        reader = Reader(opened.database, opened.standby, opened.gaps)
        self._contents = PostgresContents(opened, reader)
        self._chunks = PostgresChunks(opened, reader)
        self._quotas = PostgresQuotas(opened)
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
        lacks comes from the primary. `chunk_size` becomes that of new file content; None keeps
        the one it has. New chunks are kept by `compression`. At most `connections` are made to each
        database.

        Raises:
            StoreUnusable: it cannot be opened; a subclass says more where more is known.
            ValueError: `chunk_size` is not a possible one.
        """
        if chunk_size is not None:
            check_chunk_size(chunk_size)
        async with AsyncExitStack() as undo:
            database = await Database.open(url, connections=connections)
            undo.push_async_callback(database.close)
            if create and not read_only:
                await schema.prepare(database)
            else:
                await database.read(schema.require_current)
            chunk_size = await _settle_chunk_size(database, chunk_size, read_only=read_only)
            standby = None
            if read_url is not None:
                standby = await Database.open(read_url, connections=connections, what="The standby")
                undo.push_async_callback(standby.close)
            pins = Pins()
            presence = Presence(database, pins)
            undo.push_async_callback(presence.stop)
            opened = Opened(
                database=database,
                standby=standby,
                gaps=await Gaps.of(database),
                pins=pins,
                presence=presence,
                compression=compression,
                chunk_size=chunk_size,
                read_only=read_only,
            )
            if not await database.read(_is_standby):
                # Also to read only: what its reader is in the middle of must not be removed.
                await presence.start()
            if not read_only:
                await collecting.forget_abandoned(database)
            undo.pop_all()
        return cls(opened)

    @property
    def names(self) -> PostgresNames:
        return self._names

    @property
    def contents(self) -> PostgresContents:
        return self._contents

    @property
    def chunks(self) -> PostgresChunks:
        return self._chunks

    @property
    def uploads(self) -> PostgresUploads:
        opened = self._opened
        return PostgresUploads(opened.writable, opened.compression, opened.chunk_size)

    @property
    def subtrees(self) -> PostgresSubtrees:
        return PostgresSubtrees(self._opened)

    @property
    def checksums(self) -> PostgresChecksums:
        return PostgresChecksums(self._opened)

    @property
    def properties(self) -> PostgresProperties:
        return PostgresProperties(self._opened)

    @property
    def records(self) -> PostgresRecords:
        return PostgresRecords(self._opened)

    @property
    def quotas(self) -> PostgresQuotas:
        return self._quotas

    @property
    def locks(self) -> PostgresLocks:
        return PostgresLocks(self._opened)

    @property
    def audit(self) -> PostgresAudit:
        return PostgresAudit(self._opened)

    @property
    def maintenance(self) -> PostgresMaintenance:
        return self._maintenance

    async def close(self) -> None:
        await self._opened.close()


async def _settle_chunk_size(database: Database, wanted: int | None, *, read_only: bool) -> int:
    """Return the store's chunk size, after recording the one that is wanted."""
    if wanted is not None and not read_only:
        await database.execute("put_setting", "chunk_size", str(wanted))
        return wanted
    found = await database.fetch_values("find_setting", "chunk_size")
    return int(found[0]) if found else DEFAULT_CHUNK_SIZE


async def _is_standby(db: Connection) -> bool:
    return bool(await db.fetchval("SELECT pg_is_in_recovery()"))
