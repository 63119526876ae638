"""The contract of quotas as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chunkstore.core.errors import ChunkstoreError, NotFound, QuotaExceeded
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move
from chunkstore.store.contract.quotas import Quota, Usage
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from tests.store.conformance import CHUNK_SIZE, Reopen, Suite, cut, put, whole_put
from tests.store.edits import copy, delete, make_folder, move
from tests.store.pack_conformance import hold, known, refer
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, complete

A, B, AB = FolderName("a/"), FolderName("b/"), FolderName("a/b/")


async def used(store: Store) -> dict[str, tuple[int, int]]:
    return {
        quota.folder: (quota.used.size, quota.used.files) for quota in await store.quotas.list()
    }


async def require_exact(store: Store) -> None:
    """Check that a recount finds what is kept."""
    assert [found.drift async for found in store.quotas.recount()] == [
        Usage(0, 0) for _ in await store.quotas.list()
    ]


async def refused(store: Store, *edits: Edit) -> QuotaExceeded:
    before = await used(store)
    with pytest.raises(QuotaExceeded) as caught:
        await store.names.apply(edits)
    assert await used(store) == before
    return caught.value


class QuotaConformance(Suite):
    """What every store owes those who set quotas in it."""

    async def test_what_is_there_is_counted(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, "a/x", b"12345")
        await put(store, "a/b/y", b"123")
        await put(store, "ab", b"1")
        await make_folder(store, FolderName("a/made/"))
        assert await store.quotas.set(A, 100, 10) == Quota(A, 100, 10, Usage(8, 2))
        assert await store.quotas.set(ROOT, None, 5) == Quota(ROOT, None, 5, Usage(9, 3))
        assert await store.quotas.set(FolderName("none/"), 0, None) == Quota(
            FolderName("none/"), 0, None, Usage(0, 0)
        )
        # What it allows changes, what is used stays.
        await put(store, "a/z", b"22")
        assert await store.quotas.set(A, 3, None) == Quota(A, 3, None, Usage(10, 3))
        store = await reopen()
        assert await used(store) == {"": (11, 4), "a/": (10, 3), "none/": (0, 0)}
        await store.quotas.remove(A)
        with pytest.raises(NotFound):
            await store.quotas.remove(A)
        assert await used(store) == {"": (11, 4), "none/": (0, 0)}

    async def test_no_quota_allows_less_than_nothing(self, reopen: Reopen) -> None:
        store = await reopen()
        limits: Sequence[tuple[int | None, int | None]] = [
            (None, None), (-1, None), (None, -1), (1 << 63, 1), (5, 1 << 70)
        ]  # fmt: skip
        for most in limits:
            with pytest.raises(ValueError, match="quota"):
                await store.quotas.set(A, *most)
        assert await used(store) == {}
        # The largest is as good as none.
        await store.quotas.set(A, (1 << 63) - 1, (1 << 63) - 1)
        await put(store, "a/x", b"x")
        assert await used(store) == {"a/": (1, 1)}

    async def test_the_last_byte_fits_and_no_more(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(A, 10, None)
        await put(store, "a/x", b"123456")
        await put(store, "a/y", b"1234")
        error = await refused(store, whole_put(store, "a/z", b"1"))
        assert (error.folder, error.unit, error.limit, error.used) == ("a/", "bytes", 10, 10)
        # An empty file fits, and so does what replaces one that is not smaller.
        await put(store, "a/z", b"")
        await put(store, "a/x", b"654321")
        await put(store, "a/x", b"1")
        await put(store, "a/y", b"123456789")
        await refused(store, whole_put(store, "a/y", b"1234567890"))
        # Elsewhere it does not count.
        await put(store, "ab", b"x" * 100)
        await put(store, "b/a/z", b"x" * 100)
        assert await used(store) == {"a/": (10, 3)}

    async def test_files_are_counted_too(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(A, None, 2)
        await put(store, "a/x", b"x" * 1000)
        await put(store, "a/y", b"")
        error = await refused(store, whole_put(store, "a/z", b""))
        assert (error.unit, error.limit, error.used) == ("files", 2, 2)
        await put(store, "a/x", b"y" * 5000)
        await make_folder(store, FolderName("a/folders/"))
        assert await used(store) == {"a/": (5000, 2)}

    async def test_all_folders_above_count(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(ROOT, 100, None)
        await store.quotas.set(A, 50, None)
        await store.quotas.set(AB, None, 2)
        await put(store, "a/b/x", b"x" * 40)
        assert await used(store) == {"": (40, 1), "a/": (40, 1), "a/b/": (40, 1)}
        assert (await refused(store, whole_put(store, "a/b/y", b"y" * 11))).folder == "a/"
        await put(store, "c", b"y" * 60)
        assert (await refused(store, whole_put(store, "a/b/y", b"y"))).folder == ""
        assert [quota.folder for quota in await store.quotas.covering(FileName("a/b/x"))] == [
            "", "a/", "a/b/"
        ]  # fmt: skip
        assert [quota.folder for quota in await store.quotas.covering(AB)] == ["", "a/", "a/b/"]
        assert [quota.folder for quota in await store.quotas.covering(FileName("ab"))] == [""]

    async def test_what_uses_less_always_works(self, reopen: Reopen) -> None:
        store = await reopen()
        for number in range(4):
            await put(store, f"a/{number}", b"x" * 10)
        await store.quotas.set(A, 5, 1)
        await put(store, "a/0", b"y" * 10)
        await put(store, "a/0", b"y" * 9)
        await refused(store, whole_put(store, "a/0", b"y" * 10))
        await refused(store, whole_put(store, "a/5", b""))
        await refused(store, Copy(FileName("a/1"), FileName("a/5")))
        await move(store, FileName("a/1"), FileName("a/5"))
        await move(store, FileName("a/2"), FileName("b"))
        await delete(store, FileName("a/3"))
        assert await used(store) == {"a/": (19, 2)}
        # Neither more bytes for fewer files, nor more files for fewer bytes.
        await put(store, "elsewhere", b"x" * 100)
        await refused(
            store,
            Delete(FileName("a/5")),
            Move(FileName("elsewhere"), FileName("a/0")),
        )
        await delete(store, A)
        assert await used(store) == {"a/": (0, 0)}
        await put(store, "a/x", b"12345")

    async def test_copies_count_in_full_and_moves_move(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(A, 10, None)
        await store.quotas.set(B, 10, None)
        await put(store, "a/x", b"12345")
        await copy(store, FileName("a/x"), FileName("b/x"))
        await copy(store, FileName("a/x"), FileName("a/y"))
        await refused(store, Copy(FileName("a/x"), FileName("a/z")))
        assert await used(store) == {"a/": (10, 2), "b/": (5, 1)}
        await put(store, "b/large", b"12345")
        await refused(store, Move(FileName("a/x"), FileName("b/y")))
        await move(store, FileName("a/x"), FileName("b/x"))
        assert await used(store) == {"a/": (5, 1), "b/": (10, 2)}
        await move(store, FileName("b/x"), FileName("c"))
        await move(store, FileName("c"), FileName("a/c"))
        assert await used(store) == {"a/": (10, 2), "b/": (5, 1)}
        await require_exact(store)

    async def test_folders_count_for_quotas_above_and_below(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(A, 100, None)
        await store.quotas.set(AB, 50, None)
        await store.quotas.set(FolderName("c/b/"), 5, None)
        await put(store, "a/x", b"x" * 10)
        await put(store, "a/b/y", b"y" * 6)
        # Into a sibling, which has a smaller quota below.
        error = await refused(store, Copy(A, FolderName("c/")))
        assert (error.folder, error.used) == ("c/b/", 0)
        await store.quotas.set(FolderName("c/b/"), 6, None)
        await copy(store, A, FolderName("c/"))
        assert await used(store) == {"a/": (16, 2), "a/b/": (6, 1), "c/b/": (6, 1)}
        # Into itself's sibling, with quotas around both.
        for number in range(5):
            await copy(store, AB, FolderName(f"a/{number}/"))
        await copy(store, AB, FolderName("a/0/"))
        assert (await used(store))["a/"] == (46, 7)
        await store.quotas.set(A, 51, None)
        await refused(store, Copy(AB, FolderName("a/9/")))
        await copy(store, AB, FolderName("a/9/"), with_members=False)
        # A folder replaces another, in one quota and from one to another.
        await move(store, FolderName("a/0/"), FolderName("a/1/"))
        assert (await used(store))["a/"] == (40, 6)
        await move(store, FolderName("c/"), FolderName("a/1/"))
        assert await used(store) == {"a/": (50, 7), "a/b/": (6, 1), "c/b/": (0, 0)}
        await move(store, A, FolderName("c/"))
        assert await used(store) == {"a/": (0, 0), "a/b/": (0, 0), "c/b/": (6, 1)}
        await delete(store, FolderName("c/"))
        assert (await used(store))["c/b/"] == (0, 0)
        await require_exact(store)

    async def test_a_batch_counts_as_a_whole(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, "a/old", b"x" * 10)
        await put(store, "outside", b"x" * 10)
        await store.quotas.set(A, 10, 1)
        # It goes over in the middle, and comes back.
        await store.names.apply(
            [
                whole_put(store, "a/new", b"y" * 10),
                Copy(FileName("outside"), FileName("a/b/copied")),
                MakeFolder(FolderName("a/made/")),
                Delete(FolderName("a/b/")),
                Delete(FileName("a/old")),
            ]
        )
        assert await used(store) == {"a/": (10, 1)}
        error = await refused(
            store,
            Delete(FileName("outside")),
            whole_put(store, "a/one", b""),
            Move(FileName("a/one"), FileName("a/two")),
        )
        assert error.edit == 1
        await require_exact(store)

    async def test_uploads_count_when_they_become_files(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(A, 3 * CHUNK_SIZE, None)
        content = b"".join(bytes([number]) * CHUNK_SIZE for number in range(3)) + b"tail"
        spec = UploadSpec(UploadKind.FILE, FileName("a/x"), "text/plain")
        upload_id = await begin(store, spec, content=content, whole=True)
        assert await used(store) == {"a/": (0, 0)}
        with pytest.raises(QuotaExceeded):
            await complete(store, upload_id, content)
        assert await used(store) == {"a/": (0, 0)}
        await store.quotas.set(A, len(content), None)
        await complete(store, upload_id, content)
        assert await used(store) == {"a/": (len(content), 1)}
        # What is sent by its list counts by its size, whatever of it is known.
        chunks = cut(content[: 2 * CHUNK_SIZE])
        upload_id = await begin(store, UploadSpec(UploadKind.FILE, FileName("a/y"), "text/plain"))
        await hold(store, upload_id, chunks)
        await refer(store, upload_id, known(chunks), whole=True)
        with pytest.raises(QuotaExceeded):
            await complete(store, upload_id, content[: 2 * CHUNK_SIZE])
        await store.quotas.set(A, 6 * CHUNK_SIZE, None)
        await complete(store, upload_id, content[: 2 * CHUNK_SIZE])
        assert await used(store) == {"a/": (5 * CHUNK_SIZE + 4, 2)}
        await require_exact(store)

    async def test_many_at_the_last_byte(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(ROOT, 1000, None)
        await store.quotas.set(A, 100, None)

        async def write(number: int) -> bool:
            folder = "a/b" if number % 2 else "a"
            try:
                await put(store, f"{folder}/{number}", b"x" * 10)
            except QuotaExceeded:
                return False
            return True

        assert sum(await asyncio.gather(*map(write, range(16)))) == 10
        assert await used(store) == {"": (100, 10), "a/": (100, 10)}
        await require_exact(store)

    async def test_a_quota_is_set_beside_writers(self, reopen: Reopen) -> None:
        store = await reopen()
        done = asyncio.Event()

        async def write(worker: int) -> None:
            number = 0
            while not done.is_set():
                name = f"a/{worker}/{number % 7}"
                edits: list[Edit] = [whole_put(store, name, b"x" * (number % 100))]
                if number % 3 == 2:
                    edits = [Move(FileName(name), FileName(f"{name}-moved")), *edits]
                if number % 11 == 10:
                    edits = [Copy(FolderName(f"a/{worker}/"), FolderName(f"a/{worker}-copy/"))]
                try:
                    await store.names.apply(edits)
                except NotFound:
                    pass
                except ChunkstoreError as error:
                    raise AssertionError(number) from error
                number += 1

        async with asyncio.TaskGroup() as group:
            for worker in range(4):
                group.create_task(write(worker))
            try:
                for turn in range(5):
                    await store.quotas.set(A, 1 << 40, None)
                    await store.quotas.set(FolderName(f"a/{turn}/"), 1 << 40, 1 << 40)
                    async for found in store.quotas.recount():
                        assert found.drift == Usage(0, 0)
                    await store.quotas.remove(A)
                await store.quotas.set(A, 1 << 40, None)
            finally:
                done.set()
        await require_exact(store)

    async def test_a_recount_mends_what_is_wrong(self, reopen: Reopen, rows: Rows) -> None:
        store = await reopen()
        await put(store, "a/x", b"12345")
        await store.quotas.set(A, 100, None)
        await rows.fetch("UPDATE quota SET size = 90, files = 7")
        [found] = [found async for found in store.quotas.recount()]
        assert (found.folder, found.kept, found.drift) == ("a/", Usage(90, 7), Usage(-85, -6))
        assert await used(store) == {"a/": (5, 1)}
        await require_exact(store)

    async def test_a_quota_that_is_not_counted_yet_refuses_nothing(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        store = await reopen()
        await put(store, "a/x", b"12345")
        await store.quotas.set(A, 100, None)
        # As a process leaves it that is killed while it counts.
        await rows.fetch("UPDATE quota SET size = 0, files = 0, counted = 0, max_size = 7")
        store = await reopen()
        assert await used(store) == {}
        await put(store, "a/y", b"1234567890")
        assert [found.drift async for found in store.quotas.recount()] == [Usage(5, 1)]
        assert await used(store) == {"a/": (15, 2)}
        await refused(store, whole_put(store, "a/z", b"1"))

    async def test_a_damaged_file_counts_as_long_as_it_is_there(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        store = await reopen()
        await store.quotas.set(A, 100, None)
        await put(store, "a/x", b"12345")
        await put(store, "a/y", b"123")
        table = "file" if self.shares_manifests else "entry"
        await rows.fetch(f"UPDATE {table} SET proof = proof + 1 WHERE proof IS NOT NULL")
        await put(store, "a/x", b"1")
        await delete(store, FileName("a/y"))
        assert await used(store) == {"a/": (1, 1)}
        await require_exact(store)
