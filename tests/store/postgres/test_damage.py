"""Damage of rows: whatever byte of them changes, what is answered is what was put."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import asyncpg
import pytest

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.digest import Digest
from chunkstore.core.errors import PreconditionFailed, StoreDamaged, StoreError
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.service import Service
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, RandomBytes, on_postgres
from tests.store.conformance import get, put, scrub
from tests.store.edits import copy, delete, move
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, complete

pytestmark = on_postgres

RANDOM: Final = random.Random(20261128)
# No two names become each other by one byte.
FILES: Final = {
    "alpha/first": RANDOM.randbytes(2 * CHUNK_SIZE + 5),
    "beta": RANDOM.randbytes(CHUNK_SIZE),
    "nothing": b"",
}
# The same content as another.
FILES["third"] = FILES["alpha/first"]
# What says which bytes belong to which name, and by what a row of it is found.
TABLES: Final = {
    "entry": "path",
    "manifest": "id",
    "place": "manifest, start",
    "chunk_data": "digest",
    "chunk": "digest",
}
# One byte after the other is changed by one of these in turn.
MASKS: Final = (0x01, 0xFF, 0x80)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    yield store
    await store.close()


class Change(NamedTuple):
    """Another value for a column of the rows with a key."""

    table: str
    column: str
    key: tuple[Any, ...]
    old: Any
    new: Any


async def changes_of(rows: Rows, table: str) -> list[Change]:
    """Return all changes of one byte in a table, but for the times and types of files."""
    key = TABLES[table].split(", ")
    columns = dict(
        await rows.fetch(
            "SELECT column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_name = $1 AND is_generated = 'NEVER'",
            table,
        )
    )
    found: list[Change] = []
    for row in await rows.fetch(f"SELECT {', '.join(columns)} FROM {table}"):
        values = dict(zip(columns, row, strict=True))
        of_row = tuple(values[column] for column in key)
        for column, kind in columns.items():
            if column not in ("media_type", "created", "modified", "stored_size"):
                old = values[column]
                found += [Change(table, column, of_row, old, new) for new in changed(old, kind)]
    return found


def changed(value: Any, kind: str) -> Iterator[Any]:  # noqa: ANN401 - whatever a column has
    """Yield the values that differ from one of a type of PostgreSQL in one byte."""
    if value is None:
        return
    if kind == "boolean":
        yield not value
    elif kind == "text":
        # It stays text.
        yield from (one.decode() for one in flipped(value.encode(), [0x01]))
    elif kind == "bytea":
        yield from flipped(value, MASKS)
    else:
        octets = value.to_bytes({"smallint": 2, "integer": 4, "bigint": 8}[kind], signed=True)
        yield from (int.from_bytes(one, signed=True) for one in flipped(octets, MASKS))


def flipped(octets: bytes, masks: Sequence[int]) -> Iterator[bytes]:
    """Yield them with one byte changed; of many some do."""
    for place in range(0, len(octets), max(1, len(octets) // 64)):
        mask = masks[place % len(masks)]
        yield octets[:place] + bytes([octets[place] ^ mask]) + octets[place + 1 :]


async def make(rows: Rows, change: Change, value: Any, key: tuple[Any, ...]) -> bool:  # noqa: ANN401 - likewise
    """Change a column of a row, whatever refers to it; return whether the database lets us."""
    names = TABLES[change.table].split(", ")
    where = " AND ".join(f"{name} = ${place}" for place, name in enumerate(names, start=2))
    update = f"UPDATE {change.table} SET {change.column} = $1 WHERE {where}"
    with suppress(asyncpg.IntegrityConstraintViolationError):
        await rows.fetch(update, value, *key)
        return True
    return False


def key_after(change: Change) -> tuple[Any, ...]:
    names = TABLES[change.table].split(", ")
    return tuple(
        change.new if name == change.column else value
        for name, value in zip(names, change.key, strict=True)
    )


async def read_all(store: PostgresStore) -> int:
    """Read all names; return how many could be read whole."""
    store.contents._reader._spans.clear()
    service = Service(store, MemoryBudget(1024 * 1024))
    names = set(FILES)
    with suppress(StoreError):
        names |= {file.name for file in (await store.names.list()).files}
    return sum([await read(service, name) for name in sorted(names)])


async def read(service: Service, name: str) -> bool:
    """Read a file whole, and parts of it; return whether it was answered."""
    answered = False
    with suppress(StoreError):
        async with service.store.contents.open(FileName(name), inline=CHUNK_SIZE) as file:
            if file is None:
                return False
            digest = file.manifest.digest
            content = next(one for one in FILES.values() if Digest.of(one) == digest)
            assert name not in FILES or content == FILES[name]
            assert file.content is None or file.content == content
            size = file.manifest.size
            with suppress(StoreError):
                parts = [part async for part in service.reader.stream(file.manifest, 0, size)]
                assert b"".join(parts) == content
                answered = True
            for start in range(0, size, CHUNK_SIZE - 1):
                stop = min(start + 500, size)
                with suppress(StoreError):
                    part = await service.store.contents.read(file.manifest, start, stop)
                    assert part == content[start:stop]
    return answered


@pytest.mark.parametrize("table", TABLES)
async def test_whatever_byte_changes_what_is_answered_is_what_was_put(
    store: PostgresStore, backend: Backend, rows: Rows, table: str
) -> None:
    for name, content in FILES.items():
        await put(store, name, content)
    # It marks nothing, so that the next change finds all as it was.
    reading = await PostgresStore.open(backend.location, read_only=True)
    await rows.fetch("SET session_replication_role = replica")
    try:
        assert await read_all(reading) == len(FILES)
        changes = await changes_of(rows, table)
        fewer = made = 0
        for change in changes:
            if await make(rows, change, change.new, change.key):
                made += 1
                fewer += await read_all(reading) < len(FILES)
                assert await make(rows, change, change.old, key_after(change))
        assert await read_all(reading) == len(FILES)
        assert made > 0.9 * len(changes)
        # Files repeat all that is needed of a manifest, and places all but the codec of a chunk.
        assert fewer == 0 if table == "manifest" else fewer > made / 4
    finally:
        await rows.fetch("SET session_replication_role = origin")
        await reading.close()


@pytest.mark.parametrize(
    "change",
    [
        "created = 1::bigint << 62",
        "proof = proof + 1",
        "manifest = 77",
        "manifest = (SELECT manifest FROM entry WHERE path = 'other')",
        "list = digest",
        "size = size + 1",
    ],
)
async def test_an_entry_that_is_damaged_is_told_of_and_can_be_put_or_deleted(
    store: PostgresStore, rows: Rows, change: str
) -> None:
    for name in ("a", "b", "c/d", "other"):
        await put(store, name, name.encode())
    await rows.fetch(f"UPDATE entry SET {change} WHERE path IN ('a', 'b', 'c/d')")
    with pytest.raises(StoreDamaged, match="entry of 'a' is damaged; put or delete it"):
        await store.names.list()
    found = [damage for step in await scrub(store) for damage in step.damage]
    names = {name for damage in found if damage.kind == "name" for name in damage.files}
    assert names == {"a", "b", "c/d"}
    for name in ("a", "b", "c/d"):
        with pytest.raises(StoreDamaged, match=f"entry of '{name}' is damaged"):
            await get(store, name)
        assert set(await store.locks.etags([name, "other"])) == {"other"}
        with pytest.raises(StoreDamaged):
            await store.names.find(FileName(name))
    for edit in (copy, move):
        with pytest.raises(StoreDamaged):
            await edit(store, FileName("a"), FileName("elsewhere"))
    with pytest.raises((StoreDamaged, PreconditionFailed)):
        await put(store, "a", b"new", CREATE_ONLY)
    await put(store, "a", b"new")
    await delete(store, FileName("b"))
    await delete(store, FolderName("c/"))
    assert await get(store, "a") == b"new"
    assert [file.name for file in (await store.names.list()).files] == ["a", "other"]
    await collect_all(store.maintenance, 0)
    assert not any(step.damage for step in await scrub(store))


async def test_one_damaged_entry_hides_no_other_that_is_looked_up_with_it(
    store: PostgresStore, rows: Rows
) -> None:
    names = [str(number) for number in range(20)]
    for name in names:
        await put(store, name, name.encode())
    await rows.fetch("UPDATE entry SET proof = proof + 1 WHERE path = '7'")
    results = await asyncio.gather(*(get(store, name) for name in names), return_exceptions=True)
    assert isinstance(results.pop(7), StoreDamaged)
    assert results == [name.encode() for name in names if name != "7"]


@pytest.mark.parametrize("by", ["a put", "a resumable upload"])
async def test_a_list_found_damaged_by_a_reader_is_replaced_for_all_its_names(
    store: PostgresStore, rows: Rows, random_bytes: RandomBytes, by: str
) -> None:
    content = random_bytes(30 * CHUNK_SIZE)
    await put(store, "a", content)
    await copy(store, FileName("a"), FileName("b"))
    await put(store, "own list", content)
    await rows.fetch(
        "UPDATE place SET tie = tie + 1 WHERE start = $1 AND manifest = $2",
        *(20 * CHUNK_SIZE, await rows.manifest_of("a")),
    )
    assert await get_part(store, "a", 0, 10 * CHUNK_SIZE) == content[: 10 * CHUNK_SIZE]
    with pytest.raises(StoreDamaged):
        await get(store, "b")
    assert await get(store, "own list") == content
    if by == "a put":
        await put(store, "c", content, appended=25)
    else:
        spec = UploadSpec(UploadKind.FILE, FileName("c"), "text/plain")
        await complete(store, await begin(store, spec, content, whole=True), content)
    for name in ("a", "b", "c", "own list"):
        assert await get(store, name) == content
    assert len({await rows.manifest_of(name) for name in ("a", "b", "c")}) == 1
    assert await rows.fetch("SELECT FROM damaged_list") == []
    await collect_all(store.maintenance, 0)
    assert not any(step.damage for step in await scrub(store))
    assert await rows.broken() == []


async def get_part(store: PostgresStore, name: str, start: int, stop: int) -> bytes:
    async with store.contents.open(FileName(name)) as file:
        assert file is not None
        return await store.contents.read(file.manifest, start, stop)


async def test_a_scrub_takes_back_the_mark_of_a_list_that_is_whole(
    store: PostgresStore, rows: Rows
) -> None:
    await put(store, "a", b"x")
    manifest = await rows.manifest_of("a")
    change = "UPDATE place SET tie = tie # 1 WHERE manifest = $1"
    await rows.fetch(change, manifest)
    assert any(step.damage for step in await scrub(store))
    assert await rows.fetch("SELECT manifest FROM damaged_list") == [(manifest,)]
    await rows.fetch(change, manifest)
    assert not any(step.damage for step in await scrub(store))
    assert await rows.fetch("SELECT manifest FROM damaged_list") == []


@pytest.mark.parametrize("change", ["size = size + 1", "codec = 1", "codec = 77"])
async def test_a_chunk_of_which_something_wrong_is_said_is_put_again(
    store: PostgresStore, rows: Rows, change: str
) -> None:
    await put(store, "a", b"content")
    await rows.fetch(f"UPDATE chunk SET {change}")
    [damage] = [damage for step in await scrub(store) for damage in step.damage]
    assert (damage.kind, damage.files) == ("chunk", ["a"])
    await put(store, "b", b"content")
    assert not any(step.damage for step in await scrub(store))
    assert await get(store, "a") == b"content"


async def test_a_reference_that_is_missing_is_found_before_a_collection_takes_the_chunk(
    store: PostgresStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(5 * CHUNK_SIZE)
    await put(store, "a", content)
    await rows.fetch("DELETE FROM chunk_ref WHERE digest = (SELECT digest FROM chunk LIMIT 1)")
    [damage] = [damage for step in await scrub(store) for damage in step.damage]
    assert (damage.kind, damage.files) == ("content", ["a"])
    await put(store, "a", content)
    await collect_all(store.maintenance, 0)
    assert await get(store, "a") == content
    assert not any(step.damage for step in await scrub(store))
    assert await rows.broken() == []


async def test_the_mark_of_a_list_goes_with_it(store: PostgresStore, rows: Rows) -> None:
    await put(store, "a", b"x")
    await rows.fetch("UPDATE place SET tie = tie + 1")
    await scrub(store)
    await delete(store, FileName("a"))
    await collect_all(store.maintenance, 0)
    assert await rows.fetch("SELECT manifest FROM damaged_list") == []
