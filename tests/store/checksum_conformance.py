"""The contract of checksums, as tests; see `conformance`."""

from __future__ import annotations

import asyncio

import pytest
from blake3 import blake3

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.digest import Digest
from chunkstore.core.errors import PreconditionFailed
from chunkstore.core.names import FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Copy, Move, Put, Received
from chunkstore.store.contract.store import Store
from tests.store.conformance import Suite, name_of, put
from tests.store.edits import delete
from tests.store.rows import Rows

SUMS = {"md5": bytes(range(16)), "sha1": bytes(range(20))}


def tie_of(manifest: int, algorithm: str, value: bytes) -> int:
    """Return what ties a value to its content, by the words of `chunkstore.core.manifest`."""
    octets = manifest.to_bytes(8, signed=True) + algorithm.encode() + b"\0" + value
    return int.from_bytes(blake3(octets).digest()[:8], signed=True)


async def put_id(store: Store, name: str, content: bytes) -> int:
    return (await put(store, name, content)).file.manifest.id


async def count(rows: Rows) -> int:
    [(found,)] = await rows.fetch("SELECT count(*) FROM checksum")
    assert isinstance(found, int)
    return found


class ChecksumConformance(Suite):
    """The tests on checksums."""

    async def test_checksums_are_found_as_they_were_kept(self, store: Store, rows: Rows) -> None:
        first, second, third = [await put_id(store, name, name.encode()) for name in "abc"]
        await store.checksums.keep({first: SUMS, second: {"sha1": bytes(20)}})
        found = await store.checksums.find([third, second, first, 4711])
        assert found == {first: SUMS, second: {"sha1": bytes(20)}}
        assert await store.checksums.find([third]) == {}
        assert await store.checksums.find([]) == {}
        kept = await rows.fetch(
            "SELECT algorithm, value, tie FROM checksum WHERE manifest = $1 ORDER BY algorithm",
            first,
        )
        assert [tuple(row) for row in kept] == [
            (algorithm, value, tie_of(first, algorithm, value)) for algorithm, value in SUMS.items()
        ]

    async def test_a_put_keeps_what_is_known_of_its_content(self, store: Store) -> None:
        """In whichever way a file is put, and whatever it takes the place of."""
        large = [bytes([number]) * 4096 for number in range(40)]
        ways = {"at once": [b"small"], "nothing": [], "in batches": large}
        for number, (name, chunks) in enumerate(ways.items()):
            for strict in (False, True):
                kept = {"md5": bytes([number]) * 16, "sha1": bytes([number]) * 20}
                upload = store.contents.begin()
                for chunk in chunks[:-1]:
                    await upload.append([Chunk.of(chunk)])
                content = b"".join(chunks)
                last = [Chunk.of(chunk) for chunk in chunks[-1:]]
                received = Received(upload, last, Digest.of(content), len(content), kept)
                put = Put(name_of(name), received, "text/plain", strict=strict)
                [committed] = await store.names.apply([put])
                list_id = committed.file.manifest.id
                assert await store.checksums.find([list_id]) == {list_id: kept}

    async def test_a_put_repairs_what_is_damaged(self, store: Store, rows: Rows) -> None:
        for damage in ("tie = tie + 1", "algorithm = 'mc5'"):
            upload = store.contents.begin()
            received = Received(upload, [Chunk.of(b"x")], Digest.of(b"x"), 1, SUMS)
            [committed] = await store.names.apply([Put(name_of("a"), received, "text/plain")])
            list_id = committed.file.manifest.id
            assert await store.checksums.find([list_id]) == {list_id: SUMS}
            await rows.fetch(f"UPDATE checksum SET {damage} WHERE algorithm = 'md5'")
            found = await store.checksums.find([list_id])
            assert found == {list_id: {"sha1": SUMS["sha1"]}}

    async def test_a_put_that_fails_keeps_nothing(self, store: Store, rows: Rows) -> None:
        await put(store, "a", b"y")
        for content in (b"x", b"y"):
            upload = store.contents.begin()
            received = Received(upload, [Chunk.of(content)], Digest.of(content), 1, SUMS)
            refused = Put(name_of("a"), received, "text/plain", CREATE_ONLY)
            with pytest.raises(PreconditionFailed):
                await store.names.apply([refused])
        assert await count(rows) == 0

    async def test_a_thousand_contents_are_asked_for_at_once(self, store: Store) -> None:
        kept = {await put_id(store, f"{number}", b"%d" % number): SUMS for number in range(7)}
        await store.checksums.keep(kept)
        assert await store.checksums.find([*range(5000, 6000), *kept]) == kept

    async def test_a_checksum_takes_the_place_of_an_older_one(
        self, store: Store, rows: Rows
    ) -> None:
        content = await put_id(store, "a", b"x")
        await store.checksums.keep({content: SUMS})
        await store.checksums.keep({content: SUMS})
        await store.checksums.keep({content: {"sha1": bytes(20), "sha256": bytes(32)}})
        expected = {**SUMS, "sha1": bytes(20), "sha256": bytes(32)}
        assert await store.checksums.find([content]) == {content: expected}
        assert await count(rows) == 3

    async def test_they_stay_with_the_content_under_whatever_names(self, store: Store) -> None:
        content = await put_id(store, "a/b", b"x")
        await store.checksums.keep({content: SUMS})
        await store.names.apply([Copy(name_of("a/b"), name_of("c"))])
        await store.names.apply([Move(FolderName("a/"), FolderName("d/"))])
        for name in ("c", "d/b"):
            file = await store.names.find(name_of(name))
            assert file is not None
            found = await store.checksums.find([file.manifest.id])
            assert found == {file.manifest.id: SUMS}

    async def test_nothing_is_kept_for_what_is_no_content(self, store: Store, rows: Rows) -> None:
        upload = store.contents.begin()
        await upload.append([Chunk.of(b"x" * 4096)] * 2)
        [(open_list,)] = await rows.fetch("SELECT id FROM manifest")
        content = await put_id(store, "a", b"x")
        await store.checksums.keep({4711: SUMS, open_list: SUMS, content: SUMS})
        assert await store.checksums.find([4711, open_list, content]) == {content: SUMS}
        assert await count(rows) == 2
        await store.checksums.keep({})
        await upload.abort()

    async def test_they_go_with_the_content(self, store: Store, rows: Rows) -> None:
        gone, stays = await put_id(store, "a", b"a"), await put_id(store, "b", b"b")
        await store.checksums.keep({gone: SUMS, stays: SUMS})
        await delete(store, name_of("a"))
        await collect_all(store.maintenance, 0)
        assert await store.checksums.find([gone, stays]) == {stays: SUMS}
        assert await count(rows) == 2
        await store.checksums.keep({gone: SUMS})
        assert await count(rows) == 2
        assert await rows.broken() == []

    async def test_they_are_kept_while_contents_go(self, store: Store, rows: Rows) -> None:
        """Neither waits for the other for ever, and nothing is left behind."""
        known = {await put_id(store, f"{number}", b"%d" % number): SUMS for number in range(20)}
        for number in range(20):
            await delete(store, name_of(f"{number}"))
        keeping = (store.checksums.keep(known) for _ in range(4))
        await asyncio.gather(collect_all(store.maintenance, 0), *keeping)
        await collect_all(store.maintenance, 0)
        assert await count(rows) == 0
        assert await rows.broken() == []

    @pytest.mark.parametrize(
        "damage",
        ["value = $1", "tie = tie + 1", "algorithm = 'sha256'", "algorithm = 'mc5'"],
    )
    async def test_a_damaged_one_is_not_known(self, store: Store, rows: Rows, damage: str) -> None:
        content = await put_id(store, "a", b"x")
        await store.checksums.keep({content: SUMS})
        flipped = bytearray(SUMS["md5"])
        flipped[3] ^= 0x10
        parameters = [bytes(flipped)] if "$1" in damage else []
        await rows.fetch(f"UPDATE checksum SET {damage} WHERE algorithm = 'md5'", *parameters)
        assert await store.checksums.find([content]) == {content: {"sha1": SUMS["sha1"]}}
        # It is well again once it is kept again.
        await store.checksums.keep({content: SUMS})
        assert await store.checksums.find([content]) == {content: SUMS}

    async def test_one_of_another_content_is_none(self, store: Store, rows: Rows) -> None:
        first, second = await put_id(store, "a", b"x"), await put_id(store, "b", b"y")
        await store.checksums.keep({first: SUMS})
        await rows.fetch("UPDATE checksum SET manifest = $1", second)
        assert await store.checksums.find([first, second]) == {}
