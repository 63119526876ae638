"""From what `--db` says to a store."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.errors import StoreUnusable
from chunkstore.store.contract.store import Store

if TYPE_CHECKING:
    from chunkstore.store.sqlite.restoring import Restoration

# Each function imports the adapter that it needs: nobody waits for the other one to load.
_POSTGRES: Final = frozenset({"postgresql", "postgres"})


def is_shared(location: str) -> bool:
    """Whether any number of processes can have the store at `location` open for writing."""
    return location.partition("://")[0] in _POSTGRES


def redact_password(location: str) -> str:
    """Return the location without the password and the parameters that a URL may have."""
    if not is_shared(location):
        return location
    parts = urlsplit(location)
    user, _, hosts = parts.netloc.rpartition("@")
    shown = f"{user.partition(':')[0]}@{hosts}" if user else hosts
    return urlunsplit((parts.scheme, shown, parts.path, "", ""))


async def open_store(
    location: str,
    *,
    read_location: str | None = None,
    chunk_size: int | None = None,
    compression: Compression = DEFAULT_COMPRESSION,
    min_free: int = 0,
    one_file: bool | None = None,
    read_only: bool = False,
    create: bool = True,
    recover: bool = False,
) -> Store:
    """Open the store at `location`: the path of an SQLite database, or a `postgresql://` URL.

    `read_location` is a standby of a PostgreSQL database, to read chunks from. `chunk_size` (bytes)
    becomes the store's for new contents; None keeps the one it has. New chunks are kept by
    `compression`; with SQLite, what adds anything is refused where the file system would have less
    than `min_free` bytes left, and with `one_file`, which None leaves as it is, large contents are
    in the database file too. Without `create`, or to be read only, it must exist. With `recover`,
    what a process that died had begun has ended by then.

    Raises:
        StoreUnusable: it cannot be opened.
        ValueError: `chunk_size` is not a possible one.
    """
    if is_shared(location):
        from chunkstore.store.postgres.store import PostgresStore

        return await PostgresStore.open(
            location,
            read_url=read_location,
            chunk_size=chunk_size,
            compression=compression,
            read_only=read_only,
            create=create,
        )
    scheme, separator, _ = location.partition("://")
    if separator:
        raise StoreUnusable(f"There is no store for {scheme}://; there is for postgresql://.")
    if read_location is not None:
        raise StoreUnusable("An SQLite database has no standby to read from.")
    from chunkstore.store.sqlite.store import SQLiteStore

    return await SQLiteStore.open(
        Path(location),
        chunk_size=chunk_size,
        compression=compression,
        min_free=min_free,
        one_file=one_file,
        read_only=read_only,
        create=create,
        recover=recover,
    )


def restoring_store(location: str, backup: str) -> AbstractAsyncContextManager[Restoration]:
    """Begin to put the backup at the path `backup` in the place of the store at `location`.

    Raises:
        StoreUnusable: it is not an SQLite database.
        StoreError, Forbidden: when the context is entered, as `restoring` says.
    """
    if "://" in location:
        raise StoreUnusable("Only an SQLite database is restored so; PostgreSQL has its own means.")
    from chunkstore.store.sqlite.restoring import restoring

    return restoring(Path(location), Path(backup))


async def create_distributed_store(location: str) -> None:
    """Create the tables of a PostgreSQL store so that Citus spreads them over machines.

    Raises:
        StoreUnusable: it cannot, or there are tables already.
    """
    if not is_shared(location):
        raise StoreUnusable("Only a PostgreSQL database can be distributed.")
    from chunkstore.store.postgres.schema import create_distributed

    await create_distributed(location)
