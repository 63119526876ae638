"""Contents that are cut in different ways: the same files, and recognised as each way promises."""

from __future__ import annotations

import asyncio
import io
import random
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged, StoreUnusable
from chunkstore.core.names import parse_file_name
from chunkstore.service.batches import BATCH_SIZE
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.service.transfer.copy_store import copy_files
from chunkstore.service.transfer.import_tree import Imported, IntoStore, import_tree, scan_tree
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Committed, File
from tests.backends import Backend, SQLiteBackend
from tests.conftest import RandomBytes, on_each_backend
from tests.store.edits import delete, get_file
from tests.store.rows import ListDamage

MIB: Final = 1024 * 1024
WAYS: Final = (Chunking.FIXED, Chunking.FASTCDC)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Return an empty store with chunks as large as usual."""
    opened = await backend.open(chunk_size=DEFAULT_CHUNK_SIZE)
    yield opened
    await opened.close()


def service_of(store: Store, chunking: Chunking, memory: int = 64 * MIB) -> Service:
    return Service(store, MemoryBudget(memory), chunking=chunking)


async def put(service: Service, name: str, content: bytes, piece_size: int = 65_536) -> Committed:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), piece_size):
            yield content[start : start + piece_size]

    file_name = parse_file_name(name)
    async with service.receiving(name=file_name) as receiver:
        await receiver.receive(pieces())
        [committed] = await service.store.names.apply([receiver.put(file_name, "text/plain")])
        return committed


async def read(service: Service, file: File, start: int = 0, stop: int | None = None) -> bytes:
    stop = file.manifest.size if stop is None else stop
    return b"".join([piece async for piece in service.reader.stream(file.manifest, start, stop)])


def tar_of(files: Sequence[bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number, content in enumerate(files):
            entry = tarfile.TarInfo(f"{number}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@on_each_backend
async def test_a_file_is_the_same_however_it_is_cut(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(6 * MIB + 12_345)
    services = {way: service_of(store, way) for way in WAYS}
    files = {way: (await put(services[way], way.name, content)).file for way in WAYS}
    for way, file in files.items():
        assert file.manifest.digest == Digest.of(content)
        assert chunking_of(file.manifest) is way
        found = await get_file(store, parse_file_name(way.name))
        assert found.validators.etag == file.validators.etag
        assert await read(services[way], found) == content
        for _ in range(20):
            start, stop = sorted(random.Random(content).sample(range(len(content)), 2))
            assert await read(services[way], found, start, stop) == content[start:stop]
    assert not [damage async for step in store.maintenance.scrub() for damage in step.damage]
    await delete(store, parse_file_name(Chunking.FIXED.name))
    assert [step async for step in store.maintenance.collect(0)]
    assert await read(services[Chunking.FASTCDC], files[Chunking.FASTCDC]) == content


@on_each_backend
async def test_known_content_adds_nothing_if_it_is_cut_as_before(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * MIB)
    for number, way in enumerate(WAYS):
        first = await put(service_of(store, way), f"{number}", content)
        assert (first.new_size, first.new_chunks) == (len(content), first.file.manifest.chunk_count)
        again = await put(service_of(store, way), "again", content)
        assert (again.new_size, again.new_chunks) == (0, 0)
        # Put again, a file is cut anew: that is how one gets to be cut in another way.
        assert chunking_of(again.file.manifest) is way


@pytest.mark.parametrize("memory", [DEFAULT_CHUNK_SIZE, 8 * DEFAULT_CHUNK_SIZE, 64 * BATCH_SIZE])
@pytest.mark.parametrize("piece_size", [1000, 65_537, 20 * MIB])
async def test_cuts_depend_on_neither_memory_nor_pieces(
    store: Store, random_bytes: RandomBytes, memory: int, piece_size: int
) -> None:
    content = random_bytes(9 * MIB) + bytes(2 * MIB) + random_bytes(MIB)
    service = service_of(store, Chunking.FASTCDC, memory)
    chunker = Chunking.FASTCDC.chunker(DEFAULT_CHUNK_SIZE)
    expected = [*chunker.feed(content), *chunker.finish()]
    file = (await put(service, "a", content, piece_size)).file
    assert file.manifest.chunk_count == len(expected)
    again = await put(service_of(store, Chunking.FASTCDC), "b", content)
    assert again.file.manifest.list_digest == file.manifest.list_digest
    assert await read(service, file) == content
    assert service.budget.free == memory


async def test_what_is_shifted_is_recognised(store: Store, random_bytes: RandomBytes) -> None:
    service = service_of(store, Chunking.FASTCDC)
    content = random_bytes(8 * MIB)
    await put(service, "a", content)
    shifted = await put(service, "b", b"some more" + content)
    assert shifted.new_size < 512 * 1024


async def test_auto_cuts_by_what_it_recognises(store: Store, random_bytes: RandomBytes) -> None:
    service = service_of(store, Chunking.AUTO)
    files = [random_bytes(size) for size in (MIB, 2 * MIB, 500_000)]
    tar = (await put(service, "a.tar", tar_of(files))).file
    assert chunking_of(tar.manifest) is Chunking.FASTCDC
    grown = await put(service, "b.tar", tar_of([files[0] + bytes(9999), *files[1:]]))
    assert grown.new_size < MIB
    other = (await put(service, "other", b"".join(files))).file
    assert chunking_of(other.manifest) is Chunking.FIXED


async def test_auto_cuts_what_replaces_a_file_as_that_was_cut(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * MIB)
    auto = service_of(store, Chunking.AUTO)
    for way in WAYS:
        await put(service_of(store, way), "a", content)
        replaced = (await put(auto, "a", content[1:])).file
        assert chunking_of(replaced.manifest) is way
    # A name that was free tells nothing.
    assert chunking_of((await put(auto, "b", content)).file.manifest) is Chunking.FIXED


async def test_auto_replaces_a_file_that_is_damaged(
    store: Store, backend: Backend, random_bytes: RandomBytes
) -> None:
    content = random_bytes(MIB)
    auto = service_of(store, Chunking.AUTO)
    await put(service_of(store, Chunking.FASTCDC), "a", content)
    await backend.rows.break_list(ListDamage.WRONG_SIZE)
    with pytest.raises(StoreDamaged):
        await get_file(store, parse_file_name("a"))
    await put(auto, "a", content)
    assert await read(auto, await get_file(store, parse_file_name("a"))) == content


async def test_a_copy_is_cut_as_its_source(
    store: Store, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * MIB)
    for way in WAYS:
        await put(service_of(store, way), way.name, content)
    for chunk_size, kept in ((DEFAULT_CHUNK_SIZE, Chunking.FASTCDC), (4096, Chunking.FIXED)):
        async with AsyncExitStack() as stack:
            target = await SQLiteBackend(tmp_path / f"{chunk_size}.db").open(chunk_size=chunk_size)
            stack.push_async_callback(target.close)
            copied = service_of(target, Chunking.FIXED)
            await copy_files(service_of(store, Chunking.FIXED), copied, lambda _: None, raise_it)
            for way, expected in zip(WAYS, (Chunking.FIXED, kept), strict=True):
                file = await get_file(target, parse_file_name(way.name))
                assert chunking_of(file.manifest) is expected
                assert await read(copied, file) == content


async def test_an_import_is_cut_as_it_says(
    store: Store, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.tar").write_bytes(tar_of([random_bytes(2 * MIB)]))
    (folder / "b").write_bytes(random_bytes(2 * MIB))
    imported: list[Imported] = []
    service = service_of(store, Chunking.AUTO)
    tree = await asyncio.to_thread(scan_tree, folder)
    await import_tree(IntoStore(service), tree, imported.append, raise_it)
    found = {one.name: await store.names.find(one.name) for one in imported}
    ways = {name: chunking_of(file.manifest) for name, file in found.items() if file is not None}
    assert ways == {"a.tar": Chunking.FASTCDC, "b": Chunking.FIXED}


def raise_it(failure: object) -> None:
    raise AssertionError(failure)


@pytest.mark.parametrize("chunking", [Chunking.FASTCDC, Chunking.AUTO])
async def test_a_store_with_smaller_chunks_has_no_room(tmp_path: Path, chunking: Chunking) -> None:
    store = await SQLiteBackend(tmp_path / "small.db").open(chunk_size=DEFAULT_CHUNK_SIZE // 2)
    try:
        with pytest.raises(StoreUnusable, match="--chunking fixed"):
            service_of(store, chunking)
    finally:
        await store.close()


def uploads_of(store: Store, chunking: Chunking) -> ResumableUploads:
    """Return what a process that has just started knows of uploads."""
    return ResumableUploads(service_of(store, chunking))


async def begin(store: Store, chunking: Chunking, name: str | None, length: int) -> str:
    kind = UploadKind.PART if name is None else UploadKind.FILE
    target = None if name is None else parse_file_name(name)
    spec = UploadSpec(kind, target, "text/plain")
    return (await uploads_of(store, chunking).create(spec, length)).id


async def send(uploads: ResumableUploads, upload_id: str, offset: int, part: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(part), 50_000):
            yield part[start : start + 50_000]

    await uploads.append(upload_id, UploadRequest(offset, Ending.AT_LENGTH), pieces())


# Within what decides, within the first chunk, at a chunk's end, and in batches behind.
BORDERS: Final = [100, 5_000, 100_000, DEFAULT_CHUNK_SIZE, 300_000, 300_001, 5 * MIB, 6 * MIB + 7]


@on_each_backend
@pytest.mark.parametrize("chunking", Chunking)
async def test_an_upload_is_cut_as_if_it_had_never_been_interrupted(
    store: Store, random_bytes: RandomBytes, chunking: Chunking
) -> None:
    content = tar_of([random_bytes(4 * MIB), bytes(MIB), random_bytes(2 * MIB)])
    expected = (await put(service_of(store, chunking), "whole", content)).file
    upload_id = await begin(store, chunking, "a", len(content))
    others = [way for way in Chunking if way is not chunking]
    for number, (start, stop) in enumerate(pairwise([0, *BORDERS, len(content)])):
        # Each part goes to a process of its own, which would cut new files in another way.
        uploads = uploads_of(store, others[number % 2])
        await send(uploads, upload_id, start, content[start:stop])
        found = await uploads.find(upload_id)
        assert found is not None
        assert found.offset == stop
        assert len(found.tail) < DEFAULT_CHUNK_SIZE
    await uploads.finish(upload_id)
    file = await get_file(store, parse_file_name("a"))
    assert file.manifest.digest == Digest.of(content)
    assert file.manifest.list_digest == expected.manifest.list_digest
    assert await read(service_of(store, chunking), file) == content


async def test_what_an_upload_was_begun_for_is_cut_as_that_was(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * MIB)
    await put(service_of(store, Chunking.FASTCDC), "a", content)
    upload_id = await begin(store, Chunking.AUTO, "a", len(content) - 1)
    uploads = uploads_of(store, Chunking.AUTO)
    await send(uploads, upload_id, 0, content[1:])
    await uploads.finish(upload_id)
    assert chunking_of((await get_file(store, parse_file_name("a"))).manifest) is Chunking.FASTCDC


async def test_a_body_that_breaks_off_is_kept_to_its_last_byte(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(5 * MIB)
    upload_id = await begin(store, Chunking.FASTCDC, "a", len(content))

    async def breaking_off() -> AsyncIterator[bytes]:
        yield content[:4_567_890]
        raise ConnectionResetError

    uploads = uploads_of(store, Chunking.FASTCDC)
    with pytest.raises(ConnectionResetError):
        await uploads.append(upload_id, UploadRequest(0, Ending.AT_LENGTH), breaking_off())
    found = await uploads.acquire_and_get(upload_id)
    assert found.offset == 4_567_890
    await send(uploads, upload_id, found.offset, content[found.offset :])
    await uploads.finish(upload_id)
    file = await get_file(store, parse_file_name("a"))
    assert await read(uploads.service, file) == content


@on_each_backend
async def test_parts_that_are_cut_by_content_share_all_but_their_borders(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(6 * MIB)
    whole = (await put(service_of(store, Chunking.FASTCDC), "whole", content)).file
    uploads = uploads_of(store, Chunking.FASTCDC)
    parts = []
    for part in (content[: 2 * MIB + 5], content[2 * MIB + 5 :]):
        parts.append(await begin(store, Chunking.FASTCDC, None, len(part)))
        await send(uploads, parts[-1], 0, part)
    before = (await store.maintenance.stats()).unique_size
    spec = UploadSpec(UploadKind.CONCATENATION, parse_file_name("a"), "text/plain", parts=parts)
    await uploads.finish((await uploads.create(spec, None)).id)
    file = await get_file(store, parse_file_name("a"))
    assert file.manifest.digest == whole.manifest.digest
    assert await read(uploads.service, file) == content
    assert (await store.maintenance.stats()).unique_size - before < 2 * DEFAULT_CHUNK_SIZE
    assert before - len(content) < 2 * DEFAULT_CHUNK_SIZE
