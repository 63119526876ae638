"""Contents through the service and a real store: the same bytes out, and no memory kept."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL, Conditions
from chunkstore.core.digest import ContentCheck, Digest
from chunkstore.core.errors import (
    ContentMismatch,
    Crowded,
    PreconditionFailed,
    StoreDamaged,
    StoreError,
    TooLarge,
)
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.core.names import parse_file_name
from chunkstore.core.ranges import ByteRange
from chunkstore.service.batches import BATCH_SIZE
from chunkstore.service.downloads import WINDOW_SIZE, spans
from chunkstore.service.ingest import Intake
from chunkstore.service.memory import MemoryBudget, Reservation, Use
from chunkstore.service.service import Service
from chunkstore.store.contract.contents import PreparedBatch
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Committed
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.store.edits import get_file

NAME = parse_file_name("folder/file")
# One chunk at a time; batches and windows of a few chunks; all that is asked for.
BUDGETS = {"least": CHUNK_SIZE, "tight": 32 * CHUNK_SIZE, "ample": 64 * BATCH_SIZE}
BORDERS = [0, 1, 2, 3, 4, 5, 8]
SIZES = sorted({max(0, border * CHUNK_SIZE + off) for border in BORDERS for off in (-1, 0, 1)})


@pytest.fixture(params=BUDGETS)
def budget(request: pytest.FixtureRequest) -> MemoryBudget:
    return MemoryBudget(BUDGETS[request.param])


@pytest.fixture
def service(store: Store, budget: MemoryBudget) -> Service:
    return Service(store, budget)


@pytest.fixture
def tight_budget() -> MemoryBudget:
    return MemoryBudget(BUDGETS["tight"])


@pytest.fixture
def tight_service(store: Store, tight_budget: MemoryBudget) -> Service:
    return Service(store, tight_budget)


async def arriving(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def cut(content: bytes, piece_size: int) -> list[bytes]:
    return [content[at : at + piece_size] for at in range(0, len(content), piece_size)]


def distinct_chunks() -> Iterator[bytes]:
    for number in count():
        yield number.to_bytes(8, "big") * (CHUNK_SIZE // 8)


async def put(
    service: Service,
    pieces: AsyncIterator[bytes],
    *,
    checks: Sequence[ContentCheck] = (),
    conditions: Conditions = UNCONDITIONAL,
) -> Committed:
    async with service.receiving(checks) as receiver:
        await receiver.receive(pieces)
        commit = receiver.put(NAME, "text/plain", conditions)
        [committed] = await service.store.names.apply([commit])
        return committed


async def get(
    service: Service, manifest: Manifest, start: int = 0, stop: int | None = None
) -> bytes:
    windows = service.reader.stream(manifest, start, manifest.size if stop is None else stop)
    return b"".join([window async for window in windows])


async def collect(stream: AsyncIterator[bytes], windows: list[bytes]) -> None:
    async for window in stream:
        windows.append(window)  # noqa: PERF401 - what came before an error stays


async def put_bytes(service: Service, content: bytes) -> Manifest:
    return (await put(service, arriving(cut(content, 10_000)))).file.manifest


async def assert_holds_nothing(service: Service, tmp_path: Path) -> None:
    """No file is to be seen, and no manifest keeps chunks from being collected."""
    assert await service.store.names.find(NAME) is None
    assert (await service.store.maintenance.stats()).files == 0
    assert run_sql(tmp_path, "SELECT count(*) FROM manifest") == [(0,)]


def run_sql(tmp_path: Path, statement: str) -> list[tuple[Any, ...]]:
    [path] = tmp_path.glob("*.db")
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).fetchall()


async def pass_turns(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def see_all_end(others: set[asyncio.Task[Any]]) -> None:
    """Wait for all tasks but `others`, and for what is called when they are done."""
    while begun := asyncio.all_tasks() - others:
        await asyncio.wait(begun)
    await pass_turns(1)


# In and out.


async def test_a_content_of_any_size_comes_back(
    service: Service, budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    for size in SIZES:
        content = random_bytes(size)
        file = (await put(service, arriving(cut(content, 1500)))).file
        assert file.manifest.size == size
        assert file.manifest.digest == Digest.of(content)
        assert await service.store.names.find(NAME) == file
        assert await get(service, file.manifest) == content
        assert budget.free == budget.limit


@pytest.mark.parametrize("size", [WINDOW_SIZE, BATCH_SIZE, BATCH_SIZE + 1])
async def test_a_content_around_a_full_batch_comes_back(
    size: int, store: Store, random_bytes: RandomBytes
) -> None:
    service = Service(store, MemoryBudget(BUDGETS["ample"]))
    content = random_bytes(size)
    manifest = (await put(service, arriving(cut(content, 65_536)))).file.manifest
    assert manifest.digest == Digest.of(content)
    assert await get(service, manifest) == content


async def test_a_content_in_pieces_of_any_size_comes_back(
    tight_service: Service, random_bytes: RandomBytes
) -> None:
    for piece_size in (1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 10**6):
        content = random_bytes(5 * CHUNK_SIZE + 5)
        manifest = (await put(tight_service, arriving(cut(content, piece_size)))).file.manifest
        assert await get(tight_service, manifest) == content


# A store is not made anew for each example: no two contents are the same.
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    borders=st.lists(st.integers(min_value=0, max_value=60_000), min_size=2, max_size=12),
    seed=st.integers(min_value=0, max_value=2**32),
    limit=st.sampled_from([1, CHUNK_SIZE, 3 * CHUNK_SIZE, 20 * CHUNK_SIZE]),
)
async def test_a_content_in_any_pieces_through_any_budget_comes_back(
    store: Store, borders: list[int], seed: int, limit: int
) -> None:
    borders.sort()
    content = random.Random(seed).randbytes(borders[-1] - borders[0])
    pieces = [content[a - borders[0] : b - borders[0]] for a, b in pairwise(borders)]
    budget = MemoryBudget(limit)
    service = Service(store, budget)
    manifest = (await put(service, arriving(pieces))).file.manifest
    assert manifest.size == len(content)
    assert manifest.digest == Digest.of(content)
    assert await get(service, manifest) == content
    assert budget.free == limit


async def test_nothing_is_a_content(tight_service: Service) -> None:
    for pieces in ([], [b""], [b"", b""]):
        committed = await put(tight_service, arriving(pieces))
        assert committed.file.manifest.digest == Digest.of(b"")
        assert committed.file.manifest.size == committed.new_chunks == committed.new_size == 0
        assert await get(tight_service, committed.file.manifest) == b""


async def test_empty_pieces_change_nothing(tight_service: Service) -> None:
    manifest = (await put(tight_service, arriving([b"", b"ab", b"", b"c", b""]))).file.manifest
    assert await get(tight_service, manifest) == b"abc"


async def test_a_second_content_of_the_name_replaces_the_first(tight_service: Service) -> None:
    first = await put(tight_service, arriving([b"first"]))
    second = await put(tight_service, arriving([b"second"]))
    assert (first.replaced, second.replaced) == (False, True)
    file = await get_file(tight_service.store, NAME)
    assert await get(tight_service, file.manifest) == b"second"


async def test_what_is_known_already_is_not_new(
    tight_service: Service, random_bytes: RandomBytes
) -> None:
    known = random_bytes(20 * CHUNK_SIZE)
    first = await put(tight_service, arriving(cut(known, 7000)))
    assert (first.new_chunks, first.new_size) == (20, 20 * CHUNK_SIZE)
    second = await put(tight_service, arriving(cut(known + b"more", 7000)))
    assert (second.new_chunks, second.new_size) == (1, 4)
    assert await get(tight_service, second.file.manifest) == known + b"more"


async def test_a_flushed_receiver_holds_no_memory_and_commits_the_same(
    tight_service: Service, tight_budget: MemoryBudget, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    for size in (0, 1, 3 * CHUNK_SIZE, 20 * CHUNK_SIZE + 1):
        content = random_bytes(size)
        async with tight_service.receiving() as receiver:
            await receiver.receive(arriving(cut(content, 7000)))
            await receiver.flush()
            assert tight_budget.free == tight_budget.limit
            commit = receiver.put(NAME, "text/plain")
            [committed] = await tight_service.store.names.apply([commit])
        assert committed.file.manifest.digest == Digest.of(content)
        manifest = committed.file.manifest
        assert await get(tight_service, manifest) == content
        rows = f"SELECT count(*) FROM place WHERE manifest = {manifest.id}"
        assert run_sql(tmp_path, rows) == [(manifest.chunk_count,)]


async def test_a_received_content_counts_until_it_is_committed(
    tight_service: Service, tight_budget: MemoryBudget
) -> None:
    async with tight_service.receiving() as receiver:
        await receiver.receive(arriving([bytes(2 * CHUNK_SIZE)]))
        assert tight_budget.limit - tight_budget.free >= 2 * CHUNK_SIZE
    assert tight_budget.free == tight_budget.limit


@pytest.mark.parametrize("client", ["greedy", "modest"])
async def test_an_upload_that_stops_gives_back_what_it_can_and_ends_for_a_poorer_one(
    store: Store, client: str
) -> None:
    budget = MemoryBudget(4 * CHUNK_SIZE)
    memory = budget.account(Use.UPLOAD, "greedy")
    held = await memory.reserve(2 * CHUNK_SIZE, 2 * CHUNK_SIZE)
    waiting: list[asyncio.Task[Reservation]] = []

    async def stopping() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_SIZE // 2)
        assert budget.free == CHUNK_SIZE
        other = budget.account(Use.UPLOAD, client)
        waiting.append(asyncio.create_task(other.reserve(CHUNK_SIZE, CHUNK_SIZE)))
        await pass_turns(1)
        yield b""
        assert budget.free == CHUNK_SIZE + CHUNK_SIZE // 2
        held.release()
        yield b"the rest"

    ended = pytest.raises(Crowded) if client == "modest" else nullcontext()
    async with Service(store, budget, client="greedy").receiving() as receiver:
        with ended:
            await receiver.receive(stopping())
    held.release()
    (await waiting[0]).release()
    assert budget.free == budget.limit


# Ranges.


async def test_any_range_is_a_slice_of_the_content(
    service: Service, budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    content = random_bytes(6 * CHUNK_SIZE + 7)
    manifest = await put_bytes(service, content)
    borders = [0, 1, 2, 5, 6]
    near = {border * CHUNK_SIZE + off for border in borders for off in (-1, 0, 1)} - {-1}
    positions = sorted({*near, CHUNK_SIZE // 2, len(content) - 1, len(content)})
    for start in positions:
        for stop in positions:
            if start <= stop:
                assert await get(service, manifest, start, stop) == content[start:stop]
    assert budget.free == budget.limit


async def test_windows_are_never_empty_and_their_memory_is_reserved(
    service: Service, budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    manifest = await put_bytes(service, random_bytes(40 * CHUNK_SIZE + 7))
    async for window in service.reader.stream(manifest, 5, manifest.size):
        assert window
        assert budget.limit - budget.free >= len(window)
    assert budget.free == budget.limit


async def test_windows_end_where_chunks_end(
    tight_service: Service, random_bytes: RandomBytes
) -> None:
    manifest = await put_bytes(tight_service, random_bytes(40 * CHUNK_SIZE))
    position, stop = 5, 39 * CHUNK_SIZE + 1
    async for window in tight_service.reader.stream(manifest, position, stop):
        position += len(window)
        assert position % CHUNK_SIZE == 0 or position == stop
    assert position == stop


async def test_windows_grow_to_their_bound_while_they_are_taken_fast(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkstore.service.downloads._FAST_RATE", 0)
    service = Service(store, MemoryBudget(1000 * WINDOW_SIZE))
    manifest = await put_bytes(service, bytes(3 * WINDOW_SIZE + 1))
    windows = [len(window) async for window in service.reader.stream(manifest, 0, manifest.size)]
    assert sum(windows) == manifest.size
    full = windows[: windows.index(WINDOW_SIZE) + 1]
    assert full == sorted(full)
    assert len(full) > 2


async def test_one_window_is_read_ahead_for_a_fast_reader(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkstore.service.downloads._FAST_RATE", 0)
    service = Service(store, MemoryBudget(1000 * WINDOW_SIZE))
    manifest = await put_bytes(service, bytes(8 * WINDOW_SIZE))
    held = [
        service.budget.limit - service.budget.free
        async for _ in service.reader.stream(manifest, 0, manifest.size)
    ]
    assert held[0] == WINDOW_SIZE // 8
    assert max(held) == 2 * WINDOW_SIZE
    assert service.budget.free == service.budget.limit


async def test_a_slow_reader_holds_one_small_window(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if every reader took years.
    monkeypatch.setattr("chunkstore.service.downloads._FAST_RATE", math.inf)
    service = Service(store, MemoryBudget(1000 * WINDOW_SIZE))
    manifest = await put_bytes(service, bytes(2 * WINDOW_SIZE))
    async for window in service.reader.stream(manifest, 0, manifest.size):
        await asyncio.sleep(0)
        assert len(window) == WINDOW_SIZE // 8
        assert service.budget.limit - service.budget.free == len(window)


@given(
    borders=st.lists(st.integers(0, 40), min_size=2, max_size=24, unique=True).map(sorted),
    chunk_size=st.integers(1, 9),
)
def test_spans_hold_all_ranges_and_no_chunk_is_in_two(borders: list[int], chunk_size: int) -> None:
    ranges = [ByteRange(*pair) for pair in zip(borders[::2], borders[1::2], strict=False)]
    chunks = ChunkList(1, 40, chunk_size)
    found = list(spans(chunks, ranges))
    read = [chunks_in(chunk_size, span) for span in found]
    assert sum(map(len, read)) == len(set().union(*read))
    # Nothing is read that no range needs, and all that one does is in the span around it.
    assert set().union(*read) == set().union(*(chunks_in(chunk_size, one) for one in ranges))
    for one in ranges:
        assert any(span.start <= one.start and one.stop <= span.stop for span in found)


@given(
    borders=st.lists(st.integers(0, 40), min_size=2, max_size=24, unique=True).map(sorted),
    sizes=st.lists(st.integers(1, 9), min_size=40, max_size=40),
)
def test_no_chunk_is_in_two_spans_wherever_chunks_begin(
    borders: list[int], sizes: list[int]
) -> None:
    ranges = [ByteRange(*pair) for pair in zip(borders[::2], borders[1::2], strict=False)]
    # Which chunk each byte is in.
    chunk_of = [seq for seq, size in enumerate(sizes) for _ in range(size)]
    found = list(spans(ChunkList(1, 40, max(sizes)), ranges))
    read = [set(chunk_of[span.start : span.stop]) for span in found]
    assert sum(map(len, read)) == len(set().union(*read))


def chunks_in(chunk_size: int, span: ByteRange) -> set[int]:
    return set(range(span.start // chunk_size, -(-span.stop // chunk_size)))


async def test_a_range_outside_of_the_content_is_refused(
    tight_service: Service, tight_budget: MemoryBudget
) -> None:
    manifest = await put_bytes(tight_service, b"abc")
    with pytest.raises(ValueError, match="range"):
        await get(tight_service, manifest, 0, 4)
    assert tight_budget.free == tight_budget.limit


# Refusals.


@pytest.mark.parametrize("limit", [0, CHUNK_SIZE, 20 * CHUNK_SIZE + 3])
async def test_a_content_of_the_largest_size_is_accepted_and_one_byte_more_refused(
    limit: int, store: Store, tight_budget: MemoryBudget, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    service = Service(store, tight_budget, max_file_size=limit)
    content = random_bytes(limit + 1)
    with pytest.raises(TooLarge, match=str(limit)):
        await put(service, arriving(cut(content, 700)))
    assert tight_budget.free == tight_budget.limit
    await assert_holds_nothing(service, tmp_path)
    manifest = (await put(service, arriving(cut(content[:limit], 700)))).file.manifest
    assert await get(service, manifest) == content[:limit]


async def test_a_small_content_that_is_refused_leaves_no_chunk(store: Store) -> None:
    service = Service(store, MemoryBudget(BUDGETS["ample"]), max_file_size=3 * CHUNK_SIZE)
    with pytest.raises(TooLarge):
        await put(service, arriving([bytes(3 * CHUNK_SIZE), b"x"]))
    with pytest.raises(ContentMismatch):
        await put(service, arriving([b"abc"]), checks=[ContentCheck("sha256", bytes(32))])
    stats = await store.maintenance.stats()
    assert (stats.files, stats.chunks, stats.stored_size) == (0, 0, 0)


async def test_what_is_too_large_is_not_taken_to_its_end(store: Store) -> None:
    service = Service(store, MemoryBudget(BUDGETS["ample"]), max_file_size=2500)
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1000)

    with pytest.raises(TooLarge):
        await put(service, endless())
    assert taken == 3


async def test_a_check_that_holds_lets_the_content_in(
    tight_service: Service, random_bytes: RandomBytes
) -> None:
    for size in (0, 5, 20 * CHUNK_SIZE + 5):
        content = random_bytes(size)
        checks = [
            ContentCheck("sha256", hashlib.sha256(content).digest()),
            ContentCheck("sha512", hashlib.sha512(content).digest()),
        ]
        committed = await put(tight_service, arriving(cut(content, 3000)), checks=checks)
        assert committed.file.manifest.digest == Digest.of(content)


async def test_a_check_that_fails_stores_nothing(
    tight_service: Service, tight_budget: MemoryBudget, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    for size in (0, 5, 20 * CHUNK_SIZE + 5):
        content = random_bytes(size)
        checks = [
            ContentCheck("sha256", hashlib.sha256(content).digest()),
            ContentCheck("sha512", hashlib.sha512(content + b"x").digest()),
        ]
        with pytest.raises(ContentMismatch, match="sha512"):
            await put(tight_service, arriving(cut(content, 3000)), checks=checks)
        assert tight_budget.free == tight_budget.limit
        await assert_holds_nothing(tight_service, tmp_path)


async def test_what_is_not_committed_is_forgotten(
    tight_service: Service, tight_budget: MemoryBudget, tmp_path: Path
) -> None:
    for size in (0, 5, 20 * CHUNK_SIZE + 5):
        async with tight_service.receiving() as receiver:
            await receiver.receive(arriving(cut(bytes(size), 3000)))
        assert tight_budget.free == tight_budget.limit
        await assert_holds_nothing(tight_service, tmp_path)


async def test_a_commit_that_is_refused_leaves_the_file_as_it_was(
    tight_service: Service, tight_budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    before = (await put(tight_service, arriving([b"before"]))).file
    for size in (5, 20 * CHUNK_SIZE + 5):
        pieces = arriving(cut(random_bytes(size), 3000))
        with pytest.raises(PreconditionFailed):
            await put(tight_service, pieces, conditions=CREATE_ONLY)
        assert tight_budget.free == tight_budget.limit
        assert await tight_service.store.names.find(NAME) == before
    assert await get(tight_service, before.manifest) == b"before"


# Failures in the middle.


async def test_a_sender_that_breaks_off_leaves_nothing(
    service: Service, budget: MemoryBudget, tmp_path: Path, random_bytes: RandomBytes
) -> None:
    async def breaking_off(pieces: int) -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield random_bytes(3000)
        raise ConnectionResetError

    for pieces in (0, 1, 2, 7, 40):
        with pytest.raises(ConnectionResetError):
            await put(service, breaking_off(pieces))
        assert budget.free == budget.limit
        await assert_holds_nothing(service, tmp_path)


@pytest.mark.parametrize("chunks_before", [0, 6, 19])
async def test_a_store_that_fails_leaves_nothing(
    chunks_before: int,
    tight_service: Service,
    tight_budget: MemoryBudget,
    tmp_path: Path,
    random_bytes: RandomBytes,
) -> None:
    run_sql(
        tmp_path,
        "CREATE TRIGGER full BEFORE INSERT ON chunk_data"
        f" WHEN (SELECT count(*) FROM chunk_data) = {chunks_before}"
        " BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    content = random_bytes(20 * CHUNK_SIZE)
    with pytest.raises(StoreError):
        await put(tight_service, arriving(cut(content, 3000)))
    assert tight_budget.free == tight_budget.limit
    await assert_holds_nothing(tight_service, tmp_path)
    run_sql(tmp_path, "DROP TRIGGER full")
    assert await get(tight_service, await put_bytes(tight_service, content)) == content


@dataclass(frozen=True)
class NotedBatch(PreparedBatch):
    chunks: Sequence[Chunk]
    stored: list[Sequence[Chunk]]

    async def store(self) -> None:
        self.stored.append(self.chunks)


class FirstLost:
    """Fails to prepare the first batch; remembers what of the others is stored."""

    def __init__(self) -> None:
        self.prepared = 0
        self.stored: list[Sequence[Chunk]] = []

    async def prepare(self, chunks: Sequence[Chunk]) -> PreparedBatch:
        self.prepared += 1
        if self.prepared == 1:
            raise StoreError
        return NotedBatch(chunks, self.stored)


async def test_nothing_is_stored_behind_a_batch_that_could_not_be_prepared(
    random_bytes: RandomBytes,
) -> None:
    sink = FirstLost()
    intake = Intake(sink, MemoryBudget(CHUNK_SIZE * 2).account(Use.UPLOAD), CHUNK_SIZE)
    with pytest.raises(StoreError):
        await intake.take(random_bytes(3 * CHUNK_SIZE))
    await asyncio.wait(intake._batches._in_flight)
    assert sink.prepared == 2
    assert sink.stored == []
    intake.close()


@pytest.mark.parametrize("damaged", [0, 13])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunk_data SET bytes = zeroblob(length(bytes)) WHERE id = {}",
        "DELETE FROM chunk_data WHERE id = {}",
    ],
)
async def test_damage_ends_a_stream_before_its_window(
    damaged: int,
    statement: str,
    tight_service: Service,
    tight_budget: MemoryBudget,
    tmp_path: Path,
    random_bytes: RandomBytes,
) -> None:
    content = random_bytes(40 * CHUNK_SIZE)
    manifest = await put_bytes(tight_service, content)
    [(chunk,)] = run_sql(tmp_path, f"SELECT chunk FROM place WHERE start = {damaged * CHUNK_SIZE}")
    run_sql(tmp_path, statement.format(chunk))
    windows: list[bytes] = []
    others = asyncio.all_tasks()
    with pytest.raises(StoreDamaged):
        await collect(tight_service.reader.stream(manifest, 0, manifest.size), windows)
    # What was being read ahead.
    await see_all_end(others)
    sent = b"".join(windows)
    assert content.startswith(sent)
    assert len(sent) <= damaged * CHUNK_SIZE
    assert tight_budget.free == tight_budget.limit


async def test_a_reader_that_leaves_gives_its_memory_back(
    service: Service, budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    manifest = await put_bytes(service, random_bytes(40 * CHUNK_SIZE))
    for windows in (0, 1, 2, 5):
        # Meanwhile the next window is not read yet, is being read, or is there.
        for turns in (0, 1, 2, 100):
            others = asyncio.all_tasks()
            async with aclosing(service.reader.stream(manifest, 0, manifest.size)) as stream:
                for _ in range(windows):
                    await anext(stream, b"")
                await pass_turns(turns)
            await see_all_end(others)
            assert budget.free == budget.limit


# Cancellation.


async def run_and_cancel(coroutine: Coroutine[Any, Any, object], turns: int) -> None:
    """Cancel a task after as many turns of the loop, unless it is done, and see it end."""
    task = asyncio.create_task(coroutine)
    await pass_turns(turns)
    task.cancel()
    await asyncio.wait({task})


async def cancelling_its_reader(pieces: int, turns: int) -> AsyncIterator[bytes]:
    """Yield chunks without end, and cancel who takes them some turns after so many of them."""
    reader = asyncio.current_task()
    assert reader is not None
    chunks = distinct_chunks()
    for chunk in islice(chunks, pieces):
        yield chunk
    canceller = asyncio.create_task(pass_turns(turns))
    canceller.add_done_callback(lambda _: reader.cancel())
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def test_an_upload_cancelled_in_the_middle_leaves_nothing(
    service: Service, budget: MemoryBudget, tmp_path: Path
) -> None:
    for pieces in (0, 1, 3, 4, 5, 12):
        for turns in (0, 1, 2, 7):
            upload = asyncio.create_task(put(service, cancelling_its_reader(pieces, turns)))
            await asyncio.wait({upload})
            assert upload.cancelled()
            assert budget.free == budget.limit
            await assert_holds_nothing(service, tmp_path)


async def test_a_download_cancelled_in_the_middle_gives_its_memory_back(
    service: Service, budget: MemoryBudget
) -> None:
    manifest = await put_bytes(service, bytes(100 * CHUNK_SIZE))
    for turns in (*range(12), 15, 20, 30, 50, 80, 120):
        await run_and_cancel(get(service, manifest), turns)
        assert budget.free == budget.limit


async def test_an_upload_cancelled_while_it_waits_for_memory_takes_none(
    tight_service: Service, tight_budget: MemoryBudget
) -> None:
    with await tight_budget.account(Use.UPLOAD).reserve(tight_budget.limit, tight_budget.limit):
        await run_and_cancel(put(tight_service, arriving([b"abc"])), 5)
        assert tight_budget.free == 0
    assert tight_budget.free == tight_budget.limit
    assert await tight_service.store.names.find(NAME) is None


async def test_a_download_cancelled_while_it_waits_for_memory_takes_none(
    tight_service: Service, tight_budget: MemoryBudget
) -> None:
    manifest = await put_bytes(tight_service, b"abc")
    with await tight_budget.account(Use.UPLOAD).reserve(tight_budget.limit, tight_budget.limit):
        await run_and_cancel(get(tight_service, manifest), 5)
        assert tight_budget.free == 0
    assert tight_budget.free == tight_budget.limit


async def cancel_twice(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and again while it cleans up; see all end that it has begun."""
    others = asyncio.all_tasks() - {task}
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await see_all_end(others)


