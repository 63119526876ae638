"""What several servers that share one PostgreSQL database owe each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any, Final

import asyncpg
import pytest

from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    AlreadyExists,
    ChunksMissing,
    Forbidden,
    NameConflict,
    NotFound,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.reports import Collected
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.uploads import Unfinished
from chunkstore.store.postgres import at_once, manifests, unfinished
from chunkstore.store.postgres.at_once import SmallPut
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database, _Receipt
from chunkstore.store.postgres.manifests import PreparedChunks
from chunkstore.store.postgres.resumable import HoldPack
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import RandomBytes, on_postgres
from tests.store.conformance import CHUNK_SIZE, cut, get, name_of, names, put
from tests.store.edits import copy, delete, get_file, make_folder, move
from tests.store.pack_conformance import held, hold, known, refer
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, complete, later

pytestmark = on_postgres

_DIFFERENT_CHUNKS: Final = 40

OpenStore = Callable[[], Awaitable[PostgresStore]]


@pytest.fixture
async def open_store(backend: Backend) -> AsyncIterator[OpenStore]:
    """Return what opens one more store over the same, at first empty, database."""
    async with AsyncExitStack() as stores:

        async def open_one() -> PostgresStore:
            store = await PostgresStore.open(
                backend.location, chunk_size=CHUNK_SIZE, compression=NO_COMPRESSION
            )
            stores.push_async_callback(store.close)
            return store

        yield open_one


async def broken(rows: Rows) -> dict[str, Sequence[Any]]:
    """Return what must never be, by its description."""
    found = {what: await rows.fetch(query) for what, query in rows.broken_rows.items()}
    return {what: result for what, result in found.items() if result}


async def deadlocks(rows: Rows) -> int:
    [(count,)] = await rows.fetch(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(count)


# Uploads and collections at the same time


@pytest.mark.parametrize("grace_seconds", [0, 3600])
async def test_uploads_beside_collections(
    open_store: OpenStore, rows: Rows, grace_seconds: int, pytestconfig: pytest.Config
) -> None:
    """Six upload contents that share chunks, and delete them; two collect all the time.

    No call may fail, and nothing may refer to what is not there.
    """
    stores = [await open_store() for _ in range(4)]
    rounds: int = pytestconfig.getoption("stress_rounds")
    uploading = asyncio.Event()
    removed = Collected()

    async def upload(number: int) -> dict[str, bytes]:
        random, kept = Random(number), {}
        store = stores[number % 2]
        for turn in range(rounds):
            chunks = [
                Random(random.randrange(_DIFFERENT_CHUNKS)).randbytes(CHUNK_SIZE)
                for _ in range(random.randrange(1, 30))
            ]
            content, name = b"".join(chunks), f"{number}/{turn % 5}"
            await put(store, name, content, appended=random.randrange(len(chunks)))
            kept[name] = content
            if random.random() < 0.5:
                await delete(store, name_of(name))
                del kept[name]
        return kept

    async def collect(store: PostgresStore) -> None:
        nonlocal removed
        while not uploading.is_set():
            removed += await collect_all(store.maintenance, grace_seconds)

    async with asyncio.TaskGroup() as tasks:
        uploads = [tasks.create_task(upload(number)) for number in range(6)]
        for store in stores[2:]:
            tasks.create_task(collect(store))
        await asyncio.wait(uploads)
        uploading.set()
    assert await broken(rows) == {}
    for task in uploads:
        for name, content in task.result().items():
            assert await get(stores[0], name) == content
    if grace_seconds:
        assert removed == Collected()


async def test_batches_that_share_chunks_do_not_deadlock(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    before = await deadlocks(rows)
    stores = [await open_store() for _ in range(2)]
    chunks = [random_bytes(CHUNK_SIZE) for _ in range(60)]

    async def upload(number: int) -> None:
        mixed = list(chunks)
        Random(number).shuffle(mixed)
        await put(stores[number % 2], f"f{number}", b"".join(mixed), appended=59)

    await asyncio.gather(*map(upload, range(12)))
    assert await rows.count("chunk") == 60
    assert await deadlocks(rows) == before
    assert await broken(rows) == {}


async def test_a_chunk_that_goes_between_look_and_reference_is_sent_again(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await open_store(), await open_store()
    content = random_bytes(40 * CHUNK_SIZE)
    await put(store, "a", content)
    await delete(store, name_of("a"))
    from chunkstore.store.postgres import manifests

    look = manifests._known
    looks = 0

    async def look_and_lose(*arguments: Any) -> frozenset[bytes]:  # noqa: ANN401
        nonlocal looks
        looks += 1
        known = await look(*arguments)
        for _ in range(2):
            await collect_all(other.maintenance, 0)
            await store._opened.presence.beat()
        return known

    monkeypatch.setattr(manifests, "_known", look_and_lose)
    committed = await put(store, "b", content)
    assert looks == 1
    assert committed.new_chunks == 40
    assert await get(other, "b") == content
    assert await broken(rows) == {}


# Downloads on one server, collections on another


async def test_a_download_holds_its_content_against_all_servers(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    here, there = await open_store(), await open_store()
    content = random_bytes(40 * CHUNK_SIZE)
    await put(here, "a", content)
    async with here.contents.open(name_of("a")) as file:
        assert file is not None
        await delete(there, name_of("a"))
        for _ in range(2):
            assert await collect_all(there.maintenance, 0) == Collected()
            # It has seen what was condemned, and says that it still needs it.
            await here._opened.presence.beat()
        assert await here.contents.read(file.manifest, 0, len(content)) == content
    await here._opened.presence.beat()
    assert (await collect_all(there.maintenance, 0)).chunks == 40
    assert await rows.count("place") == 0


async def test_what_another_server_has_not_seen_stays(open_store: OpenStore, rows: Rows) -> None:
    here, there = await open_store(), await open_store()
    await put(here, "a", b"x")
    await delete(here, name_of("a"))
    assert await collect_all(here.maintenance, 0) == Collected()
    await there._opened.presence.beat()
    assert await collect_all(here.maintenance, 0) == Collected(manifests=1, chunks=1, size=1)


async def test_a_server_that_is_silent_is_taken_for_dead(open_store: OpenStore, rows: Rows) -> None:
    here, there = await open_store(), await open_store()
    await put(here, "a", b"x")
    upload = there.contents.begin()
    await upload.append(cut(b"y" * CHUNK_SIZE))
    await delete(here, name_of("a"))
    await rows.fetch("UPDATE server SET beat = 0 WHERE id = $1", there._opened.presence.server)
    removed = await collect_all(here.maintenance, 0)
    assert (removed.manifests, removed.chunks) == (2, 2)
    # It only slept. What it was uploading is refused, not half kept.
    with pytest.raises(StoreUnavailable):
        await upload.append(cut(b"z" * CHUNK_SIZE))
    await upload.abort()
    await there._opened.presence.beat()
    await put(there, "b", b"x")
    assert await get(here, "b") == b"x"
    assert await broken(rows) == {}


# Names


async def test_many_servers_change_one_tree(open_store: OpenStore, rows: Rows) -> None:
    """Whatever order the calls come in, no file lies in a file and no row loses its folder."""
    stores = [await open_store() for _ in range(3)]
    some_names = ["a", "a/b", "a/b/c", "a/b/d", "b", "b/c", "b/c/d", "c"]

    async def change(number: int) -> None:
        random, store = Random(number), stores[number % 3]
        for _ in range(25):
            one, other = random.choice(some_names), random.choice(some_names)
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda one=one: put(store, one, one.encode()),  # type: ignore[misc]
                lambda one=one: put(store, one, b"new", CREATE_ONLY),  # type: ignore[misc]
                lambda one=one: delete(store, name_of(one)),  # type: ignore[misc]
                lambda one=one, other=other: copy(store, name_of(one), name_of(other)),  # type: ignore[misc]
                lambda one=one, other=other: move(store, name_of(one), name_of(other)),  # type: ignore[misc]
                lambda one=one: make_folder(store, FolderName(one + "/")),  # type: ignore[misc]
                lambda one=one: delete(store, FolderName(one + "/")),  # type: ignore[misc]
                lambda one=one, other=other: copy(
                    store,  # type: ignore[misc]
                    FolderName(one + "/"),
                    FolderName(other + "/"),
                ),
                lambda one=one, other=other: move(
                    store,  # type: ignore[misc]
                    FolderName(one + "/"),
                    FolderName(other + "/"),
                ),
            ]
            with suppress(AlreadyExists, Forbidden, NameConflict, NotFound, PreconditionFailed):
                await random.choice(calls)()

    async def collect() -> None:
        while not changed.is_set():
            await collect_all(stores[0].maintenance, 0)

    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(collect())
        await asyncio.gather(*map(change, range(9)))
        changed.set()
    assert await broken(rows) == {}
    found = await names(stores[0])
    for name in found:
        assert not any(other.startswith(name + "/") for other in found)
        await get(stores[1], name)
    # Rows of folders that do not exist any more go with the next collection.
    for folder in (await stores[0].names.list(delimiter="/")).folders:
        await delete(stores[0], folder)
    for file in (await stores[0].names.list()).files:
        await delete(stores[0], file.name)
    await put(stores[0], "x/y", b"x")
    await delete(stores[0], name_of("x/y"))
    await collect_all(stores[1].maintenance, 0)
    assert await rows.fetch("SELECT path FROM entry") == []
    assert await rows.fetch("SELECT path FROM vacated") == []


async def test_of_a_file_and_a_folder_one_comes_first(open_store: OpenStore, rows: Rows) -> None:
    stores = [await open_store() for _ in range(2)]
    for turn in range(15):
        results = await asyncio.gather(
            put(stores[0], f"{turn}/a", b"x"),
            put(stores[1], f"{turn}/a/b", b"y"),
            return_exceptions=True,
        )
        assert sum(isinstance(result, NameConflict) for result in results) == 1
    assert await broken(rows) == {}


# What passes


async def disconnect_all(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'chunkstore'"
    )
    await connection.close()


async def test_lost_connections_are_not_seen_by_callers(
    open_store: OpenStore, backend: Backend, random_bytes: RandomBytes
) -> None:
    store = await open_store()
    contents = {f"{number}": random_bytes(30 * CHUNK_SIZE) for number in range(6)}
    done = 0

    async def count(call: Awaitable[object]) -> None:
        """Disconnect whatever else is under way after each few calls."""
        nonlocal done
        await call
        done += 1
        if done % 3 == 0:
            await disconnect_all(backend.location)

    async def work(name: str) -> None:
        await count(put(store, name, contents[name], CREATE_ONLY, appended=10))
        await count(move(store, FileName(name), FileName(f"moved/{name}")))
        assert await get(store, f"moved/{name}") == contents[name]
        await count(delete(store, FileName(f"moved/{name}")))
        await count(put(store, name, contents[name], CREATE_ONLY))

    await asyncio.gather(*map(work, contents))
    assert sorted(await names(store)) == sorted(contents)
    assert await broken(backend.rows) == {}


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lose the answer to each first COMMIT; return their number, which may be set to 0."""
    lost = [0]

    def lose() -> None:
        lost[0] += 1
        if lost[0] % 2:
            raise asyncpg.ConnectionDoesNotExistError("the answer was lost")

    run, attempt, put_all = Database._run, _Receipt.attempt, at_once._put_all

    async def run_and_lose(database: Database, job: Any, **options: Any) -> Any:  # noqa: ANN401
        result = await run(database, job, **options)
        if options.get("isolation") == "read_committed":
            lose()
        return result

    async def attempt_and_lose(receipt: _Receipt) -> Any:  # noqa: ANN401
        result = await attempt(receipt)
        lose()
        return result

    async def put_and_lose(db: Connection, puts: Sequence[SmallPut]) -> Any:  # noqa: ANN401
        result = await put_all(db, puts)
        lose()
        return result

    monkeypatch.setattr(at_once, "_put_all", put_and_lose)
    monkeypatch.setattr(Database, "_run", run_and_lose)
    monkeypatch.setattr(_Receipt, "attempt", attempt_and_lose)
    return lost


