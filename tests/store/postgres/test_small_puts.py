"""Small puts that share a round trip: each comes to what it would have come to alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from chunkstore.core.access import Verbs
from chunkstore.core.conditional import (
    CREATE_ONLY,
    UNCONDITIONAL,
    Conditions,
    EntityTag,
    EntityTags,
)
from chunkstore.core.dav.if_header import ResourceTag, TagCondition, TagFormula
from chunkstore.core.digest import Digest
from chunkstore.core.errors import Locked, NameConflict, PreconditionFailed, VerbLacking
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.locks import UNGUARDED, Guard, WantedLock
from chunkstore.store.contract.values import Committed
from chunkstore.store.postgres import at_once
from chunkstore.store.postgres.at_once import SmallPut
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.names import ApplyEdits
from chunkstore.store.postgres.rows import Row
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.conformance import get, names, put, whole_put
from tests.store.edits import delete, make_folder
from tests.store.rows import Rows

pytestmark = on_postgres


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    yield store
    await store.close()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return those edits that were made step by step."""
    steps: list[object] = []
    run = ApplyEdits.run

    async def note_and_run(job: ApplyEdits, *arguments: Any) -> Any:  # noqa: ANN401 - as given
        steps.append(job)
        return await run(job, *arguments)

    monkeypatch.setattr(ApplyEdits, "run", note_and_run)
    return steps


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many puts each round has had."""
    rounds = []
    put_all = at_once._put_all

    async def note_and_put(db: Connection, puts: Sequence[SmallPut]) -> Sequence[Row | None]:
        rounds.append(len(puts))
        return await put_all(db, puts)

    monkeypatch.setattr(at_once, "_put_all", note_and_put)
    return rounds


async def test_many_puts_share_a_round_trip(store: PostgresStore, rounds: list[int]) -> None:
    contents = {f"{number % 3}/{number}": bytes([number]) * number for number in range(60)}
    committed = await asyncio.gather(*(put(store, *one) for one in contents.items()))
    assert sum(rounds) == len(contents)
    assert len(rounds) <= 5
    for (name, content), one in zip(contents.items(), committed, strict=True):
        assert one.file.name == name
        assert not one.replaced
        assert one.new_size == len(content)
        assert await get(store, name) == content


async def test_puts_of_one_name_in_one_round_come_one_after_the_other(
    store: PostgresStore, rounds: list[int]
) -> None:
    committed = await asyncio.gather(*(put(store, "a", b"%d" % number) for number in range(40)))
    assert max(rounds) > 10
    assert sum(not one.replaced for one in committed) == 1
    assert len({one.file.created for one in committed}) == 1
    assert await get(store, "a") in {b"%d" % number for number in range(40)}


async def test_one_that_is_refused_takes_nobody_along(
    store: PostgresStore, rows: Rows, rounds: list[int]
) -> None:
    await put(store, "file", b"x")
    results = await asyncio.gather(
        *(put(store, str(number), b"%d" % number) for number in range(10)),
        put(store, "file/a", b"in a file"),
        put(store, "file", b"again", CREATE_ONLY),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Committed] * 10 + [
        NameConflict,
        PreconditionFailed,
    ]
    assert await names(store) == sorted([*map(str, range(10)), "file"])
    for what, query in rows.broken_rows.items():
        assert await rows.fetch(query) == [], what


async def test_one_that_waits_for_a_lock_lets_the_others_go_on(
    store: PostgresStore, backend: Backend, rounds: list[int]
) -> None:
    await put(store, "locked", b"old")
    holder = await asyncpg.connect(backend.location)
    transaction = holder.transaction()
    await transaction.start()
    try:
        await holder.execute("SELECT FROM entry WHERE path = 'locked' FOR UPDATE")
        others = [put(store, str(number), b"%d" % number) for number in range(20)]
        waiting = asyncio.create_task(put(store, "locked", b"new"))
        await asyncio.gather(*others)
        assert not waiting.done()
        assert max(rounds) > 1
    finally:
        await transaction.rollback()
        await holder.close()
    assert (await waiting).replaced
    assert await get(store, "locked") == b"new"


def etags(*contents: bytes, weak: bool = False) -> Conditions:
    tags = (EntityTag(str(Digest.of(content)), weak) for content in contents)
    return Conditions(if_match=EntityTags(frozenset(tags)))


def tagged(*lists: Sequence[tuple[str, bytes, bool]]) -> Guard:
    """Return a guard of lists of names, the contents that are to be theirs, and whether not."""
    return Guard(
        tags=TagFormula(
            tuple(
                tuple(
                    (ResourceTag(name), TagCondition(str(Digest.of(content)), negated))
                    for name, content, negated in each
                )
                for each in lists
            )
        )
    )


OLD, OTHER = b"old", b"other"


@pytest.mark.parametrize(
    ("conditions", "guard", "holds", "at_once"),
    [
        (etags(OLD), UNGUARDED, True, True),
        (etags(OTHER, OLD), UNGUARDED, True, True),
        (etags(OTHER), UNGUARDED, False, False),
        (etags(OLD, weak=True), UNGUARDED, False, False),
        (etags(), UNGUARDED, False, False),
        (replace(etags(OLD), if_none_match=EntityTags(any=True)), UNGUARDED, False, False),
        (replace(etags(OLD), exact_dates=True), UNGUARDED, True, True),
        (Conditions(if_match=EntityTags(any=True)), UNGUARDED, True, False),
        (Conditions(if_match=EntityTags(frozenset({EntityTag("x")}))), UNGUARDED, False, False),
        (UNCONDITIONAL, tagged([("d/a", OLD, False)]), True, True),
        (UNCONDITIONAL, tagged([("d/a", OTHER, False)]), False, False),
        (UNCONDITIONAL, tagged([("d/a", OTHER, True)]), True, False),
        (UNCONDITIONAL, tagged([("d/b", OLD, False)]), False, False),
        (UNCONDITIONAL, tagged([("d/a", OLD, False), ("d/a", OTHER, False)]), False, False),
        (UNCONDITIONAL, tagged([("d/a", OTHER, False)], [("d/a", OLD, False)]), True, False),
        (etags(OLD), tagged([("d/a", OLD, False)]), True, True),
        (etags(OTHER), tagged([("d/a", OLD, False)]), False, False),
        (CREATE_ONLY, tagged([("d/a", OLD, False)]), False, False),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
async def test_conditions_hold_whichever_way_it_is_put(
    store: PostgresStore,
    steps: list[object],
    conditions: Conditions,
    guard: Guard,
    holds: bool,
    at_once: bool,
    strict: bool,
) -> None:
    await put(store, "d/a", OLD)
    steps.clear()
    edit = replace(whole_put(store, "d/a", b"new", conditions), strict=strict)
    if holds:
        [committed] = await store.names.apply([edit], guard=guard)
        assert committed.replaced
        assert bool(steps) is not at_once
    else:
        with pytest.raises(PreconditionFailed):
            await store.names.apply([edit], guard=guard)
    assert await get(store, "d/a") == (b"new" if holds else OLD)


async def test_one_that_is_strict_needs_its_folder(
    store: PostgresStore, steps: list[object], rows: Rows
) -> None:
    await put(store, "implied/x", b"1")
    await make_folder(store, FolderName("made/"))
    await make_folder(store, FolderName("gone/"))
    await delete(store, FolderName("gone/"))
    steps.clear()
    for name in ("a", "implied/a", "made/a", "made/a"):
        await store.names.apply([replace(whole_put(store, name, b"x"), strict=True)])
    assert steps == []
    # The row of a folder that is gone may be there.
    for name in ("none/a", "none/deep/a", "gone/a", "implied/x/a"):
        with pytest.raises(NameConflict):
            await store.names.apply([replace(whole_put(store, name, b"x"), strict=True)])
    assert await names(store) == ["a", "implied/a", "implied/x", "made/a"]
    for what, query in rows.broken_rows.items():
        assert await rows.fetch(query) == [], what


async def test_what_may_be_created_alone_replaces_nothing(store: PostgresStore) -> None:
    await put(store, "a", OLD)
    edit = replace(whole_put(store, "a", b"new", etags(OLD)), allowed=Verbs.CREATE)
    with pytest.raises(VerbLacking):
        await store.names.apply([edit])
    assert await get(store, "a") == OLD


async def test_every_lock_in_the_way_needs_its_token(
    store: PostgresStore, steps: list[object]
) -> None:
    await put(store, "d/a", OLD)
    tokens = []
    for name in (FileName("d/a"), FolderName("d/"), ROOT):
        wanted = WantedLock(name, True, False, "", "ann")
        tokens.append((await store.locks.take(wanted)).lock.token)
    other = await store.locks.take(WantedLock(FileName("d/a"), True, False, "", "bob"))
    guard = Guard(frozenset(tokens), "ann")

    async def write(guard: Guard) -> None:
        steps.clear()
        await store.names.apply([whole_put(store, "d/a", b"new")], guard=guard)

    # One of those that share it is enough, which is judged step by step.
    await write(guard)
    assert steps
    await store.locks.release(other.lock.token)
    await write(guard)
    assert steps == []
    for each in (UNGUARDED, replace(guard, principal="bob"), replace(guard, principal="")):
        with pytest.raises(Locked):
            await write(each)
    await write(Guard(frozenset(tokens[:1]), "ann"))
    assert steps
