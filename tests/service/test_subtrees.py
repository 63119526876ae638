"""Digests by chaining values: never wrong, and without reading what is known of a base."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.blake3_tree import chaining_values
from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import DIGEST_SIZE, Digest
from chunkstore.core.manifest import ChunkList, Manifest, tie
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.memory import MemoryBudget, Use
from chunkstore.service.subtrees.bases import Base
from chunkstore.service.subtrees.computing import ListDigest
from chunkstore.service.subtrees.digests import SubtreeDigests
from chunkstore.service.subtrees.lists import EvenList, Unprovable
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.edits import Put, Received
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.subtrees import PAGE_VALUES, SubtreePage
from tests.conftest import CHUNK_SIZE, on_sqlite
from tests.store.conformance import name_of, put
from tests.store.edits import delete, get_file
from tests.store.rows import Rows

MIB = 1024 * 1024
pytestmark = on_sqlite

# What lists are made of: chunks of the store's size, of less, and of a leaf.
RANDOM = Random(7)
WHOLE = [RANDOM.randbytes(CHUNK_SIZE) for _ in range(8)]
SHORT = [RANDOM.randbytes(size) for size in (1, 1023, 1024, 1025, CHUNK_SIZE - 1)]
LEAVES = [RANDOM.randbytes(1024) for _ in range(4)]


@dataclass
class Lists:
    """Makes lists of chunks that a store has, and their digests by their subtrees."""

    store: Store
    budget: MemoryBudget = field(default_factory=lambda: MemoryBudget(8 * MIB))
    _kept: list[Upload] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.digests = SubtreeDigests(self.store, self.budget.account(Use.DOWNLOAD), least_size=0)

    async def _append(self, chunks: Sequence[bytes]) -> Upload:
        upload = self.store.contents.begin()
        known = [KnownChunk(Digest.of(chunk), len(chunk)) for chunk in chunks]
        for start in range(0, len(known), 4096):
            await upload.append(known[start : start + 4096])
        return upload

    async def put(self, name: str, chunks: Sequence[bytes]) -> Manifest:
        """Make a file of a list."""
        upload, content = await self._append(chunks), b"".join(chunks)
        received = Received(upload, (), Digest.of(content), len(content))
        [committed] = await self.store.names.apply([Put(name_of(name), received, "text/plain")])
        return committed.file.manifest

    async def put_with_values(self, name: str, chunks: Sequence[bytes]) -> Manifest:
        """Make a file of a list, whose values are kept if it is cut evenly."""
        manifest = await self.put(name, chunks)
        with suppress(ValueError, IndexError):
            size = len(chunks[0])
            if len(chunks) > 1 and not any(len(chunk) != size for chunk in chunks[:-1]):
                await keep_values(self.store, manifest, size, b"".join(chunks))
        return manifest

    async def begin(self, rows: Rows, chunks: Sequence[bytes]) -> ChunkList:
        """Return the open list of an upload."""
        self._kept.append(await self._append(chunks))
        [(manifest,)] = await rows.fetch("SELECT max(id) FROM manifest WHERE digest IS NULL")
        return ChunkList(manifest, sum(map(len, chunks)), CHUNK_SIZE)

    async def find(self, rows: Rows, chunks: Sequence[bytes], *bases: str) -> Digest | None:
        """Return the digest of the content that a list has, if it is known by its bases."""
        found = await self.digests.find(await self.begin(rows, chunks), [*map(name_of, bases)])
        assert found in (None, Digest.of(b"".join(chunks)))
        assert self.budget.free == self.budget.limit
        return found

    async def idle(self) -> None:
        """Compute what is wanted."""
        while self.digests.waiting:
            await self.digests.compute_next()


async def keep_values(store: Store, manifest: Manifest, chunk_size: int, content: bytes) -> None:
    values = chaining_values([(0, content)], chunk_size)
    size = PAGE_VALUES * DIGEST_SIZE
    pages = [
        SubtreePage(place // DIGEST_SIZE * chunk_size, values[place : place + size])
        for place in range(0, len(values), size)
    ]
    await store.subtrees.keep(manifest.id, pages)


@pytest.fixture
async def lists(store: Store) -> Lists:
    await put(store, "pool", b"".join(WHOLE))
    for number, short in enumerate([*SHORT, *LEAVES]):
        await put(store, f"short{number}", short)
    return Lists(store)


async def values_of(store: Store, manifest: Manifest) -> bytes:
    return b"".join(page.values for page in await store.subtrees.find(manifest.id, 0, 1000))


async def lose(rows: Rows, *chunks: bytes) -> None:
    """Make chunks such that whoever reads them fails."""
    for chunk in chunks:
        await rows.lose_bytes(Digest.of(chunk).raw)


A, B, C, D, *_ = WHOLE


async def test_what_a_base_has_in_the_same_place_is_not_read(lists: Lists, rows: Rows) -> None:
    base = await lists.put_with_values("base", [A, B, C, A])
    assert await values_of(lists.store, base) == chaining_values([(0, A + B + C + A)], CHUNK_SIZE)
    await lose(rows, A, C)
    assert await lists.find(rows, [A, D, C, A], "base") is not None
    # It is read in another place.
    assert await lists.find(rows, [D, A, C, A], "base") is None


async def test_the_values_of_a_new_content_are_kept_for_the_next(lists: Lists, rows: Rows) -> None:
    await lists.put_with_values("base", [A, B, C])
    new = await lists.begin(rows, [A, B, D])
    assert await lists.digests.find(new, [name_of("base")]) == Digest.of(A + B + D)
    [page] = await lists.store.subtrees.find(new.id, 0, 10)
    assert page.values == chaining_values([(0, A + B + D)], CHUNK_SIZE)


@pytest.mark.parametrize("short", [None, *SHORT], ids=lambda chunk: len(chunk or b""))
@pytest.mark.parametrize("based", ["same", "none", "whole", "other"])
async def test_the_last_chunk_may_be_shorter(
    lists: Lists, rows: Rows, short: bytes | None, based: str
) -> None:
    end = [] if short is None else [short]
    ends = {"same": end, "none": [], "whole": [B], "other": [SHORT[1]]}
    await lists.put_with_values("base", [A, B, C, *ends[based]])
    await lose(rows, A, C)
    assert await lists.find(rows, [A, D, C, *end], "base") is not None


@pytest.mark.parametrize("base", [[A, B], [A, B, C, D, A, B, C], [A, B, C, D]])
async def test_a_base_may_be_longer_or_shorter(
    lists: Lists, rows: Rows, base: Sequence[bytes]
) -> None:
    await lists.put_with_values("base", base)
    await lose(rows, A, B)
    assert await lists.find(rows, [A, B, D], "base") is not None


@pytest.mark.parametrize(
    "base",
    [
        [A],
        [SHORT[0]],
        [],
        [*LEAVES],
        [A, SHORT[2], B],
        [SHORT[0], A, B],
        [SHORT[1], SHORT[1]],
    ],
    ids=["one", "one byte", "empty", "cut finer", "uneven", "uneven first", "no power of two"],
)
async def test_a_content_that_is_no_base_is_not_used(
    lists: Lists, rows: Rows, base: Sequence[bytes]
) -> None:
    manifest = await lists.put_with_values("base", base)
    assert await lists.find(rows, [A, B, C], "base") is None
    if base != [*LEAVES]:
        assert await values_of(lists.store, manifest) == b""


@pytest.mark.parametrize(
    "chunks",
    [[A], [SHORT[0]], [A, SHORT[0], B], [A, B, SHORT[0], C, SHORT[4]], [SHORT[1]] * 3, [LEAVES[0]]],
)
async def test_a_list_that_is_not_even_has_no_digest_by_values(
    lists: Lists, rows: Rows, chunks: Sequence[bytes]
) -> None:
    await lists.put_with_values("base", [A, B, C])
    assert await lists.find(rows, chunks, "base") is None


async def test_chunks_of_any_power_of_two_have_values(lists: Lists, rows: Rows) -> None:
    one, two, three, four = LEAVES
    await lists.put_with_values("base", [one, two, three, SHORT[0]])
    await lose(rows, two)
    assert await lists.find(rows, [four, two, three, one, SHORT[1]], "base") is not None


async def test_several_bases_are_used_together(lists: Lists, rows: Rows) -> None:
    await lists.put_with_values("first", [A, B, C, D])
    await lists.put_with_values("second", [D, C, C, C, B])
    await lose(rows, A, B)
    used = "missing", "pool", "first", "second", "first"
    assert await lists.find(rows, [A, C, C, D, B], *used) is not None


async def test_many_groups_of_many_pages(lists: Lists, rows: Rows) -> None:
    random = Random(3)
    count = 2 * 16 * PAGE_VALUES + PAGE_VALUES + 1
    base = [random.choice(LEAVES) for _ in range(count)]
    await lists.put_with_values("base", base)
    new = list(base)
    for place in (0, 1023, 1024, 16 * 1024 - 1, 16 * 1024, 20_000, count - 1):
        new[place] = LEAVES[(LEAVES.index(new[place]) + 1) % 4]
    for changed in ([*new, LEAVES[0]], new[: 16 * 1024], new[: 16 * 1024 + 1]):
        assert await lists.find(rows, changed, "base") is not None


chunk = st.sampled_from(WHOLE[:3])


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    base=st.lists(chunk, min_size=2, max_size=9),
    new=st.lists(chunk, min_size=2, max_size=9),
    ends=st.tuples(*[st.sampled_from([None, *SHORT])] * 2),
)
async def test_the_digest_is_that_of_the_content_whatever_the_base(
    lists: Lists,
    rows: Rows,
    base: list[bytes],
    new: list[bytes],
    ends: tuple[bytes | None, bytes | None],
) -> None:
    based, changed = (
        [*chunks, *filter(None, [end])] for chunks, end in zip((base, new), ends, strict=True)
    )
    await lists.put_with_values("base", based)
    assert await lists.find(rows, changed, "base") is not None


# What lies beside the truth


E, F, G, H = LEAVES
BASE = LEAVES * 700


@pytest.fixture
async def base(lists: Lists) -> Manifest:
    """Return a content of three pages."""
    return await lists.put_with_values("base", BASE)


async def forge(store: Store, manifest: Manifest, page: SubtreePage, at: int, bit: int) -> None:
    """Keep a page with a wrong bit, which nothing but a merge can tell."""
    values = bytearray(page.values)
    values[at] ^= 1 << bit
    await store.subtrees.keep(manifest.id, [SubtreePage(page.start, bytes(values))])


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("place", [0, -1])
async def test_a_wrong_value_gives_no_wrong_digest(
    lists: Lists, rows: Rows, base: Manifest, number: int, place: int
) -> None:
    page = (await lists.store.subtrees.find(base.id, 0, 3))[number]
    await forge(lists.store, base, page, place % len(page.values), 5)
    # Also where it would not have been used.
    assert await lists.find(rows, [*BASE[:-1], E], "base") is None
    assert await values_of(lists.store, base) == b""
    # It is computed again.
    lists.digests.want(name_of("base"), base.digest)
    await lists.idle()
    assert await lists.find(rows, [*BASE[:-1], E], "base") is not None


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 2), at=st.integers(0, 752 * DIGEST_SIZE - 1), bit=st.integers(0, 7))
async def test_no_bit_of_any_value_can_be_wrong_unseen(
    lists: Lists, rows: Rows, number: int, at: int, bit: int
) -> None:
    base = await lists.put_with_values("base", BASE)
    page = (await lists.store.subtrees.find(base.id, 0, 3))[number]
    await forge(lists.store, base, page, at, bit)
    assert await lists.find(rows, [*BASE[:-1], E], "base") is None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE subtree SET tie = tie + 1 WHERE start = $1",
        "UPDATE subtree SET start = start + 1 WHERE start = $1",
        "DELETE FROM subtree WHERE start = $1",
        "UPDATE subtree SET chaining_values = x'' WHERE start = $1",
        "UPDATE place SET tie = tie + 1 WHERE start = $1",
        "DELETE FROM place WHERE start = $1",
        "UPDATE chunk SET size = 1",
    ],
)
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_damage_is_seen(
    lists: Lists, rows: Rows, base: Manifest, damage: str, number: int
) -> None:
    new = await lists.begin(rows, [*BASE[:-1], E])
    await rows.fetch(damage.replace("$1", str(number * PAGE_VALUES * 1024)))
    assert await lists.digests.find(new, [name_of("base")]) is None
    assert lists.budget.free == lists.budget.limit


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_entries_of_a_base_are_those_that_were_sealed(
    lists: Lists, rows: Rows, base: Manifest, number: int
) -> None:
    """A list that was changed with its ties is not the one that the digest is of."""
    start = (number * PAGE_VALUES + 1) * 1024
    [(chunk,)] = await rows.fetch("SELECT id FROM chunk WHERE digest = $1", Digest.of(E).raw)
    await rows.fetch(
        "UPDATE place SET chunk = $1, tie = $2 WHERE manifest = $3 AND start = $4",
        chunk,
        tie_of_place(base.id, start, E),
        base.id,
        start,
    )
    forged = list(BASE)
    forged[number * PAGE_VALUES + 1] = E
    # Also where the base goes on behind the end of what is compared with it.
    for new in (forged[:-3], forged):
        assert await lists.find(rows, new, "base") is None


def tie_of_place(manifest: int, start: int, content: bytes) -> int:
    return tie(manifest, start, len(content), Digest.of(content).raw)


async def test_pages_of_another_content_are_not_its_own(
    lists: Lists, rows: Rows, base: Manifest
) -> None:
    other = await lists.put_with_values("other", [*BASE[:-1], E])
    for page in await lists.store.subtrees.find(other.id, 0, 3):
        await lists.store.subtrees.keep(base.id, [page])
    assert await lists.find(rows, [*BASE[:-1], F], "base") is None


async def test_pages_of_a_list_that_was_not_gone_through_to_its_end(
    lists: Lists, rows: Rows, base: Manifest
) -> None:
    """As a crash leaves them."""
    await rows.fetch("DELETE FROM subtree WHERE start >= $1", PAGE_VALUES * 1024)
    assert await lists.find(rows, [*BASE[:-1], E], "base") is None
    await lists.idle()
    # It was computed for the next time.
    assert await lists.find(rows, [*BASE[:-1], E], "base") is not None


# What happens meanwhile


async def test_a_base_that_is_deleted_meanwhile_stays_until_it_is_not_needed(
    lists: Lists, rows: Rows, base: Manifest
) -> None:
    new = await lists.begin(rows, [*BASE[:-1], E])
    finding = asyncio.create_task(lists.digests.find(new, [name_of("base")]))
    await asyncio.sleep(0)
    await delete(lists.store, name_of("base"))
    while not finding.done():
        await collect_all(lists.store.maintenance, 0)
    assert await finding in (None, Digest.of(b"".join([*BASE[:-1], E])))
    assert lists.budget.free == lists.budget.limit


@pytest.mark.parametrize(("changed", "is_worth_it"), [(1, True), (2, True), (3, False), (4, False)])
async def test_where_much_differs_the_content_is_read(
    lists: Lists, rows: Rows, changed: int, *, is_worth_it: bool
) -> None:
    manifest = await lists.put_with_values("base", [A, B, C, D])
    new = [*[WHOLE[4]] * changed, *[A, B, C, D][changed:]]
    even = EvenList(await lists.begin(rows, new), CHUNK_SIZE)
    bases = [Base(lists.store, EvenList(manifest, CHUNK_SIZE), manifest)]
    memory = lists.budget.account(Use.DOWNLOAD)
    computing = ListDigest(lists.store, memory, even, bases, most=CHUNK_SIZE)
    if is_worth_it:
        assert await computing.compute() == Digest.of(b"".join(new))
    else:
        with pytest.raises(Unprovable):
            await computing.compute()


async def test_one_that_is_cancelled_gives_its_memory_back(
    lists: Lists, rows: Rows, base: Manifest
) -> None:
    new = await lists.begin(rows, [E] * len(BASE))
    for steps in range(0, 120, 3):
        finding = asyncio.create_task(lists.digests.find(new, [name_of("base")]))
        for _ in range(steps):
            await asyncio.sleep(0)
        finding.cancel()
        await asyncio.wait({finding})
        assert lists.budget.free == lists.budget.limit
    assert await lists.find(rows, [E] * len(BASE), "base") is not None


async def test_little_memory_is_enough(store: Store, lists: Lists, rows: Rows) -> None:
    await lists.put_with_values("base", [A, B] * 30)
    small = Lists(store, MemoryBudget(3 * CHUNK_SIZE))
    assert await small.find(rows, [WHOLE[5]] * 60, "base") is not None


async def test_many_at_once_have_their_digests(lists: Lists, rows: Rows, base: Manifest) -> None:
    contents = [[*BASE[:place], H, *BASE[place:]] for place in range(0, 2800, 400)]
    new = [await lists.begin(rows, chunks) for chunks in contents]
    found = await asyncio.gather(*(lists.digests.find(one, [name_of("base")]) for one in new))
    assert found == [Digest.of(b"".join(chunks)) for chunks in contents]


async def test_a_base_without_values_gets_them_in_the_background(lists: Lists, rows: Rows) -> None:
    manifest = await lists.put("base", [A, B, C])
    assert await lists.find(rows, [A, B, D], "base") is None
    await lists.idle()
    assert len(await values_of(lists.store, manifest)) == 3 * DIGEST_SIZE
    await lose(rows, A)
    assert await lists.find(rows, [A, B, D], "base") is not None


async def test_values_in_the_background_are_taken_over_too(lists: Lists, rows: Rows) -> None:
    await lists.put_with_values("base", [A, B, C])
    new = await lists.put("new", [A, B, D])
    await lose(rows, A, B)
    lists.digests.want(name_of("new"), new.digest, [name_of("base")])
    await lists.idle()
    assert await values_of(lists.store, new) == chaining_values([(0, A + B + D)], CHUNK_SIZE)


async def test_nothing_is_computed_of_a_file_that_was_replaced(lists: Lists) -> None:
    old = await lists.put("a", [A, B, C])
    new = await lists.put("a", [A, B, D])
    lists.digests.want(name_of("a"), old.digest)
    lists.digests.want(name_of("missing"), old.digest)
    await lists.idle()
    assert await values_of(lists.store, new) == await values_of(lists.store, old) == b""


async def test_values_of_damaged_content_are_not_computed(lists: Lists, rows: Rows) -> None:
    manifest = await lists.put("a", [A, B, C])
    await lose(rows, C)
    lists.digests.want(name_of("a"), manifest.digest)
    await lists.idle()
    assert await values_of(lists.store, manifest) == b""


async def test_what_runs_in_the_background_stops(store: Store, lists: Lists) -> None:
    manifest = await lists.put("base", [WHOLE[at % 8] for at in range(5000)])
    for steps in (0, 1, 5, 20, 50):
        other = Lists(store)
        other.digests.task.start()
        other.digests.want(name_of("base"), manifest.digest)
        for _ in range(steps):
            await asyncio.sleep(0)
        await other.digests.task.stop()
        assert other.budget.free == other.budget.limit


async def test_names_that_wait_are_bounded(lists: Lists) -> None:
    digest = (await get_file(lists.store, name_of("pool"))).manifest.digest
    for number in range(2000):
        lists.digests.want(FileName(f"{number}"), digest)
    assert lists.digests.waiting == 1000