async def test_a_write_whose_answer_is_lost_takes_effect_once(
    open_store: OpenStore, rows: Rows, lost: list[int]
) -> None:
    store = await open_store()
    for call in (
        lambda: put(store, "a", b"x", CREATE_ONLY),
        lambda: move(store, name_of("a"), name_of("b")),
        lambda: copy(store, name_of("b"), name_of("c"), overwrite=False),
        lambda: make_folder(store, FolderName("d/")),
        lambda: delete(store, name_of("c")),
        lambda: delete(store, FolderName("d/")),
        lambda: put(store, "e", b"z" * (9 * CHUNK_SIZE), CREATE_ONLY, appended=4),
    ):
        lost[0] = 0
        await call()
        assert lost[0] >= 2
    assert sorted(await names(store)) == ["b", "e"]
    assert await get(store, "e") == b"z" * (9 * CHUNK_SIZE)
    assert await broken(rows) == {}


async def test_a_put_whose_answer_is_lost_says_what_came_of_it(
    open_store: OpenStore, lost: list[int]
) -> None:
    store = await open_store()
    for content, replaced in ((b"x", False), (b"y" * CHUNK_SIZE + b"x", True)):
        lost[0] = 0
        committed = await put(store, "a", content)
        assert lost[0] == 2
        assert committed.replaced is replaced
        assert (committed.new_chunks, committed.new_size) == (1, min(len(content), CHUNK_SIZE))
        assert committed.file == (await get_file(store, name_of("a")))._replace(content=None)


