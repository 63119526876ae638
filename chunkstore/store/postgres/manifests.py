"""Jobs on chunks and manifests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias, TypeVar

from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk, size_of
from chunkstore.core.compression import NO_COMPRESSION, Compression, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunksMissing, StoreUnavailable
from chunkstore.core.manifest import Manifest
from chunkstore.store.contract.checksums import Sums
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection, Parameter
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.failures import ChunkCollected
from chunkstore.store.postgres.reading import next_places
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.checksums import checksum_columns
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest
from chunkstore.store.shared.times import now_microseconds

T = TypeVar("T")

# Less is prepared on the event loop, which takes less time than handing it to a thread.
_SMALL: Final = 64 * 1024
# More chunks take longer to refer to than others should wait.
_FEW: Final = 256
_GIVEN_UP: Final = (
    "The upload was given up, because it rested or a failover lost a part of it; begin it anew."
)


_MANIFEST_ID_BITS: Final = 63

# What a list has of a chunk: its digest, and its size in bytes.
Entry: TypeAlias = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk that is to be stored, and how; `size` in bytes is that of the chunk itself."""

    digest: bytes
    size: int
    encoded: Encoded


@dataclass(frozen=True, slots=True)
class PreparedChunks:
    """Chunks of one or more files: the digests and sizes of all, and those that may be missing.

    The latter are encoded, and in order of their digests. All locks on chunks are taken in that
    order, so that transactions that share chunks do not wait for each other in a circle.
    """

    entries: Sequence[Entry]
    missing: Sequence[NewChunk]

    @property
    def small(self) -> bool:
        """Whether the bytes that may be missing can travel with other parameters."""
        return (
            len(self.entries) <= _FEW
            and sum(len(chunk.encoded.content) for chunk in self.missing) <= _SMALL
        )


def new_manifest_id() -> int:
    """Return an id that no manifest has, on any server."""
    return secrets.randbits(_MANIFEST_ID_BITS)


async def relying_on(
    database: Database,
    compression: Compression,
    chunks: Sequence[AnyChunk],
    write: Callable[[PreparedChunks], Awaitable[T]],
) -> T:
    """Run `write`, which stores what is missing of the chunks.

    Chunks that are known are relied on. If one is collected before `write` has referenced it, that
    fails as a whole, and is run again with all bytes.

    Raises:
        ChunksMissing: a `KnownChunk` is not in the store as it is named.
    """
    brought = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
    named = [chunk for chunk in chunks if isinstance(chunk, KnownChunk)]
    try:
        await _require_named(database, named)
        # To ask which few are known would take longer than to store them where they are not.
        ask = size_of(brought) > _SMALL
        known = await _known(database, brought) if ask else frozenset()
        return await write(await _prepare(compression, chunks, known))
    except ChunkCollected:
        await _require_named(database, named)
        return await write(await _prepare(compression, chunks, frozenset()))


def entries_of(chunks: Sequence[AnyChunk]) -> list[Entry]:
    """Return what a list has of chunks."""
    return [(chunk.digest.raw, chunk.size) for chunk in chunks]


async def find_sizes(database: Database, digests: Iterable[Digest]) -> dict[Digest, int]:
    """Return the sizes of the chunks that are there and not damaged."""
    wanted = list({digest.raw for digest in digests})
    rows = await database.fetch("known_chunks", wanted)
    return {Digest(digest): size for digest, size in rows}


async def _require_named(database: Database, named: Sequence[KnownChunk]) -> None:
    if not named:
        return
    sizes = await find_sizes(database, (chunk.digest for chunk in named))
    lacking = [chunk.digest for chunk in named if sizes.get(chunk.digest) != chunk.size]
    if lacking:
        raise ChunksMissing([str(digest) for digest in dict.fromkeys(lacking)])


async def _known(database: Database, chunks: Sequence[Chunk]) -> frozenset[bytes]:
    digests = list({chunk.digest.raw for chunk in chunks})
    return frozenset(digest for digest, _ in await database.fetch("known_chunks", digests))


async def _prepare(
    compression: Compression, chunks: Sequence[AnyChunk], known: frozenset[bytes]
) -> PreparedChunks:
    brought = {chunk.digest.raw: chunk for chunk in chunks if isinstance(chunk, Chunk)}
    missing = [brought[digest] for digest in sorted(brought.keys() - known)]
    encode = partial(_encode, compression, missing)
    inline = compression == NO_COMPRESSION or size_of(missing) <= _SMALL
    return PreparedChunks(
        entries_of(chunks),
        encode() if inline else await asyncio.to_thread(encode),
    )


def _encode(compression: Compression, missing: Sequence[Chunk]) -> list[NewChunk]:
    return [
        NewChunk(chunk.digest.raw, chunk.size, chunk.encoded or compression.encode(chunk.content))
        for chunk in missing
    ]


async def put_chunks(db: Connection, new: Sequence[NewChunk]) -> dict[bytes, int]:
    """Store chunks; return the sizes of those that were not there, or damaged, by digest."""
    if not new:
        return {}
    columns = _chunk_columns(new)
    digests = await db.fetchval(QUERIES["put_chunks"], *columns, now_microseconds())
    stored = sizes_of(new, digests)
    bytes_of = [(chunk.digest, chunk.encoded.content) for chunk in new if chunk.digest in stored]
    await db.executemany(QUERIES["put_chunk_data"], bytes_of)
    return stored


