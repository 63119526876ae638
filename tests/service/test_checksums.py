"""Checksums of contents: what `hashlib` says, whichever way a content came."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.digest import Checksum, ContentCheck, Digest
from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.names import FileName
from chunkstore.service import checksums as module
from chunkstore.service.checksums import CHECKSUM_ALGORITHMS, ContentChecksums
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.edits import Copy
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_each_backend, on_postgres
from tests.store.conformance import name_of
from tests.store.edits import delete, get_file
from tests.store.rows import Rows

BOTH = ("md5", "sha1")
MIB = 1024 * 1024


def sums_of(content: bytes, algorithms: Sequence[str] = BOTH) -> dict[str, bytes]:
    return {name: hashlib.new(name, content).digest() for name in algorithms}


class Kept:
    """A service of a store that keeps checksums, within a context."""

    def __init__(self, store: Store, algorithms: Sequence[str] = BOTH, **options: bool) -> None:
        self.store = store
        self.service = Service(store, MemoryBudget(4 * MIB), checksums=algorithms)
        self.checksums = ContentChecksums(store, self.service.reader, algorithms, **options)

    @contextmanager
    def following(self) -> Iterator[Kept]:
        with self.store.names.followed_by(self.checksums):
            yield self

    async def put(self, name: str, content: bytes, *checks: ContentCheck) -> None:
        await put(self.service, name, content, *checks)

    async def of(self, name: str) -> dict[str, bytes]:
        """Return what is kept of a file's content, and have nothing computed."""
        list_id = (await get_file(self.store, name_of(name))).manifest.id
        found = await self.store.checksums.find([list_id])
        return dict(found.get(list_id, {}))

    async def idle(self) -> None:
        """Do all that there is to do in the background."""
        while self.checksums._has_work.is_set():
            await self.checksums.compute_next()
        assert self.service.budget.free == self.service.budget.limit


async def put(service: Service, name: str, content: bytes, *checks: ContentCheck) -> None:
    async with service.receiving(checks) as receiver:
        await receiver.receive(pieces(content))
        await service.store.names.apply([receiver.put(name_of(name), "text/plain")])


async def pieces(*some: bytes) -> AsyncIterator[bytes]:
    for piece in some:
        yield piece


async def upload(uploads: ResumableUploads, name: str, content: bytes) -> None:
    """Put a file in two parts."""
    spec = UploadSpec(UploadKind.FILE, name_of(name), "text/plain")
    begun = await uploads.create(spec, len(content))
    middle = len(content) // 2
    for start, part in ((0, content[:middle]), (middle, content[middle:])):
        request = UploadRequest(start, Ending.AT_LENGTH, size=len(part), length=len(content))
        await uploads.append(begun.id, request, pieces(part))
    await uploads.finish(begun.id)


@pytest.fixture
def kept(store: Store) -> Iterator[Kept]:
    with Kept(store).following() as kept:
        yield kept


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 3 * CHUNK_SIZE), max_size=6),
    seed=st.integers(0, 2**32),
    algorithms=st.lists(st.sampled_from(CHECKSUM_ALGORITHMS), unique=True, min_size=1),
    checked=st.sets(st.sampled_from([*CHECKSUM_ALGORITHMS, "sha512", "blake3"])),
    comes=st.sampled_from(["at once", "in parts", "before"]),
)
async def test_they_are_those_of_hashlib_however_a_content_comes(
    store: Store, sizes: list[int], seed: int, algorithms: list[str], checked: set[str], comes: str
) -> None:
    some = [random.Random(seed + place).randbytes(size) for place, size in enumerate(sizes)]
    content = b"".join(some)
    checks = [
        ContentCheck(
            name,
            Digest.of(content).raw if name == "blake3" else hashlib.new(name, content).digest(),
        )
        for name in checked
    ]
    one = Kept(store, algorithms)
    if comes == "before":
        await put(Service(store, MemoryBudget(MIB)), "a", content)
    with one.following():
        if comes == "at once":
            async with one.service.receiving(checks) as receiver:
                await receiver.receive(pieces(*some))
                await store.names.apply([receiver.put(name_of("a"), "text/plain")])
            assert sums_of(content, algorithms).items() <= (await one.of("a")).items()
        elif comes == "in parts":
            uploads = ResumableUploads(one.service)
            await upload(uploads, "a", content)
            await uploads.close()
        await one.idle()
        found = await one.checksums.find([await get_file(store, name_of("a"))])
        assert list(found.values()) == [sums_of(content, algorithms)]


