"""The rows of a store in SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.store.rows import Rows, proof_of, tie_of


class SQLiteRows(Rows):
    """The rows in the database at `path`. Each call has a connection of its own."""

    database = "sqlite"
    chunk_key = "id"
    place_key = "chunk"
    unused_rows = {  # noqa: RUF012 - the base says that it is the class's
        "a manifest that no file needs": (
            "SELECT id FROM manifest WHERE id NOT IN (SELECT manifest FROM file) OR digest IS NULL"
        ),
        "a chunk that no manifest needs": (
            "SELECT id FROM chunk WHERE id NOT IN (SELECT chunk FROM place)"
        ),
    }
    broken_rows = {  # noqa: RUF012 - likewise
        "a reference to what is not there": "PRAGMA foreign_key_check",
        "a chunk without bytes": (
            "SELECT id FROM chunk WHERE (segment IS NULL) = (id NOT IN (SELECT id FROM chunk_data))"
        ),
    }

    def __init__(self, path: Path) -> None:
        self.path = path

    async def fetch(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return await asyncio.to_thread(self._run, sql, parameters)

    def _run(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            # The store's connection alone may checkpoint.
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA synchronous = OFF")
            # To SQLite `$1` is a parameter with the name 1.
            named = {str(number): value for number, value in enumerate(parameters, 1)}
            return db.execute(sql, named).fetchall()

    async def manifest_of(self, name: str) -> int:
        [(manifest,)] = await self.fetch("SELECT manifest FROM file WHERE name = $1", name)
        assert isinstance(manifest, int)
        return manifest

    async def names(self) -> list[str]:
        rows = await self.fetch("SELECT name FROM file UNION ALL SELECT name FROM folder")
        return [name for (name,) in rows]

    async def size(self) -> int:
        log = self.path.with_name(f"{self.path.name}-wal")
        return self.path.stat().st_size + log.stat().st_size

    async def plant(
        self, name: str, parts: Sequence[bytes], chunk_size: int, *, created: int, modified: int
    ) -> None:
        content = b"".join(parts)
        digest, listed, proof = proof_of(77, parts, chunk_size)
        await self.fetch(
            "INSERT INTO manifest (id, digest, size, chunk_size, chunks, list, proof, created)"
            " VALUES (77, $1, $2, $3, $4, $5, $6, 0)",
            *(digest, len(content), chunk_size, len(parts), listed, proof),
        )
        start = 0
        for number, part in enumerate(parts, start=5):
            await self.fetch(
                "INSERT INTO chunk (id, digest, size, stored_size, created)"
                " VALUES ($1, $2, $3, $3, 0)",
                *(number, blake3(part).digest(), len(part)),
            )
            await self.fetch("INSERT INTO chunk_data VALUES ($1, $2)", number, part)
            await self.fetch(
                "INSERT INTO place VALUES (77, $1, $2, $3)", start, number, tie_of(77, start, part)
            )
            start += len(part)
        await self.fetch(
            "INSERT INTO file (name, manifest, proof, media_type, created, modified)"
            " VALUES ($1, 77, $2, 'text/plain', $3, $4)",
            *(name, proof, created, modified),
        )

    async def forge_digest(self, digest: bytes, forged: bytes) -> None:
        await self.fetch("UPDATE chunk SET digest = $2 WHERE digest = $1", digest, forged)
