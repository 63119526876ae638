"""The database behind a store, by its driver and nothing of chunkstore.

So that one mistake cannot hide on both sides, tests look at rows, plant them and break them past
the store. What the two schemas have in common is asked for here; SQL has `$1`, `$2` … for its
parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Literal

from blake3 import blake3

Table = Literal["chunk", "chunk_data", "manifest", "place", "upload", "upload_pack", "record"]


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as it is kept; `bytes` is None if they are lost."""

    size: int
    stored_size: int
    codec: int
    bytes: bytes | None


@dataclass(frozen=True, slots=True)
class UploadRow:
    """All of an upload's row."""

    id: str
    kind: str
    manifest: int | None
    epoch: int
    received: int
    extent: int
    length: int | None
    whole: bool
    used: bool
    digest: bytes | None
    created: int
    expires: int
    new_chunks: int
    new_size: int
    target: str | None
    media_type: str
    conditions: str
    checks: str
    metadata: str
    tail: bytes
    known_digest: bytes | None
    failure: str | None
    spared: int
    bases: str
    chunking: str
    owner: str


class ListDamage(StrEnum):
    """What can become of the only chunk list, one of three chunks of which the last is short."""

    NO_MIDDLE = "the middle is missing"
    NO_END = "the last place is missing"
    EMPTY = "all places are missing"
    MOVED = "a place is at another offset"
    WRONG_CHUNK = "a place has another chunk"
    WRONG_LIST = "the list's digest is another"
    WRONG_TIE = "what ties a place to its chunk is another"
    WRONG_SIZE = "the content's size is another"


