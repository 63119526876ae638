"""Packs whose chunks lie in segments: held, left behind, kept as they are, damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkstore.core.chunking import Chunk, KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunksMissing, StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.edits import Put, Received, Uploaded
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.upload_state import Acquire, AppendLast, Progress
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    CHUNK,
    collect,
    copy_crashed,
    damage_in,
    files_of,
    fill,
    found,
    opened,
    pieces,
    put,
    query,
    read,
)
from tests.store.upload_conformance import later

SPEC = UploadSpec(UploadKind.FILE, FileName("a"), "text/plain")
PARTS = pieces(5 * BATCH)


async def filled_pack(store: SQLiteStore) -> Upload:
    pack = store.contents.begin()
    await fill(pack, PARTS)
    return pack


async def complete(store: SQLiteStore, upload_id: str) -> None:
    lease = await store.uploads.apply(upload_id, Acquire())
    known = [KnownChunk(Digest.of(part), CHUNK) for part in PARTS]
    size = len(PARTS) * CHUNK
    progress = Progress(size, b"", size, later())
    await store.uploads.apply(upload_id, AppendLast(lease.epoch, 0, known, progress))
    uploaded = Uploaded(upload_id, Digest.of(b"".join(PARTS)), later())
    await store.names.apply([Put(FileName("a"), uploaded, "text/plain")])


@pytest.mark.parametrize("held", [False, True])
async def test_a_crash_leaves_a_pack_whole_or_not_at_all(path: Path, held: bool) -> None:
    store = await opened(path)
    upload = await store.uploads.create(SPEC, None, later())
    pack = await filled_pack(store)
    if held:
        await store.uploads.hold(upload.id, pack, [], later())
    else:
        # The server dies right before.
        await pack.finish()  # type: ignore[attr-defined]
    image = path.with_name("image.db")
    copy_crashed(path, image)
    await store.close()
    store = await opened(image)
    await collect(store)
    assert bool(files_of(image)) == held
    assert query(image, "SELECT count(*) FROM chunk") == [(len(PARTS) if held else 0,)]
    assert len((await store.uploads.held(upload.id)).digests) == (len(PARTS) if held else 0)
    if held:
        await complete(store, upload.id)
        assert await read(store, "a") == b"".join(PARTS)
    assert await damage_in(store) == []
    await store.close()


async def test_a_segment_of_which_nothing_is_placed_goes(store: SQLiteStore, path: Path) -> None:
    upload = store.contents.begin()
    missing = KnownChunk(Digest.of(b"missing"), 7)
    for first in range(0, len(PARTS), BATCH):
        with pytest.raises(ChunksMissing):
            await upload.append(
                [*(Chunk.of(part) for part in PARTS[first : first + BATCH]), missing]
            )
    await upload.append([Chunk.of(b"x")])
    received = Received(upload, [], Digest.of(b"x"), 1)
    await store.names.apply([Put(FileName("a"), received, "text/plain")])
    assert await read(store, "a") == b"x"
    await collect(store)
    assert files_of(path) == []
    assert query(path, "SELECT count(*) FROM chunk") == [(1,)]


async def test_what_is_in_segments_is_told_as_it_is_kept_also_when_it_was_moved(
    store: SQLiteStore, path: Path
) -> None:
    await put(store, "a", PARTS)
    await put(store, "b", PARTS[::3])
    manifest = (await found(store, "b")).manifest
    kept = await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
    assert [record.to_chunk().content for record in kept.records] == PARTS[::3]
    before = files_of(path)
    await store.names.apply([Put(FileName("a"), *_small(store))])
    await collect(store)
    assert not set(before) <= set(files_of(path))
    again = await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
    assert again == kept


def _small(store: SQLiteStore) -> tuple[Received, str]:
    return Received(store.contents.begin(), [Chunk.of(b"x")], Digest.of(b"x"), 1), "text/plain"


@pytest.mark.parametrize("damage", ["missing", "empty", "flipped"])
async def test_a_damaged_segment_tells_no_chunk(path: Path, damage: str) -> None:
    parts = PARTS[: 2 * BATCH]
    store = await opened(path)
    await put(store, "a", parts)
    await store.close()
    [file] = files_of(path)
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        content[content.index(parts[3])] ^= 1
        file.write_bytes(content)
    store = await opened(path)
    manifest = (await found(store, "a")).manifest
    read_kept = store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
    if damage == "flipped":
        # Only who decodes it can find that.
        [*_, record] = (await read_kept).records[:4]
        with pytest.raises(ValueError, match="digest"):
            record.to_chunk()
    else:
        with pytest.raises(StoreDamaged):
            await read_kept
        sizes = await store.chunks.find_sizes([Digest.of(part) for part in parts])
        assert len(sizes) < len(parts)
    await damage_in(store)
    await put(store, "b", parts)
    kept = await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
    assert [record.to_chunk().content for record in kept.records] == parts
    await store.close()
