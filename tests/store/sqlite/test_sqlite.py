"""The store contract on SQLite, and what only SQLite promises."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from chunkstore.core.access import EVERYTHING
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.errors import (
    NewerSchema,
    NotAStore,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreInUse,
    StoreUnavailable,
    StoreUnusable,
    UploadSuperseded,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access.people import People
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.reports import Collected
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.upload_state import Join
from chunkstore.store.contract.uploads import NOTHING
from chunkstore.store.open import open_store
from chunkstore.store.sqlite import collecting, reading, resumable, schema
from chunkstore.store.sqlite.engine.connection import Connection, Job, ReaderPool, connect_reader
from chunkstore.store.sqlite.engine.lookups import Lookups
from chunkstore.store.sqlite.store import SQLiteStore
from tests.conftest import on_sqlite
from tests.store.audit_conformance import AuditConformance
from tests.store.checksum_conformance import ChecksumConformance
from tests.store.chunk_conformance import ChunkConformance
from tests.store.conformance import CHUNK_SIZE, StoreConformance, get, names, put, scrub
from tests.store.edit_conformance import EditConformance
from tests.store.edits import copy, delete, get_file, make_folder, move
from tests.store.lock_conformance import LockConformance
from tests.store.pack_conformance import PackConformance
from tests.store.part_conformance import PartConformance
from tests.store.quota_conformance import QuotaConformance
from tests.store.record_conformance import RecordConformance
from tests.store.sqlite.rows import SQLiteRows
from tests.store.strict_conformance import StrictConformance
from tests.store.subtree_conformance import SubtreeConformance
from tests.store.upload_conformance import (
    OLD_UNFINISHED,
    OLD_UPLOADS,
    PART,
    UploadConformance,
    acquire,
    add,
    begin,
    complete,
    join,
    later,
    unfinished,
)

T = TypeVar("T")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@on_sqlite
class TestSQLite(
    StoreConformance,
    EditConformance,
    UploadConformance,
    PartConformance,
    PackConformance,
    StrictConformance,
    SubtreeConformance,
    ChecksumConformance,
    RecordConformance,
    QuotaConformance,
    LockConformance,
    AuditConformance,
    ChunkConformance,
):
    """The conformance suites."""

    shares_manifests = True


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


@asynccontextmanager
async def opened(
    path: Path, *, chunk_size: int | None = None, min_free: int = 0, read_only: bool = False
) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(
        path,
        chunk_size=chunk_size,
        compression=NO_COMPRESSION,
        min_free=min_free,
        read_only=read_only,
    )
    try:
        yield store
    finally:
        await store.close()


async def opened_and_closed(path: Path) -> None:
    async with opened(path):
        pass


async def test_the_database_is_set_up_for_blobs_and_durability(path: Path) -> None:
    await opened_and_closed(path)
    expected = {
        "page_size": 8192,
        "auto_vacuum": 2,  # incremental
        "journal_mode": "wal",
        "application_id": schema.APPLICATION_ID,
        "user_version": schema.SCHEMA_VERSION,
        "integrity_check": "ok",
    }
    found = {name: query(path, f"PRAGMA {name}")[0][0] for name in expected}
    assert found == expected


async def test_closing_leaves_one_database_file_the_lock_and_the_reserve(path: Path) -> None:
    async with opened(path) as store:
        await put(store, "a", b"x")
    left = sorted(entry.name for entry in path.parent.iterdir())
    assert left == ["store.db", "store.db-lock", "store.db-reserve"]


async def test_chunk_size_is_kept_and_can_change(path: Path) -> None:
    content = bytes(range(256)) * 100
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        await put(store, "a", content)
    async with opened(path) as store:
        assert store.contents.chunk_size == CHUNK_SIZE
    async with opened(path, chunk_size=8192) as store:
        assert store.contents.chunk_size == 8192
        assert await get(store, "a") == content
        assert (await get_file(store, FileName("a"))).manifest.chunk_size == CHUNK_SIZE
    with pytest.raises(ValueError, match="power of two"):
        await SQLiteStore.open(path, chunk_size=5000)


async def test_one_process_writes(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with opened(path):
        for name in (path, link):
            with pytest.raises(StoreInUse):
                await SQLiteStore.open(name)
    await opened_and_closed(path)


async def test_the_lock_dies_with_its_process(path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\n"
        "from chunkstore.store.sqlite.store import SQLiteStore\n"
        "async def main():\n"
        "    store = await SQLiteStore.open(pathlib.Path(sys.argv[1]))\n"
        "    print('open', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    with pytest.raises(StoreInUse):
        await SQLiteStore.open(path)
    process.kill()
    await process.wait()
    await opened_and_closed(path)


async def test_a_reader_sees_what_is_committed_and_writes_nothing(path: Path) -> None:
    with pytest.raises(StoreUnusable):
        await SQLiteStore.open(path, read_only=True)
    assert list(path.parent.iterdir()) == []
    async with opened(path) as store:
        await put(store, "a", b"x")
        async with opened(path, read_only=True) as reader:
            assert (await reader.maintenance.stats()).files == 1
            with pytest.raises(StoreError):
                await delete(reader, FolderName("a/"))


@pytest.mark.parametrize("read_only", [False, True])
async def test_what_is_no_store_is_refused_and_left_alone(path: Path, read_only: bool) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(NotAStore):
        await SQLiteStore.open(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_the_database_of_another_program_is_refused(path: Path, read_only: bool) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()
    with pytest.raises(NotAStore):
        await SQLiteStore.open(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_newer_schema_is_refused(path: Path, read_only: bool) -> None:
    await opened_and_closed(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(NewerSchema):
        await SQLiteStore.open(path, read_only=read_only)


async def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable):
        await SQLiteStore.open(tmp_path / "none" / "store.db")
    with pytest.raises(StoreUnusable):
        await SQLiteStore.open(tmp_path)


async def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreUnusable, match="mysql"):
        await open_store("mysql://localhost/files")


def migrate(path: Path, target: int, migrations: Mapping[int, str]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        schema.prepare(db, target=target, migrations=migrations)


def test_a_step_of_a_migration_is_one_transaction(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    current = schema.SCHEMA_VERSION
    migrate(path, current, {})
    made = "SELECT name FROM sqlite_master WHERE name IN ('extra', 'more') ORDER BY name"
    with pytest.raises(sqlite3.OperationalError):
        migrate(path, current + 1, {current: "CREATE TABLE extra (a); CREATE TABLE extra (b)"})
    assert query(path, "PRAGMA user_version") == [(current,)]
    assert query(path, made) == []
    migrate(path, current + 1, {current: "CREATE TABLE extra (a); CREATE TABLE more (a);"})
    assert query(path, "PRAGMA user_version") == [(current + 1,)]
    assert query(path, made) == [("extra",), ("more",)]
    # Neither to create a database nor to fail to migrate one is worth a line.
    line = f"{path} was migrated from schema version {current} to {current + 1}."
    assert caplog.messages == [line]


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION))
async def test_an_old_database_becomes_what_a_new_one_is(path: Path, version: int) -> None:
    script = Path(__file__).parents[1] / "schemas" / f"{version}.sql"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script.read_text())
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("INSERT INTO setting VALUES ('chunk_size', 8192)")
        db.commit()
    async with opened(path) as store:
        assert store.contents.chunk_size == 8192
        await put(store, "a", b"x")
    await opened_and_closed(path.with_name("new.db"))
    described = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    assert query(path, described) == query(path.with_name("new.db"), described)


async def test_a_migration_sums_up_what_is_unfinished(path: Path) -> None:
    script = Path(__file__).parents[1] / "schemas" / "2.sql"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script.read_text())
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 2")
        for number, (kind, received, extent, used, digest) in enumerate(OLD_UPLOADS):
            if digest is None:
                db.execute("INSERT INTO manifest VALUES (?, NULL, NULL, 4096, 0)", [number])
            db.execute(
                "INSERT INTO upload (id, kind, manifest, received, extent, used, digest, created,"
                " expires, media_type, conditions, checks, metadata)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 1, '', '{}', '{}', '')",
                [number, kind, number if digest is None else None, received, extent, used, digest],
            )
        db.commit()
    async with opened(path) as store:
        assert await unfinished(SQLiteRows(path)) == OLD_UNFINISHED
        await collect_all(store.maintenance, 0)
        assert await unfinished(SQLiteRows(path)) == NOTHING


async def test_every_schema_version_has_its_migration() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.SCHEMA_VERSION))


async def test_small_writes_at_once_share_transactions(path: Path) -> None:
    async with opened(path) as store:
        commits = await count_commits(
            path, lambda: asyncio.gather(*(put(store, f"f{index}", b"x") for index in range(200)))
        )
        assert len(await names(store)) == 200
    # Each commit writes one frame that ends a transaction; 200 puts take a few, not 200.
    assert 0 < commits <= 10


async def count_commits(path: Path, work: Callable[[], Awaitable[object]]) -> int:
    """Count the transactions that `work` adds to the write-ahead log.

    A frame's header tells at its fifth byte the size of the database if the frame ends a
    transaction, else 0 (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
    """
    log = log_of(path)

    def commits() -> int:
        content = log.read_bytes()
        page = int.from_bytes(content[8:12], "big")
        return sum(
            content[place + 4 : place + 8] != b"\0\0\0\0"
            for place in range(32, len(content), 24 + page)
        )

    before = await asyncio.to_thread(commits)
    await work()
    return await asyncio.to_thread(commits) - before


async def test_a_full_database_refuses_writes_and_goes_on_reading(
    path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    large = random_bytes(100 * CHUNK_SIZE)
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        await put(store, "old", b"old")
        connection = store._database.writable._connection
        [(pages,)] = await connection.run(lambda db: db.execute("PRAGMA page_count").fetchall())
        await connection.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 4}"))
        refused, small = await asyncio.gather(
            put(store, "large", large), put(store, "small", b"x"), return_exceptions=True
        )
        assert isinstance(refused, StoreFull)
        # What fits is not refused with what does not.
        assert not isinstance(small, BaseException)
        assert await get(store, "old") == b"old"
        await connection.run(lambda db: db.execute("PRAGMA max_page_count = 1000000"))
        await put(store, "large", large)
        assert await get(store, "large") == large


async def test_new_content_is_refused_before_the_disk_is_full(path: Path) -> None:
    async with opened(path) as store:
        await put(store, "old", b"old")
    async with opened(path, min_free=2**62) as store:
        for content in (b"new", b"new" * CHUNK_SIZE * 20):
            with pytest.raises(StoreFull):
                await put(store, "new", content)
        # What adds a name takes room as well.
        with pytest.raises(StoreFull):
            await put(store, "known", b"old")
        with pytest.raises(StoreFull):
            await copy(store, FileName("old"), FileName("copy"))
        with pytest.raises(StoreFull):
            await move(store, FileName("old"), FileName("moved"))
        with pytest.raises(StoreFull):
            await make_folder(store, FolderName("folder/"))
        assert await get(store, "old") == b"old"
        await delete(store, FileName("old"))
        assert await names(store) == []


async def test_on_a_full_disk_people_can_be_put_out(path: Path) -> None:
    async with opened(path) as store:
        people = People.of(store)
        await people.accounts.add("anna", None, admin=True)
        made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
        people.close()
    async with opened(path, min_free=2**62) as store:
        people = People.of(store)
        with pytest.raises(StoreFull):
            await people.accounts.add("bert", None)
        with pytest.raises(StoreFull):
            await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
        await people.accounts.set_password("anna", None, keep_tokens=True)
        await people.accounts.set_disabled("anna", disabled=True)
        await people.accounts.revoke_token(made.token.id)
        [account] = (await people.directory.reload()).accounts.values()
        assert account.disabled
        assert await people.accounts.tokens() == []
        await people.accounts.allow("anna", ROOT, None)
        people.close()


MIB = 1024 * 1024


async def test_the_log_is_bounded_under_a_large_upload(
    path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    store = await SQLiteStore.open(path, chunk_size=64 * 1024, log_bound=2 * MIB, one_file=True)
    try:
        await put(store, "before", bytes(MIB))
        sizes = []
        upload = store.contents.begin()
        for _ in range(8):
            batch = [Chunk.of(random_bytes(64 * 1024)) for _ in range(16)]
            # What this program reads at the same time is not in the way.
            await asyncio.gather(upload.append(batch), get(store, "before"))
            sizes.append(log_of(path).stat().st_size)
        await upload.abort()
    finally:
        await store.close()
    assert 2 * MIB <= max(sizes) < 4 * MIB


async def test_the_log_is_bounded_under_a_reader_that_stays(
    path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    store = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE, log_bound=MIB, log_full=4 * MIB)
    try:
        await put(store, "old", b"old")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM file").fetchall()
            for index in range(64):
                try:
                    await put(store, f"new{index}", random_bytes(64 * CHUNK_SIZE))
                except StoreUnavailable:
                    break
            else:
                pytest.fail("nothing was refused")
            assert index > 4
            # What needs little room goes on.
            assert await get(store, "old") == b"old"
            await delete(store, FileName("old"))
            assert log_of(path).stat().st_size < 6 * MIB
        await put(store, "new", b"new")
        assert await get(store, "new") == b"new"
    finally:
        await store.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


class PausedLookups(Lookups):
    """Look-ups that have their answer, and keep it from who asked until it may go on."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.answered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def run(self, job: Job[T]) -> T:
        answer = await super().run(job)
        self.answered.set()
        await self.go_on.wait()
        return answer


async def test_a_file_found_just_before_it_is_collected_can_be_read(path: Path) -> None:
    content = bytes(range(256)) * 100
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        await put(store, "a", content)
        await store._database.lookups.close()
        lookups = PausedLookups(await Connection.open(lambda: connect_reader(path)))
        object.__setattr__(store._database, "lookups", lookups)
        deleted = asyncio.Event()

        async def collect() -> Collected:
            await deleted.wait()
            return await collect_all(store.maintenance, 0)

        collection = asyncio.create_task(collect())

        async def download() -> bytes:
            async with store.contents.open(FileName("a")) as file:
                assert file is not None
                await collection
                return await store.contents.read(file.manifest, 0, len(content))

        downloading = asyncio.create_task(download())
        await lookups.answered.wait()
        await delete(store, FileName("a"))
        deleted.set()
        # It condemns the content, then waits for the look-up.
        while query(path, "SELECT 1 FROM manifest WHERE digest IS NOT NULL"):  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0)
        lookups.go_on.set()
        assert await downloading == content
        assert await collect_all(store.maintenance, 0) == Collected(
            manifests=1, chunks=2, size=5120
        )
        await lookups.close()