class Rows(ABC):
    """The rows of one store."""

    database: ClassVar[str]
    """What `Stats.versions` calls the database."""
    chunk_key: ClassVar[str]
    """What `chunk` and `chunk_data` are joined by."""
    place_key: ClassVar[str]
    """What `place` names a chunk by."""
    unused_rows: ClassVar[Mapping[str, str]]
    """What only uploads may leave, by its description: queries that find it."""
    broken_rows: ClassVar[Mapping[str, str]]
    """What must never be, likewise."""

    @abstractmethod
    async def fetch(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """Run a statement and return its rows."""

    # What there is

    async def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        [(count,)] = await self.fetch(f"SELECT count(*) FROM {table}")
        assert isinstance(count, int)
        return count

    async def chunks(self) -> dict[bytes, StoredChunk]:
        """Return all chunks by their digests."""
        rows = await self.fetch(
            "SELECT chunk.digest, chunk.size, chunk.stored_size, chunk.codec, chunk_data.bytes"
            f" FROM chunk LEFT JOIN chunk_data ON chunk_data.{self.chunk_key} ="
            f" chunk.{self.chunk_key}"
        )
        found = {digest: StoredChunk(*rest) for digest, *rest in rows}
        assert len(found) == len(rows)
        return found

    async def places(self, manifest: int) -> list[tuple[int, bytes]]:
        """Return the offsets of a chunk list's places and the digests there, in order."""
        rows = await self.fetch(
            "SELECT place.start, chunk.digest FROM place"
            f" JOIN chunk ON chunk.{self.chunk_key} = place.{self.place_key}"
            " WHERE place.manifest = $1 ORDER BY place.start",
            manifest,
        )
        return [(start, digest) for start, digest in rows]

    @abstractmethod
    async def manifest_of(self, name: str) -> int:
        """Return the id of a file's manifest."""

    @abstractmethod
    async def names(self) -> list[str]:
        """Return the names of all files and of the folders that were made."""

    async def uploads(self) -> list[UploadRow]:
        """Return all uploads that outlive their requests."""
        columns = ", ".join(field.name for field in fields(UploadRow))
        return [UploadRow(*row) for row in await self.fetch(f"SELECT {columns} FROM upload")]

    async def unfinished(self) -> int:
        """Return how many manifests are in the making."""
        [(count,)] = await self.fetch("SELECT count(*) FROM manifest WHERE digest IS NULL")
        assert isinstance(count, int)
        return count

    async def unfinished_sum(self) -> tuple[int, int, int]:
        """Return what the store keeps as the sum of all unfinished uploads.

        These are their bytes, how many are empty, and how many are concatenations.
        """
        [(size, empty, concatenations)] = await self.fetch(
            "SELECT coalesce(sum(size), 0), coalesce(sum(empty), 0),"
            " coalesce(sum(concatenations), 0) FROM unfinished"
        )
        return int(size), int(empty), int(concatenations)

    async def unused(self) -> list[str]:
        """Describe what a collection would have removed, were there no uploads."""
        return [what for what, sql in self.unused_rows.items() if await self.fetch(sql)]

    async def broken(self) -> list[str]:
        """Describe what rows do not fit each other."""
        return [what for what, sql in self.broken_rows.items() if await self.fetch(sql)]

    @abstractmethod
    async def size(self) -> int:
        """Return the bytes that the database takes on disk."""

    # What is planted, and what goes wrong

    @abstractmethod
    async def plant(
        self, name: str, parts: Sequence[bytes], chunk_size: int, *, created: int, modified: int
    ) -> None:
        """Make a file of type text/plain of chunks that are not there yet."""

    async def make_older(self, table: Literal["chunk", "manifest"], seconds: int) -> None:
        """Put the creation of all rows back."""
        await self.fetch(f"UPDATE {table} SET created = created - $1", seconds * 1_000_000)

    async def expire_uploads(self, upload_id: str | None = None) -> None:
        """Let an upload have expired, or all."""
        which = "" if upload_id is None else " WHERE id = $1"
        parameters = () if upload_id is None else (upload_id,)
        await self.fetch(f"UPDATE upload SET expires = 0{which}", *parameters)

    async def expire_locks(self) -> None:
        """Let all write locks have expired."""
        await self.fetch("UPDATE lock SET expires = 1")

    async def set_bytes(self, digest: bytes, kept: bytes) -> None:
        """Change what is kept of a chunk."""
        await self.fetch(f"UPDATE chunk_data SET bytes = $2 WHERE {self._of_chunk}", digest, kept)

    async def lose_bytes(self, digest: bytes) -> None:
        """Remove what is kept of a chunk."""
        await self.fetch(f"DELETE FROM chunk_data WHERE {self._of_chunk}", digest)

    async def lose_places(self, digest: bytes) -> None:
        """Remove a chunk from all lists."""
        await self.fetch(
            f"DELETE FROM place WHERE {self.place_key} IN"
            f" (SELECT {self.chunk_key} FROM chunk WHERE digest = $1)",
            digest,
        )

    @abstractmethod
    async def forge_digest(self, digest: bytes, forged: bytes) -> None:
        """Let a chunk with all that refers to it claim another digest."""

    async def set_codec(self, digest: bytes, codec: int) -> None:
        """Change what a chunk is said to be kept by."""
        await self.fetch("UPDATE chunk SET codec = $2 WHERE digest = $1", digest, codec)

    async def mark_damaged(self) -> None:
        """Note of all chunks that they are damaged."""
        await self.fetch("UPDATE chunk SET damaged = TRUE")

    async def break_list(self, damage: ListDamage) -> None:
        """Break the only chunk list."""
        for statement in self._list_changes(damage):
            await self.fetch(statement)

    def _list_changes(self, damage: ListDamage) -> Sequence[str]:
        key = self.place_key
        third = "(SELECT start FROM place ORDER BY start LIMIT 1 OFFSET 2)"
        second = "(SELECT start FROM place ORDER BY start LIMIT 1 OFFSET 1)"
        return {
            ListDamage.NO_MIDDLE: [f"DELETE FROM place WHERE start = {second}"],
            ListDamage.NO_END: [f"DELETE FROM place WHERE start = {third}"],
            ListDamage.EMPTY: ["DELETE FROM place"],
            ListDamage.MOVED: ["UPDATE place SET start = 7 WHERE start = 0"],
            ListDamage.WRONG_CHUNK: [
                f"UPDATE place SET {key} = (SELECT {key} FROM place WHERE start = {third})"
                f" WHERE start = {second}"
            ],
            ListDamage.WRONG_SIZE: ["UPDATE manifest SET size = size + 1"],
            ListDamage.WRONG_LIST: ["UPDATE manifest SET list = digest"],
            ListDamage.WRONG_TIE: [f"UPDATE place SET tie = tie + 1 WHERE start = {second}"],
        }[damage]

    @asynccontextmanager
    async def hidden_settings(self) -> AsyncIterator[None]:
        """Make the store's settings unreadable for the time of a context."""
        await self.fetch("ALTER TABLE setting RENAME TO hidden")
        try:
            yield
        finally:
            await self.fetch("ALTER TABLE hidden RENAME TO setting")

    @property
    def _of_chunk(self) -> str:
        key = self.chunk_key
        return f"{key} = (SELECT {key} FROM chunk WHERE digest = $1)"


def tie_of(manifest: int, start: int, part: bytes) -> int:
    """Return what ties a chunk to a place, by the words of `chunkstore.core.manifest`."""
    integers = manifest.to_bytes(8) + start.to_bytes(8) + len(part).to_bytes(4)
    return _checksum(integers + blake3(part).digest())


def proof_of(manifest: int, parts: Sequence[bytes], chunk_size: int) -> tuple[bytes, bytes, int]:
    """Return the digests of a content and its list, and what proves them, likewise."""
    content = b"".join(parts)
    digest = blake3(content).digest()
    listed = blake3(
        b"".join(blake3(part).digest() + len(part).to_bytes(4) for part in parts)
    ).digest()
    integers = len(content).to_bytes(8) + chunk_size.to_bytes(4) + len(parts).to_bytes(8)
    return digest, listed, _checksum(manifest.to_bytes(8) + digest + integers + listed)


def _checksum(octets: bytes) -> int:
    return int.from_bytes(blake3(octets).digest()[:8], signed=True)