async def test_a_put_that_comes_after_its_server_went_another_way_takes_no_effect(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    put_all = at_once._put_all
    held: list[Sequence[SmallPut]] = []

    async def lose(_: Connection, puts: Sequence[SmallPut]) -> None:
        held.append(puts)
        raise asyncpg.ConnectionDoesNotExistError("the statement is still under way")

    await put(store, "taken", b"old")
    monkeypatch.setattr(at_once, "_put_all", lose)
    with pytest.raises(PreconditionFailed):
        await put(store, "taken", b"new", CREATE_ONLY)
    await put(store, "a", b"1")
    monkeypatch.undo()
    await delete(store, name_of("taken"))
    await put(store, "a", b"2")
    for late in held:
        await store._opened.database.read(put_all, late)
    assert await names(store) == ["a"]
    assert await get(store, "a") == b"2"


async def test_edits_that_failed_at_their_end_are_made_anew_from_their_beginning(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    content = b"x" * CHUNK_SIZE + b"tail"
    spec = UploadSpec(UploadKind.FILE, name_of("a"), "text/plain")
    upload_id = await begin(store, spec, content, whole=True)
    add, failures = unfinished.add, [0]

    async def fail_once(db: Connection, before: Unfinished, after: Unfinished) -> None:
        failures[0] += 1
        if failures[0] == 1:
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost")
        await add(db, before, after)

    monkeypatch.setattr(unfinished, "add", fail_once)
    assert (await complete(store, upload_id, content)).new_size == len(content)
    failures[0] = 0
    large = random_bytes(20 * CHUNK_SIZE)
    assert (await put(store, "b", large)).new_chunks == 20
    assert failures[0] == 2
    assert await get(store, "a") == content
    assert await get(store, "b") == large
    assert await rows.unfinished_sum() == (0, 0, 0)
    assert await broken(rows) == {}


async def test_what_does_not_pass_is_an_error_at_once(open_store: OpenStore, rows: Rows) -> None:
    store = await open_store()

    async def fail(db: Connection) -> None:
        await db.execute("SELECT 1 / 0")

    with pytest.raises(StoreError):
        await store._opened.database.write(fail)


# Packs


async def test_packs_and_lists_come_by_any_server(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(12 * CHUNK_SIZE)
    chunks = cut(content)
    stores = [await open_store() for _ in range(3)]
    upload_id = await begin(stores[0])
    packs = (
        hold(stores[number % 3], upload_id, chunks[number::4], appended=number)
        for number in range(4)
    )
    collections = (collect_all(store.maintenance, 0) for store in stores)
    await asyncio.gather(*packs, *collections)
    for store in stores:
        await collect_all(store.maintenance, 0)
        assert set(await held(store, upload_id)) == {chunk.digest for chunk in chunks}
    await refer(stores[1], upload_id, known(chunks[:5]))
    await refer(stores[0], upload_id, known(chunks[5:]), whole=True)
    committed = await complete(stores[2], upload_id, content)
    assert committed.new_chunks == 12
    for store in stores:
        await collect_all(store.maintenance, 0)
    assert await get(stores[1], "a") == content
    assert await rows.count("upload_pack") == 0
    assert await rows.unused() == await rows.broken() == []


async def test_a_pack_outlives_the_server_that_took_it_and_others_do_not(
    open_store: OpenStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    dead, store = await open_store(), await open_store()
    upload_id = await begin(store)
    taken, lost = cut(random_bytes(3 * CHUNK_SIZE)), cut(random_bytes(3 * CHUNK_SIZE))
    await hold(dead, upload_id, taken, appended=2)
    pack = dead.contents.begin()
    await pack.append(lost)
    # It says nothing any more, and is taken for dead.
    await rows.fetch("DELETE FROM server WHERE id = $1", dead._opened.presence.server)
    for _ in range(2):
        await collect_all(store.maintenance, 0)
    there = await store.chunks.find_sizes([chunk.digest for chunk in [*taken, *lost]])
    assert there.keys() == {chunk.digest for chunk in taken}
    # It slept; what it would hold is not there any more.
    with pytest.raises(StoreUnavailable):
        await dead.uploads.hold(upload_id, pack, [], later())
    assert len(await held(store, upload_id)) == 3
    assert await rows.broken() == []


async def test_a_pack_whose_answer_was_lost_is_held_once(
    open_store: OpenStore,
    rows: Rows,
    random_bytes: RandomBytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await open_store()
    upload_id = await begin(store)
    run, answers = HoldPack.run, list[int]()

    async def run_and_fail(self: HoldPack, db: Connection, last: PreparedChunks) -> object:
        answers.append(1)
        if len(answers) == 2:
            return await run(self, db, last)
        # The commit takes effect, and its answer is lost.
        await run(self, db, last)
        await db.execute("COMMIT")
        raise asyncpg.ConnectionDoesNotExistError

    monkeypatch.setattr(HoldPack, "run", run_and_fail)
    chunks = cut(random_bytes(3 * CHUNK_SIZE))
    await hold(store, upload_id, chunks, appended=1)
    assert len(answers) == 2
    [row] = await rows.uploads()
    assert row.extent == CHUNK_SIZE + 3 * CHUNK_SIZE + 4 * 64
    assert (row.new_chunks, row.new_size) == (3, 3 * CHUNK_SIZE)
    assert len(await held(store, upload_id)) == 3


async def test_a_known_chunk_that_is_collected_at_this_moment_is_missing(
    open_store: OpenStore, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await open_store(), await open_store()
    content = random_bytes(3 * CHUNK_SIZE)
    await put(store, "a", content)
    upload_id = await begin(store)
    found = manifests.find_sizes

    async def find_and_collect(database: Database, digests: Iterable[Digest]) -> dict[Digest, int]:
        sizes = await found(database, digests)
        if sizes:
            await delete(other, name_of("a"))
            for one in (store, other, store):
                await collect_all(one.maintenance, 0)
        return sizes

    monkeypatch.setattr(manifests, "find_sizes", find_and_collect)
    with pytest.raises(ChunksMissing) as caught:
        await refer(store, upload_id, known(cut(content)), whole=True)
    assert (len(caught.value.digests), caught.value.offset) == (3, 0)