async def test_a_condemned_content_is_gone_after_a_restart(path: Path) -> None:
    async with opened(path) as store:
        await put(store, "a", b"x")
        await store._database.writable.run(lambda db: db.execute("DELETE FROM file"))
        await store._database.writable.run(lambda db: collecting._condemn(db, 1))
    async with opened(path) as store:
        assert await collect_all(store.maintenance, 0) == Collected(chunks=1, size=1)


async def test_space_goes_back_to_the_file_system(
    path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    async with opened(path) as store:
        await put(store, "kept", b"kept")
    empty = path.stat().st_size
    async with opened(path) as store:
        large = random_bytes(4 * 1024 * 1024)
        await put(store, "large", large)
        await delete(store, FileName("large"))
        await collect_all(store.maintenance, 0)
        assert await get(store, "kept") == b"kept"
    assert path.stat().st_size <= empty + 64 * 1024
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_small_content_of_one_chunk_comes_with_its_file(path: Path) -> None:
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        for size in (0, 1, CHUNK_SIZE, CHUNK_SIZE + 1):
            await put(store, "a", b"x" * size)
            async with store.contents.open(FileName("a"), inline=2 * CHUNK_SIZE) as file:
                assert file is not None
                assert file.content == (b"x" * size if size <= CHUNK_SIZE else None)


async def test_a_look_up_that_ends_the_transaction_fails_no_other(path: Path) -> None:
    def one(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT 1").fetchone()[0])

    def fail(db: sqlite3.Connection) -> int:
        # As SQLite does it at an I/O error.
        db.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    await opened_and_closed(path)
    lookups = await Lookups.open(path)
    outcomes = await asyncio.gather(*map(lookups.run, (one, fail, one)), return_exceptions=True)
    await lookups.close()
    assert outcomes[::2] == [1, 1]
    assert isinstance(outcomes[1], StoreError)


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_store_that_cannot_be_opened_leaves_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    async def fail(*_: object) -> Lookups:
        raise StoreUnavailable

    await opened_and_closed(path)
    monkeypatch.setattr(Lookups, "open", fail)
    with pytest.raises(StoreUnavailable):
        await SQLiteStore.open(path, read_only=read_only)
    held = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    assert [name for name in held if name.startswith(str(path))] == []


async def test_a_reader_that_still_runs_is_not_given_away(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def endless(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait()

    await opened_and_closed(path)
    readers = await ReaderPool.open(path, 2)
    left = asyncio.create_task(readers.run(endless))
    await asyncio.to_thread(begun.wait)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    async with asyncio.timeout(30):
        for _ in range(2):
            [one] = await readers.run(lambda db: db.execute("SELECT 1").fetchone())
            assert one == 1
    go_on.set()
    await readers.close()


async def test_damage_is_noted_once(path: Path) -> None:
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        await put(store, "a", b"whole")
        await store._database.writable.run(
            lambda db: db.execute("UPDATE chunk_data SET bytes = x'00'")
        )

        async def read_damaged() -> None:
            with pytest.raises(StoreDamaged):
                await get(store, "a")

        assert await count_commits(path, read_damaged) == 1
        assert await count_commits(path, read_damaged) == 0
        await put(store, "a", b"whole")
        assert await get(store, "a") == b"whole"


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5])
async def test_a_part_is_joined_in_steps_and_again_after_one(
    path: Path,
    random_bytes: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
    places: int,
) -> None:
    monkeypatch.setattr(reading, "PLACES_A_STEP", 2)
    content = random_bytes(places * CHUNK_SIZE) + b"tail"
    spec = UploadSpec(UploadKind.CONCATENATION, FileName("a"), "a/b", parts=[])
    async with opened(path, chunk_size=CHUNK_SIZE) as store:
        part = await begin(store, UploadSpec(UploadKind.PART, None, ""), content, whole=True)
        upload_id = await begin(store, replace(spec, parts=[part]))
        given_up = await acquire(store, upload_id, joining=True)
        step = resumable.CopyPlaces(upload_id, Join(part, given_up.epoch, 0, later()), 0).run
        await store._database.writable.run(step)
        # What was not confirmed is removed by the next lease, and the older one goes on no more.
        lease = await acquire(store, upload_id, joining=True)
        with pytest.raises(UploadSuperseded):
            await store._database.writable.run(step)
        await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        assert await get(store, "a") == content


async def test_parts_of_other_chunk_sizes_are_joined(
    path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    contents = {size: random_bytes(3 * size + 5) for size in (8192, 4096, 16384)}
    parts = []
    for chunk_size, content in contents.items():
        async with opened(path, chunk_size=chunk_size) as store:
            parts.append(await begin(store, PART, content, whole=True))
    whole = b"".join(contents.values())
    async with opened(path, chunk_size=4096) as store:
        spec = UploadSpec(UploadKind.CONCATENATION, FileName("a"), "a/b", parts=parts)
        upload_id = await begin(store, spec)
        lease = await acquire(store, upload_id, joining=True)
        for part in parts:
            await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=True)
        committed = await complete(store, upload_id, whole)
        assert committed.file.manifest.chunk_size == 16384
        assert await get(store, "a") == whole
        assert not any(step.damage for step in await scrub(store))