async def test_no_byte_is_hashed_twice_by_an_algorithm(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    begin = Checksum.__init__

    def counted(checksum: Checksum, name: str) -> None:
        begun.append(name)
        begin(checksum, name)

    monkeypatch.setattr(Checksum, "__init__", counted)
    await kept.put("a", b"content", ContentCheck("sha1", hashlib.sha1(b"content").digest()))
    assert sorted(begun) == ["md5", "sha1"]
    assert await kept.of("a") == sums_of(b"content")
    # Who keeps none computes none.
    begun.clear()
    await put(Service(kept.store, MemoryBudget(MIB)), "b", b"other")
    assert begun == []


@on_each_backend
async def test_they_are_there_when_the_edit_is_made_and_go_with_the_content(
    kept: Kept, rows: Rows
) -> None:
    await kept.idle()
    await kept.put("a", b"content")
    assert await kept.of("a") == sums_of(b"content")
    await kept.store.names.apply([Copy(name_of("a"), name_of("b"))])
    assert await kept.of("b") == sums_of(b"content")
    # The same content put again writes nothing new.
    await kept.put("c", b"content")
    assert await kept.of("c") == sums_of(b"content")
    assert kept.checksums.waiting == 0
    for name in "abc":
        await delete(kept.store, name_of(name))
    await collect_all(kept.store.maintenance, 0)
    assert await rows.fetch("SELECT * FROM checksum") == []


@on_each_backend
async def test_what_comes_in_parts_is_read_in_the_background(kept: Kept) -> None:
    await kept.idle()
    uploads = ResumableUploads(kept.service)
    content = random.Random(1).randbytes(5 * MIB)
    await upload(uploads, "a", content)
    await uploads.close()
    assert (kept.checksums.waiting, await kept.of("a")) == (1, {})
    await kept.idle()
    assert await kept.of("a") == sums_of(content)


@on_each_backend
async def test_older_contents_are_found_by_their_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WANTED", 3)
    before = Service(store, MemoryBudget(MIB))
    contents = {f"d{number % 2}/{number}": b"%d" % number for number in range(10)}
    for name, content in contents.items():
        await put(before, name, content)
    # One server had another option before this one.
    with Kept(store, ["md5"]).following() as other:
        await other.put("d0/0", b"0")
        await other.put("e", b"e")
    kept = Kept(store)
    await kept.idle()
    for name, content in {**contents, "e": b"e"}.items():
        assert await kept.of(name) == sums_of(content)
    assert not kept.checksums._has_work.is_set()


async def test_who_does_not_catch_up_computes_what_it_is_asked_for(store: Store) -> None:
    before = Service(store, MemoryBudget(MIB))
    for name in "ab":
        await put(before, name, name.encode())
    kept = Kept(store, catches_up=False)
    await kept.idle()
    assert await kept.of("a") == {}
    assert await kept.checksums.find([await get_file(store, name_of("b"))]) == {}
    assert kept.checksums.waiting == 1
    await kept.idle()
    assert (await kept.of("a"), await kept.of("b")) == ({}, sums_of(b"b"))


async def test_what_is_kept_by_other_algorithms_is_not_told(store: Store) -> None:
    with Kept(store, ["md5"]).following() as other:
        await other.put("a", b"a")
    kept = Kept(store, ["sha1"], catches_up=False)
    assert await kept.checksums.find([await get_file(store, name_of("a"))]) == {}
    await kept.idle()
    assert await kept.of("a") == sums_of(b"a")


async def test_a_store_that_fails_is_tried_again_and_nothing_is_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(Service(store, MemoryBudget(MIB)), "a", b"a")
    kept = Kept(store)

    async def fail(*_: object, **__: object) -> object:
        raise StoreUnavailable

    for place, method in ((store.names, "list"), (kept.service.reader, "read")):
        with monkeypatch.context() as patched:
            patched.setattr(place, method, fail)
            with pytest.raises(StoreUnavailable):
                await kept.idle()
            assert kept.checksums._has_work.is_set()
    await kept.idle()
    assert await kept.of("a") == sums_of(b"a")


async def test_more_than_can_wait_is_looked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WANTED", 3)
    kept = Kept(store, catches_up=False)
    with store.names.followed_by(kept.checksums):
        # By a service that computes none, as those of lists.
        for number in range(10):
            await put(Service(store, MemoryBudget(MIB)), f"{number}", b"%d" % number)
    assert kept.checksums.waiting == 3
    await kept.idle()
    for number in range(10):
        assert await kept.of(f"{number}") == sums_of(b"%d" % number)


@on_each_backend
async def test_what_is_damaged_is_left_out_until_it_comes_anew(
    store: Store, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    before = Service(store, MemoryBudget(MIB))
    for name in ("bad", "good"):
        await put(before, name, name.encode())
    await rows.lose_bytes(Digest.of(b"bad").raw)
    kept = Kept(store)
    await kept.idle()
    assert (await kept.of("bad"), await kept.of("good")) == ({}, sums_of(b"good"))
    [line] = [line for line in caplog.messages if "checksums" in line]
    assert "'bad'" in line
    # It is not read each time that it is asked for.
    assert await kept.checksums.find([await get_file(store, name_of("bad"))]) == {}
    assert kept.checksums.waiting == 0
    with kept.following():
        uploads = ResumableUploads(kept.service)
        await upload(uploads, "bad", b"bad")
        await uploads.close()
        await kept.idle()
    assert await kept.of("bad") == sums_of(b"bad")


@pytest.mark.parametrize("damage", ["value = zeroblob(16)", "tie = tie + 1", "algorithm = 'mc5'"])
async def test_a_damaged_value_is_computed_again(store: Store, rows: Rows, damage: str) -> None:
    kept = Kept(store)
    with kept.following():
        await kept.put("a", b"content")
    await rows.fetch(f"UPDATE checksum SET {damage} WHERE algorithm = 'md5'")
    await kept.idle()
    file = await get_file(store, name_of("a"))
    assert await kept.checksums.find([file]) == {file.manifest.id: sums_of(b"content")}


async def test_an_entry_that_is_damaged_ends_the_walk_and_nothing_else(
    store: Store, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    before = Service(store, MemoryBudget(MIB))
    for name in "ab":
        await put(before, name, name.encode())
    await rows.fetch("UPDATE file SET proof = proof + 1 WHERE name = 'b'")
    kept = Kept(store)
    await kept.idle()
    assert "looked for no more" in caplog.text
    assert await kept.checksums.find([await get_file(store, name_of("a"))]) == {}
    await kept.idle()
    assert await kept.of("a") == sums_of(b"a")


async def test_what_has_gone_or_changed_meanwhile_is_not_read(store: Store, rows: Rows) -> None:
    before = Service(store, MemoryBudget(MIB))
    for name in "ab":
        await put(before, name, name.encode())
    kept = Kept(store, catches_up=False)
    await kept.checksums.find([await get_file(store, name_of(name)) for name in "ab"])
    assert kept.checksums.waiting == 2
    await delete(store, name_of("a"))
    await put(before, "b", b"other")
    await kept.idle()
    assert await rows.fetch("SELECT * FROM checksum") == []


async def test_the_task_ends_in_the_middle_of_a_content(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(Service(store, MemoryBudget(MIB)), "a", bytes(8 * MIB))
    kept = Kept(store)
    reading = asyncio.Event()
    read = kept.service.reader.read

    async def told(*what: Any, **options: Any) -> object:  # noqa: ANN401 - those of `read`
        reading.set()
        return await read(*what, **options)

    monkeypatch.setattr(kept.service.reader, "read", told)
    kept.checksums.task.start()
    await reading.wait()
    await kept.checksums.task.stop()
    assert await kept.of("a") == {}
    assert kept.service.budget.free == kept.service.budget.limit


@on_postgres
async def test_two_servers_complete_one_store(store: Store, backend: Backend) -> None:
    other_store = await backend.open()
    try:
        before = Service(store, MemoryBudget(MIB))
        for number in range(30):
            await put(before, f"{number}", b"%d" % number)
        one, other = Kept(store), Kept(other_store)
        with one.following(), other.following():
            await asyncio.gather(
                one.idle(),
                other.idle(),
                *(one.put(f"one{number}", b"one%d" % number) for number in range(10)),
                *(other.put(f"other{number}", b"other%d" % number) for number in range(10)),
                *(one.put("same", b"one%d" % number) for number in range(10)),
                *(other.put("same", b"other%d" % number) for number in range(10)),
            )
        for name in [f"{number}" for number in range(30)]:
            assert await other.of(name) == sums_of(name.encode())
        for number in range(10):
            assert await other.of(f"one{number}") == sums_of(b"one%d" % number)
            assert await one.of(f"other{number}") == sums_of(b"other%d" % number)
        file = await get_file(store, FileName("same"))
        [sums] = (await one.checksums.find([file])).values()
        last = [f"{who}{number}" for who in ("one", "other") for number in range(10)]
        assert sums in [sums_of(content.encode()) for content in last]
    finally:
        await other_store.close()