async def test_an_upload_cancelled_twice_leaves_nothing(
    tight_service: Service, tight_budget: MemoryBudget, tmp_path: Path
) -> None:
    taken = asyncio.Event()

    async def pausing() -> AsyncIterator[bytes]:
        # One batch on its way into the store, and a part of the next.
        for chunk in islice(distinct_chunks(), 5):
            yield chunk
        taken.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(put(tight_service, pausing()))
    await taken.wait()
    await cancel_twice(upload)
    assert tight_budget.free == tight_budget.limit
    await assert_holds_nothing(tight_service, tmp_path)


async def test_a_download_cancelled_twice_gives_its_memory_back(
    tight_service: Service, tight_budget: MemoryBudget
) -> None:
    manifest = await put_bytes(tight_service, bytes(100 * CHUNK_SIZE))
    others = asyncio.all_tasks()
    download = asyncio.create_task(get(tight_service, manifest))
    while not (reading := asyncio.all_tasks() - others - {download}):
        await pass_turns(1)
    # The window is there; the download has not had its turn to take it.
    while not all(task.done() for task in reading):
        await pass_turns(1)
    await cancel_twice(download)
    assert tight_budget.free == tight_budget.limit


# Many at once.


async def test_many_uploads_and_downloads_share_the_least_memory(
    service: Service, budget: MemoryBudget, random_bytes: RandomBytes
) -> None:
    async def put_and_get_twice(place: int, content: bytes) -> None:
        name = parse_file_name(f"file-{place}")
        async with service.receiving() as receiver:
            await receiver.receive(arriving(cut(content, 1500)))
            [committed] = await service.store.names.apply([receiver.put(name, "text/plain")])
        manifest = committed.file.manifest
        one, other = await asyncio.gather(get(service, manifest), get(service, manifest))
        assert one == other == content

    contents = [random_bytes(9 * CHUNK_SIZE + place) for place in range(8)]
    await asyncio.gather(*map(put_and_get_twice, range(8), contents))
    assert budget.free == budget.limit


async def test_a_slow_reader_does_not_stop_others_that_need_little(
    tight_service: Service, random_bytes: RandomBytes
) -> None:
    content = random_bytes(60 * CHUNK_SIZE)
    manifest = await put_bytes(tight_service, content)
    async with aclosing(tight_service.reader.stream(manifest, 0, manifest.size)) as slow:
        first = await anext(slow)
        assert await get(tight_service, manifest) == content
        assert first + b"".join([window async for window in slow]) == content
