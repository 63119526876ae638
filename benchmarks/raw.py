"""PostgreSQL by asyncpg alone: what a store on it could come to at best.

A file goes into tables like those that a store of chunks needs: the bytes of each chunk of 256 KiB
in one, what is known of it in another, its place in its file in a third. Transactions have 4 MiB.
Only the last one waits for the disk, since a commit that is synced syncs all before it. Keys are
random, and nothing is hashed, looked up or checked. A file comes back in windows of 2 MiB, by the
keys of its chunks, over one connection. All runs in a process of its own, with uvloop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from benchmarks.dialects import Dialect
from benchmarks.generator import Generator, generating
from benchmarks.load import batches
from benchmarks.machine import KIB
from benchmarks.subjects import Running, Subject

_CHUNK_SIZE: Final = 256 * KIB
_KEY_SIZE: Final = 32
_BATCH: Final = 16
_WINDOW: Final = 8
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS chunk (
    digest bytea PRIMARY KEY, size integer NOT NULL, stored_size integer NOT NULL
);
CREATE TABLE IF NOT EXISTS chunk_data (digest bytea PRIMARY KEY, bytes bytea NOT NULL);
ALTER TABLE chunk_data ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS manifest_chunk (
    manifest text NOT NULL, start bigint NOT NULL, digest bytea NOT NULL,
    PRIMARY KEY (manifest, start)
);
"""
_INSERTS: Final = (
    "INSERT INTO chunk_data VALUES ($1, $2)",
    "INSERT INTO chunk VALUES ($1, $2, $2)",
    "INSERT INTO manifest_chunk VALUES ($1, $2, $3)",
)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done over one connection to a database."""

    url: str
    act: Callable[[asyncpg.Connection], Awaitable[None]]

    def prepare(self) -> Callable[[Connection], None]:
        """Return what connects, and does it."""
        return lambda _: uvloop.run(self._run())

    async def _run(self) -> None:
        session = await asyncpg.connect(self.url)
        try:
            await self.act(session)
        finally:
            await session.close()


async def _create(session: asyncpg.Connection) -> None:
    await session.execute(_TABLES)


async def _put(session: asyncpg.Connection, name: str, source: Path, size: int) -> None:
    await session.execute("SET synchronous_commit = off")
    content, chunk, place = [await session.prepare(statement) for statement in _INSERTS]
    with source.open("rb") as file:
        for batch in batches(range(0, size, _CHUNK_SIZE), _BATCH):
            rows = [
                (os.urandom(_KEY_SIZE), start, file.read(min(_CHUNK_SIZE, size - start)))
                for start in batch
            ]
            async with session.transaction():
                if batch[-1] + _CHUNK_SIZE >= size:
                    await session.execute("SET LOCAL synchronous_commit = on")
                # It waits for no single row; COPY was slower in most pairs.
                await content.executemany([(key, piece) for key, _, piece in rows])
                await chunk.executemany([(key, len(piece)) for key, _, piece in rows])
                await place.executemany([(name, start, key) for key, start, _ in rows])


async def _get(session: asyncpg.Connection, name: str, size: int) -> None:
    places = "SELECT digest FROM manifest_chunk WHERE manifest = $1 ORDER BY start"
    keys = [row["digest"] for row in await session.fetch(places, name)]
    window = await session.prepare("SELECT digest, bytes FROM chunk_data WHERE digest = ANY($1)")
    received = 0
    for batch in batches(keys, _WINDOW):
        received += sum(len(row["bytes"]) for row in await window.fetch(batch))
    if received != size:
        raise RuntimeError(f"{received} bytes came of {size}")


@dataclass(frozen=True, slots=True)
class RawDatabase(Running):
    """A database, and the process that puts files into it and gets them."""

    url: str
    process: Generator

    def upload(self, name: str, source: Path) -> None:
        """Put a file; return when its last transaction is on the disk."""
        size = source.stat().st_size
        self.process.run(_Job(self.url, partial(_put, name=name, source=source, size=size)))

    def download(
        self, name: str, size: int, take: Callable[[memoryview], object] | None = None
    ) -> None:
        """Get a file, and throw its bytes away, in the process that they come to."""
        self.process.run(_Job(self.url, partial(_get, name=name, size=size)))


def subject(name: str, url: Callable[[str], str], version: str) -> Subject:
    """Return the subject for the databases of a server, which `url` tells by their names."""

    @contextmanager
    def connect(subject: Subject, folder: Path, database: str) -> Iterator[RawDatabase]:
        with generating(1) as process:
            # Which also has the process load what it needs.
            process.run(_Job(url(database), _create))
            yield RawDatabase(subject, folder, 0, process.pids[0], 0.0, url(database), process)

    return Subject(
        name,
        package="this repository",
        command=(sys.executable,),
        version=lambda: f"{asyncpg.__version__}, {version}",
        dialect=Dialect(ranges=False),
        settings="no HTTP, no digests; uvloop; a sync with the last transaction",
        open=connect,
        durable=True,
        plain_files=False,
        works=("upload", "download"),
    )