def sizes_of(chunks: Sequence[NewChunk], digests: Sequence[bytes]) -> dict[bytes, int]:
    """Return the sizes of those of the chunks that have these digests, by digest."""
    sizes = {chunk.digest: chunk.size for chunk in chunks}
    return {digest: sizes[digest] for digest in digests}


def _chunk_columns(
    new: Sequence[NewChunk],
) -> tuple[list[bytes], list[int], list[int], list[int]]:
    """Return digests, sizes, stored sizes and codecs."""
    return (
        [chunk.digest for chunk in new],
        [chunk.size for chunk in new],
        [len(chunk.encoded.content) for chunk in new],
        [chunk.encoded.codec for chunk in new],
    )


async def append(
    db: Connection, manifest: OpenManifest, server: str | None, batch: PreparedChunks
) -> NewBytes:
    """Store the chunks that are missing and record all of them behind those there are.

    Raises:
        StoreUnavailable: the upload was given up, or a part of it lost.
    """
    if manifest.size:
        await require_open(db, manifest)
    else:
        await db.execute(
            QUERIES["add_manifest"], manifest.id, manifest.chunk_size, server, now_microseconds()
        )
    stored = await put_chunks(db, batch.missing)
    await add_places(db, manifest, batch.entries)
    return NewBytes(len(stored), sum(stored.values()))


async def require_open(db: Connection, manifest: OpenManifest) -> None:
    """Keep an upload's chunk list from being removed until the transaction ends.

    Raises:
        StoreUnavailable: it was given up, or a part of it lost.
    """
    if not await db.fetchval(QUERIES["keep_open"], manifest.id, manifest.size):
        raise StoreUnavailable(_GIVEN_UP)


async def add_places(db: Connection, manifest: OpenManifest, entries: Sequence[Entry]) -> None:
    """Reference chunks and record them behind the places that there are."""
    if entries:
        columns = place_columns(manifest, entries)
        await db.execute(QUERIES["add_places"], manifest.id, references_of(entries), *columns)


def references_of(entries: Sequence[Entry]) -> list[bytes]:
    """Return the digests of chunks, once each and in the order in which chunks are locked."""
    return sorted({digest for digest, _ in entries})


def place_columns(manifest: OpenManifest, entries: Sequence[Entry]) -> tuple[Parameter, ...]:
    """Return the starts, sizes, digests and ties of the places that chunks get."""
    places = list(manifest.places(entries))
    return (
        [place.start for place in places],
        [place.size for place in places],
        [place.digest for place in places],
        [place.tie for place in places],
    )


async def copy_list(db: Connection, target: OpenManifest, source: OpenManifest) -> None:
    """Append all of one chunk list to another, step by step.

    Raises:
        StoreUnavailable: the other was given up, or a part of it lost.
        DamagedList: the one is not as it was written.
    """
    await require_open(db, target)
    await db.execute(QUERIES["copy_references"], target.id, source.id, timeout=LONG_SECONDS)
    copied = 0
    while copied < source.size:
        places = await next_places(db, source.id, copied)
        end = replace(target, size=target.size + copied)
        columns = place_columns(end, [(place.digest, place.size) for place in places])
        # They are referenced by now.
        await db.execute(QUERIES["add_places"], target.id, [], *columns)
        copied = places[-1].stop


async def add_whole(
    db: Connection,
    manifest: OpenManifest,
    missing: Sequence[NewChunk],
    last: Sequence[Entry],
    sealed: Manifest,
    checksums: Sums,
) -> dict[bytes, int]:
    """Complete an upload by its last chunks, of which those not `missing` are in the store.

    It is `sealed` by that, and its checksums kept. Return what `put_chunks` does. All of it is one
    round trip.

    Raises:
        StoreUnavailable: it was given up, or a part of it lost.
    """
    stored = await db.fetchval(
        QUERIES["put_content"], *content_columns(manifest, missing, last, sealed, checksums)
    )
    if stored is None:
        raise StoreUnavailable(_GIVEN_UP)
    return sizes_of(missing, stored)


def content_columns(
    manifest: OpenManifest,
    missing: Sequence[NewChunk],
    last: Sequence[Entry],
    sealed: Manifest,
    checksums: Sums,
) -> tuple[Parameter, ...]:
    """Return what `put_content` takes."""
    return (
        *_chunk_columns(missing),
        [chunk.encoded.content for chunk in missing],
        now_microseconds(),
        manifest.id,
        manifest.size,
        references_of(last),
        *place_columns(manifest, last),
        *_sealed_columns(sealed)[1:],
        *checksum_columns(sealed.id, checksums),
    )


def _sealed_columns(sealed: Manifest) -> tuple[Parameter, ...]:
    return (
        sealed.id,
        sealed.digest.raw,
        sealed.size,
        sealed.chunk_size,
        sealed.chunk_count,
        sealed.list_digest.raw,
        sealed.proof,
    )


async def seal(db: Connection, sealed: Manifest) -> None:
    """Complete an upload whose chunks are all recorded, and whose list is open.

    Raises:
        StoreUnavailable: it was given up meanwhile.
    """
    columns = _sealed_columns(sealed)
    if not await db.fetchval(QUERIES["seal_manifest"], *columns):
        raise StoreUnavailable(_GIVEN_UP)
    await db.execute(QUERIES["replace_damaged"], *columns)


async def forget(db: Connection, manifest_id: int) -> None:
    """Remove an upload's chunk list unless it is complete; its chunks are left to collection."""
    if await db.fetchval(QUERIES["delete_open_manifest"], manifest_id) is not None:
        await db.execute(QUERIES["delete_references"], manifest_id)
