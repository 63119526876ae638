"""The contract of edits, several at once, as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.access import NOTHING as NO_VERBS
from chunkstore.core.conditional import CREATE_ONLY, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    InvalidName,
    NameConflict,
    NotFound,
    PreconditionFailed,
    VerbLacking,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Put,
    Received,
    Uploaded,
    names_in,
)
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.uploads import NOTHING, Unfinished
from chunkstore.store.contract.values import Committed
from tests.conftest import RandomBytes
from tests.store.conformance import CHUNK_SIZE, Suite, etag, get, names, put, whole_put
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, later, unfinished

FAILURES: list[tuple[Edit, type[ChunkstoreError]]] = [
    (Delete(FileName("none")), NotFound),
    (Delete(FolderName("")), Forbidden),
    (Delete(FileName("a"), CREATE_ONLY), PreconditionFailed),
    (Copy(FileName("a"), FileName("a")), Forbidden),
    (Copy(FileName("a"), FileName("b"), overwrite=False), AlreadyExists),
    (Copy(FileName("a"), FileName("b"), target_conditions=CREATE_ONLY), PreconditionFailed),
    (Move(FileName("a"), FileName("b/c")), NameConflict),
    (Move(FolderName("d/"), FolderName("d/e/")), Forbidden),
    (Move(FolderName("d/"), FolderName("y" * 1023 + "/")), InvalidName),
    (MakeFolder(FolderName("none/in/")), NotFound),
    (MakeFolder(FolderName("d/")), AlreadyExists),
]


async def files(store: Store) -> dict[str, bytes]:
    """Return the content of all files."""
    return {name: await get(store, name) for name in await names(store)}


class EditConformance(Suite):
    """What every backend must pass."""

    @pytest.fixture
    async def some(self, store: Store) -> dict[str, bytes]:
        """Return the files that are there."""
        contents = {"a": b"A", "b": b"B", "d/1": b"1", "d/2": b"2"}
        for name, content in contents.items():
            await put(store, name, content)
        return contents

    async def test_each_sees_what_those_before_have_left(self, store: Store, rows: Rows) -> None:
        applied = await store.names.apply(
            [
                whole_put(store, "a", b"1"),
                Copy(FileName("a"), FileName("b")),
                Move(FileName("a"), FileName("c")),
                Delete(FileName("b")),
                MakeFolder(FolderName("d/")),
                whole_put(store, "d/e", b"2"),
                whole_put(store, "d/e", b"3"),
                Copy(FileName("c"), FileName("d/e")),
                Copy(FolderName("d/"), FolderName("f/g/")),
                Copy(FolderName("d/"), FolderName("f/"), with_members=False),
                Move(FolderName("d/"), FolderName("f/")),
                MakeFolder(FolderName("d/")),
            ]
        )
        replaced = [place for place, one in enumerate(applied) if one.replaced]
        assert replaced == [6, 7, 9, 10]
        assert isinstance(applied[0], Committed)
        assert applied[0].file.name == "a"
        assert await files(store) == {"c": b"1", "f/e": b"1"}
        assert sorted(await rows.names()) == ["c", "d/", "f/", "f/e"]
        assert await rows.broken() == []

    async def test_names_can_be_swapped(self, store: Store, some: dict[str, bytes]) -> None:
        for one, other in (("a", "b"), ("d/", "t/u/")):
            kind = FolderName if one.endswith("/") else FileName
            away = kind(f"away/{one}")
            if kind is FolderName:
                await put(store, "t/u/3", b"3")
            await store.names.apply(
                [Move(kind(one), away), Move(kind(other), kind(one)), Move(away, kind(other))]
            )
        assert await files(store) == {
            "a": b"B", "b": b"A", "d/3": b"3", "t/u/1": b"1", "t/u/2": b"2",
        }  # fmt: skip

    @pytest.mark.parametrize("allowed", [NO_VERBS, Verbs.CREATE, Verbs.WRITE, EVERYTHING])
    @pytest.mark.parametrize("target", ["b", "new"])
    async def test_what_is_not_allowed_is_refused_in_the_commit(
        self, store: Store, some: dict[str, bytes], allowed: Verbs, target: str
    ) -> None:
        taken = target in some
        is_allowed = (Verbs.WRITE if taken else Verbs.CREATE) in allowed
        folder = FolderName("d/" if taken else "e/")
        await put(store, "s/1", b"1")
        edits: list[Edit] = [
            replace(whole_put(store, target, b"X"), allowed=allowed),
            replace(whole_put(store, target, b"X" * 3 * CHUNK_SIZE), allowed=allowed),
            Copy(FileName("a"), FileName(target), allowed=allowed),
            Copy(FolderName("s/"), folder, allowed=allowed),
            Move(FileName("a"), FileName(target), allowed=allowed),
        ]
        before = await files(store)
        for edit in edits:
            if is_allowed:
                await store.names.apply([edit])
                if not taken and not isinstance(edit, Move):
                    await store.names.apply([Delete(names_in(edit)[-1])])
                continue
            with pytest.raises(VerbLacking, match="write" if taken else "create"):
                await store.names.apply([edit])
            assert await files(store) == before
        if not is_allowed:
            with pytest.raises(VerbLacking):
                await store.names.check_put(FileName(target), allowed=allowed)

    @pytest.mark.parametrize("place", [0, 2, 4])
    @pytest.mark.parametrize(("failing", "error"), FAILURES)
    async def test_one_that_fails_leaves_nothing_of_all(
        self,
        store: Store,
        rows: Rows,
        some: dict[str, bytes],
        place: int,
        failing: Edit,
        error: type[ChunkstoreError],
    ) -> None:
        edits: list[Edit] = [
            whole_put(store, "new/file", b"new" * CHUNK_SIZE),
            Copy(FileName("d/1"), FileName("d/3")),
            whole_put(store, "d/1", b"changed"),
            Copy(FolderName("d/"), FolderName("x/y/")),
        ]
        with pytest.raises(error) as caught:
            await store.names.apply([*edits[:place], failing, *edits[place:]])
        assert caught.value.edit == place
        assert await files(store) == some
        assert sorted(await rows.names()) == sorted(some)
        assert await rows.count("chunk") == 4
        assert await rows.broken() == []
        # The same can be made afterwards.
        await store.names.apply(edits)
        assert await get(store, "x/y/1") == b"changed"

    async def test_the_first_that_fails_is_told(self, store: Store, some: dict[str, bytes]) -> None:
        for edits in (
            [whole_put(store, name, b"x", CREATE_ONLY) for name in ("c", "b", "a")],
            [whole_put(store, name, b"x") for name in ("c", "e/f", "e", "a")],
            [whole_put(store, name, b"x") for name in ("e", "e/f", "d")],
        ):
            with pytest.raises(ChunkstoreError) as caught:
                await store.names.apply(edits)
            assert caught.value.edit == (2 if len(edits) == 4 else 1)
        assert await files(store) == some

    async def test_a_file_becomes_a_folder_and_a_folder_a_file(
        self, store: Store, rows: Rows
    ) -> None:
        a, inside, folder = FileName("a"), FileName("a/b/c"), FolderName("a/")
        steps: list[tuple[list[Edit], list[str]]] = [
            ([whole_put(store, a, b"1")], ["a"]),
            ([Delete(a), whole_put(store, inside, b"2")], ["a/b/c"]),
            ([Delete(inside), whole_put(store, a, b"3")], ["a"]),
            ([Delete(a), MakeFolder(folder), MakeFolder(FolderName("a/b/"))], ["a/", "a/b/"]),
            ([Delete(folder), whole_put(store, a, b"4"), Delete(a)], []),
            ([whole_put(store, inside, b"5"), Move(inside, FileName("t"))], ["t"]),
            ([Move(FileName("t"), a), Delete(a), whole_put(store, "a/x", b"6")], ["a/x"]),
            ([Move(folder, FolderName("b/")), whole_put(store, a, b"7")], ["a", "b/x"]),
            ([Delete(a), Copy(FolderName("b/"), folder), Delete(FolderName("b/"))], ["a/x"]),
        ]
        for edits, expected in steps:
            await store.names.apply(edits)
            assert sorted(await rows.names()) == expected
            assert await rows.broken() == []

    async def test_conditions_are_of_what_is_there_by_then(
        self, store: Store, some: dict[str, bytes]
    ) -> None:
        def only(content: bytes) -> Conditions:
            return Conditions(if_match=etag(content))

        a, b, t = FileName("a"), FileName("b"), FileName("t")
        await store.names.apply(
            [
                whole_put(store, a, b"new", only(b"A")),
                Copy(a, b, conditions=only(b"new"), target_conditions=only(b"B")),
                Move(b, t, conditions=only(b"new"), target_conditions=CREATE_ONLY),
                whole_put(store, b, b"again", CREATE_ONLY),
                Delete(a, only(b"new")),
                Move(t, a, overwrite=False),
            ]
        )
        assert await files(store) == {**some, "a": b"new", "b": b"again"}
        for wrong in (
            Copy(a, b, conditions=only(b"A")),
            Copy(a, b, target_conditions=only(b"B")),
            Move(a, t, target_conditions=only(b"new")),
            Delete(b, only(b"B")),
        ):
            with pytest.raises(PreconditionFailed):
                await store.names.apply([whole_put(store, "n", b"n"), wrong])
        assert await store.names.find(FileName("n")) is None

    async def test_an_upload_is_put_once(self, store: Store, rows: Rows) -> None:
        twice = [whole_put(store, "a", b"x" * 5 * CHUNK_SIZE)]
        assert isinstance(twice[0].content, Received)
        twice.append(Put(FileName("b"), twice[0].content, "text/plain"))
        async with asyncio.timeout(30):
            with pytest.raises(NotFound) as caught:
                await store.names.apply(twice)
        assert caught.value.edit == 1
        assert await names(store) == []
        await store.names.apply(twice[:1])
        with pytest.raises(NotFound):
            await store.names.apply(twice[1:])
        assert await names(store) == ["a"]
        assert await rows.count("manifest") == 1

    async def test_chunks_are_new_once(self, store: Store, random_bytes: RandomBytes) -> None:
        content = random_bytes(20 * CHUNK_SIZE)
        committed = await store.names.apply(
            [whole_put(store, name, content) for name in ("b", "a", "c")]
        )
        assert [one.new_chunks for one in committed] == [20, 0, 0]
        assert sum(one.new_size for one in committed) == len(content)
        assert await files(store) == dict.fromkeys("abc", content)

    async def test_uploads_of_both_kinds_together(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(2 * CHUNK_SIZE + 10)
        ids = [await begin(store, content=content, whole=True) for _ in range(2)]

        def uploaded(place: int, name: str) -> Put:
            upload = Uploaded(ids[place], Digest.of(content), later())
            return Put(FileName(name), upload, "text/plain")

        received = whole_put(store, "r", content + b"end")
        before = await unfinished(rows)
        failing = [uploaded(0, "x"), received, uploaded(1, "y"), uploaded(0, "z")]
        with pytest.raises(NotFound) as caught:
            await store.names.apply(failing)
        assert caught.value.edit == 3
        assert await unfinished(rows) == before != NOTHING
        assert await files(store) == {}
        await store.names.apply(failing[:3])
        assert await unfinished(rows) == Unfinished(0, 0, 0)
        assert await files(store) == {"x": content, "r": content + b"end", "y": content}
        assert await rows.broken() == []

    async def test_a_thousand_edits(self, store: Store, rows: Rows) -> None:
        puts = [whole_put(store, f"{place % 7}/{place}", b"%d" % place) for place in range(400)]
        moves = [
            Move(FileName(f"{place % 7}/{place}"), FileName(f"moved/{place % 5}/{place}"))
            for place in range(300)
        ]
        copies = [
            Copy(FileName(f"moved/{place % 5}/{place}"), FileName(f"copy/{place}"))
            for place in range(200)
        ]
        deletes = [Delete(FileName(f"copy/{place}")) for place in range(100)]
        await store.names.apply([*puts, *moves, *copies, *deletes])
        assert await rows.broken() == []
        expected = {
            *(f"{place % 7}/{place}" for place in range(300, 400)),
            *(f"moved/{place % 5}/{place}" for place in range(300)),
            *(f"copy/{place}" for place in range(100, 200)),
        }
        assert set(await names(store)) == expected
