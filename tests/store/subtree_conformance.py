"""The contract of chaining values, as tests; see `conformance`."""

from __future__ import annotations

import pytest
from blake3 import blake3

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import DIGEST_SIZE
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.subtrees import PAGE_VALUES, SubtreePage
from tests.store.conformance import CHUNK_SIZE, Suite, name_of, put
from tests.store.edits import delete
from tests.store.rows import Rows

PAGE_SIZE = PAGE_VALUES * CHUNK_SIZE


def pages(count: int, salt: int = 0) -> list[SubtreePage]:
    """Return pages of a list, the last one shorter, as they could be."""
    full = [bytes([page, salt]) * (PAGE_VALUES * DIGEST_SIZE // 2) for page in range(count - 1)]
    values = [*full, bytes([count, salt]) * DIGEST_SIZE]
    return [SubtreePage(number * PAGE_SIZE, value) for number, value in enumerate(values)]


def many() -> list[SubtreePage]:
    """Return short pages, more than are removed in one step."""
    return [SubtreePage(number * PAGE_SIZE, number.to_bytes(32)) for number in range(600)]


def tie_of(manifest: int, page: SubtreePage) -> int:
    """Return what ties a page to its list, by the words of `chunkstore.core.manifest`."""
    octets = manifest.to_bytes(8) + page.start.to_bytes(8) + page.values
    return int.from_bytes(blake3(octets).digest()[:8], signed=True)


async def count(rows: Rows) -> int:
    [(found,)] = await rows.fetch("SELECT count(*) FROM subtree")
    assert isinstance(found, int)
    return found


class SubtreeConformance(Suite):
    """The tests on chaining values."""

    async def test_pages_are_found_as_they_were_kept(self, store: Store, rows: Rows) -> None:
        manifest = (await put(store, "a", b"x")).file.manifest
        kept = pages(5)
        await store.subtrees.keep(manifest.id, kept[2:])
        await store.subtrees.keep(manifest.id, kept[:3])
        assert await store.subtrees.find(manifest.id, 0, 100) == kept
        assert await store.subtrees.find(manifest.id, 0, 2) == kept[:2]
        assert await store.subtrees.find(manifest.id, PAGE_SIZE, 2) == kept[1:3]
        assert await store.subtrees.find(manifest.id, 4 * PAGE_SIZE, 2) == kept[4:]
        assert await store.subtrees.find(manifest.id, 5 * PAGE_SIZE, 2) == []
        assert await store.subtrees.find(manifest.id + 1, 0, 2) == []
        found = await rows.fetch("SELECT start, chaining_values, tie FROM subtree ORDER BY start")
        expected = [(page.start, page.values, tie_of(manifest.id, page)) for page in kept]
        assert [tuple(row) for row in found] == expected

    async def test_a_page_takes_the_place_of_an_older_one(self, store: Store, rows: Rows) -> None:
        manifest = (await put(store, "a", b"x")).file.manifest
        await store.subtrees.keep(manifest.id, pages(3))
        await store.subtrees.keep(manifest.id, pages(3, salt=1)[1:2])
        found = await store.subtrees.find(manifest.id, 0, 3)
        assert found == [pages(3)[0], pages(3, salt=1)[1], pages(3)[2]]
        assert await count(rows) == 3

    async def test_an_open_list_has_pages_too(self, store: Store, rows: Rows) -> None:
        upload = store.contents.begin()
        chunk = Chunk.of(b"x" * CHUNK_SIZE)
        await upload.append([chunk] * 2)
        [(manifest,)] = await rows.fetch("SELECT id FROM manifest")
        await store.subtrees.keep(manifest, pages(2))
        assert await store.subtrees.find(manifest, 0, 2) == pages(2)
        await upload.abort()
        await collect_all(store.maintenance, 0)
        assert await count(rows) == 0

    async def test_nothing_is_kept_for_a_list_that_is_gone(self, store: Store, rows: Rows) -> None:
        await store.subtrees.keep(4711, pages(3))
        assert await count(rows) == 0

    async def test_pages_go_with_their_list(self, store: Store, rows: Rows) -> None:
        for name in "ab":
            manifest = (await put(store, name, name.encode())).file.manifest
            await store.subtrees.keep(manifest.id, many())
        await delete(store, name_of("a"))
        await collect_all(store.maintenance, 0)
        assert await count(rows) == 600
        assert await store.subtrees.find(manifest.id, 0, 600) == many()
        assert await rows.broken() == []

    async def test_dropped_pages_are_gone(self, store: Store, rows: Rows) -> None:
        kept = {}
        for name in "ab":
            kept[name] = (await put(store, name, name.encode())).file.manifest.id
            await store.subtrees.keep(kept[name], many())
        await store.subtrees.drop(kept["a"])
        assert await store.subtrees.find(kept["a"], 0, 1) == []
        assert await store.subtrees.find(kept["b"], 0, 600) == many()
        await store.subtrees.drop(kept["a"])

    @pytest.mark.parametrize(
        "damage",
        [
            "chaining_values = $1",
            "tie = tie + 1",
            "start = start + 1",
            "start = -9223372036854775808",
            "chaining_values = (SELECT chaining_values FROM subtree WHERE start = 0)",
        ],
    )
    async def test_no_page_is_found_from_a_damaged_one_on(
        self, store: Store, rows: Rows, damage: str
    ) -> None:
        manifest = (await put(store, "a", b"x")).file.manifest
        kept = pages(3)
        await store.subtrees.keep(manifest.id, kept)
        flipped = bytearray(kept[1].values)
        flipped[4711] ^= 0x10
        parameters = [bytes(flipped)] if "$1" in damage else []
        await rows.fetch(f"UPDATE subtree SET {damage} WHERE start = {PAGE_SIZE}", *parameters)
        found = await store.subtrees.find(manifest.id, 0, 3)
        # One that is elsewhere now is missed by whoever looks at where pages begin.
        assert list(found) in (kept[:1], [kept[0], kept[2]])
        # It is well again once it is kept again.
        await store.subtrees.keep(manifest.id, kept)
        await rows.fetch(f"DELETE FROM subtree WHERE start % {PAGE_SIZE} <> 0 OR start < 0")
        assert await store.subtrees.find(manifest.id, 0, 3) == kept

    async def test_a_page_of_another_list_is_none(self, store: Store, rows: Rows) -> None:
        first = (await put(store, "a", b"x")).file.manifest
        second = (await put(store, "b", b"y")).file.manifest
        await store.subtrees.keep(first.id, pages(2))
        await rows.fetch("UPDATE subtree SET manifest = $1", second.id)
        assert await store.subtrees.find(second.id, 0, 2) == []
