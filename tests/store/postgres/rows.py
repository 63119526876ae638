"""The rows of a store in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

import asyncpg
from blake3 import blake3

from tests.store.rows import Rows, proof_of, tie_of

T = TypeVar("T")


class PostgresRows(Rows):
    """The rows in the database at `url`, until they are closed.

    All calls have one connection, for to make one takes longer than most of them. It has an event
    loop and a thread of its own, because each test has another event loop.
    """

    database = "postgresql"
    chunk_key = "digest"
    place_key = "digest"
    unused_rows = {  # noqa: RUF012 - the base says that it is the class's
        "a manifest that no file needs": (
            "SELECT id FROM manifest WHERE digest IS NULL OR NOT EXISTS"
            " (SELECT FROM entry WHERE entry.manifest = manifest.id)"
        ),
        "a chunk that no manifest needs": (
            "SELECT digest FROM chunk WHERE NOT EXISTS"
            " (SELECT FROM place WHERE place.digest = chunk.digest)"
        ),
        "a reference of no manifest": (
            "SELECT digest FROM chunk_ref WHERE NOT EXISTS"
            " (SELECT FROM manifest WHERE manifest.id = chunk_ref.manifest)"
        ),
    }
    # What no foreign key leads to, because tables may lie on several machines.
    broken_rows = {  # noqa: RUF012 - likewise
        "a place without its chunk": (
            "SELECT digest FROM place WHERE NOT EXISTS"
            " (SELECT FROM chunk WHERE chunk.digest = place.digest)"
        ),
        "a place without its reference": (
            "SELECT digest FROM place WHERE NOT EXISTS"
            " (SELECT FROM chunk_ref AS ref"
            "  WHERE ref.digest = place.digest AND ref.manifest = place.manifest)"
        ),
        "a chunk without bytes": (
            "SELECT digest FROM chunk WHERE NOT EXISTS"
            " (SELECT FROM chunk_data WHERE chunk_data.digest = chunk.digest)"
        ),
        "a file without its manifest, or with what another says": (
            "SELECT path FROM entry WHERE entry.manifest IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM manifest WHERE manifest.id = entry.manifest"
            "  AND (manifest.digest, manifest.size, manifest.chunk_size, manifest.chunks,"
            "       manifest.list, manifest.proof)"
            "   = (entry.digest, entry.size, entry.chunk_size, entry.chunks, entry.list,"
            "      entry.proof))"
        ),
        "a name in what is no folder": (
            "SELECT path FROM entry WHERE path LIKE '%/%' AND NOT EXISTS"
            " (SELECT FROM entry AS folder WHERE folder.manifest IS NULL"
            "  AND folder.path = substring(entry.path FROM '^(.*)/'))"
        ),
        "a folder that is none, and that no collection will look at": (
            "SELECT path FROM entry AS folder WHERE manifest IS NULL AND NOT made AND NOT EXISTS"
            " (SELECT FROM entry WHERE starts_with(entry.path, folder.path || '/')"
            "  AND (entry.manifest IS NOT NULL OR entry.made))"
            " AND NOT EXISTS"
            " (SELECT FROM vacated WHERE starts_with(vacated.path || '/', folder.path || '/'))"
        ),
        "an upload without its manifest": (
            "SELECT id FROM upload WHERE upload.manifest IS NOT NULL AND NOT EXISTS"
            " (SELECT FROM manifest WHERE manifest.id = upload.manifest)"
        ),
        "a pack without its manifest, or of no upload": (
            "SELECT manifest FROM upload_pack WHERE NOT EXISTS"
            " (SELECT FROM manifest WHERE manifest.id = upload_pack.manifest"
            "  AND manifest.condemned IS NULL AND manifest.server IS NULL)"
            " OR NOT EXISTS (SELECT FROM upload WHERE upload.id = upload_pack.upload)"
        ),
    }

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection = self._run(asyncpg.connect(url)).result()

    def _run(self, call: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self) -> None:
        """Let go of the database."""
        self._run(self._connection.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def fetch(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        rows = await asyncio.wrap_future(self._run(self._connection.fetch(sql, *parameters)))
        return [tuple(row) for row in rows]

    async def manifest_of(self, name: str) -> int:
        [(manifest,)] = await self.fetch("SELECT manifest FROM entry WHERE path = $1", name)
        assert isinstance(manifest, int)
        return manifest

    async def names(self) -> list[str]:
        rows = await self.fetch("SELECT name FROM entry WHERE manifest IS NOT NULL OR made")
        return [name for (name,) in rows]

    async def size(self) -> int:
        [(size,)] = await self.fetch("SELECT pg_database_size(current_database())")
        assert isinstance(size, int)
        return size

    async def plant(
        self, name: str, parts: Sequence[bytes], chunk_size: int, *, created: int, modified: int
    ) -> None:
        content = b"".join(parts)
        digest, listed, proof = proof_of(77, parts, chunk_size)
        told = (digest, len(content), chunk_size, len(parts), listed, proof)
        await self.fetch(
            "INSERT INTO manifest (id, digest, size, chunk_size, chunks, list, proof, created)"
            " VALUES (77, $1, $2, $3, $4, $5, $6, 0)",
            *told,
        )
        start = 0
        for part in parts:
            digest = blake3(part).digest()
            await self.fetch(
                "INSERT INTO chunk (digest, size, stored_size, codec, created)"
                " VALUES ($1, $2, $2, 0, 0)",
                *(digest, len(part)),
            )
            await self.fetch("INSERT INTO chunk_data VALUES ($1, $2)", digest, part)
            await self.fetch("INSERT INTO chunk_ref VALUES ($1, 77)", digest)
            await self.fetch(
                "INSERT INTO place VALUES (77, $1, $2, $3, $4)",
                *(start, len(part), digest, tie_of(77, start, part)),
            )
            start += len(part)
        await self.fetch(
            "INSERT INTO entry (path, manifest, digest, size, chunk_size, chunks, list, proof,"
            " media_type, created, modified)"
            " VALUES ($1, 77, $2, $3, $4, $5, $6, $7, 'text/plain', $8, $9)",
            *(name, *told, created, modified),
        )

    async def forge_digest(self, digest: bytes, forged: bytes) -> None:
        # References to the old digest keep it from being changed in place.
        for statement in (
            "INSERT INTO chunk (digest, size, stored_size, codec, created)"
            " SELECT $2::bytea, size, stored_size, codec, created FROM chunk WHERE digest = $1",
            "UPDATE chunk_data SET digest = $2 WHERE digest = $1",
            "UPDATE chunk_ref SET digest = $2 WHERE digest = $1",
            "UPDATE place SET digest = $2 WHERE digest = $1",
        ):
            await self.fetch(statement, digest, forged)
        await self.fetch("DELETE FROM chunk WHERE digest = $1", digest)

    async def clear(self) -> None:
        """Remove everything that came into the database since it was made a store."""
        # By what is no foreign key's concern, in any order.
        await self.fetch(_CLEAR)


_CLEAR = """
DO $$
DECLARE
    name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN
        SELECT oid::regclass FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'setting'
    LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
    IF to_regclass('setting') IS NOT NULL THEN
        DELETE FROM setting WHERE setting.name <> 'schema';
    END IF;
END
$$
"""
