"""The contract of strict edits, and of what is kept with names, as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.dav.properties import (
    MAX_PROPERTIES_SIZE,
    PropertyChange,
    PropertyName,
    changed_properties,
    parse_properties,
)
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    NameConflict,
    NotFound,
    PreconditionFailed,
    StoreDamaged,
    TooManyProperties,
    VerbLacking,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Patch,
    is_folder_name,
)
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.store import Store
from tests.store.conformance import Reopen, Suite, get, names, put, whole_put
from tests.store.edits import folder_exists, get_file, make_folder
from tests.store.rows import Rows

TIMES = datetime(2001, 2, 3, tzinfo=UTC), datetime(2004, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
SET = PropertyChange(PropertyName("urn:x", "a"), '<a xmlns="urn:x">1</a>')
KEPT = changed_properties(None, [SET])


async def apply(store: Store, edit: Edit) -> bool:
    [applied] = await store.names.apply([edit])
    return applied.replaced


async def properties(store: Store, name: FileName | FolderName) -> bytes | None:
    return (await store.properties.describe([name]))[name].properties


class StrictConformance(Suite):
    """What every backend must pass."""

    @pytest.fixture
    async def folders(self, store: Store) -> None:
        """Put files, so that there are implied folders `d/` and `d/e/`, and make one `m/`."""
        for name in ("a", "b", "d/1", "d/e/2"):
            await put(store, name, name.encode())
        await make_folder(store, FolderName("m/"))

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("name", ["none/x", "d/none/x"])
    async def test_the_folder_of_a_target_must_exist(self, store: Store, name: str) -> None:
        before = await names(store)
        edits: list[Edit] = [
            replace(whole_put(store, name, b"x"), strict=True),
            Copy(FileName("a"), FileName(name), strict=True),
            Move(FileName("a"), FileName(name), strict=True),
            Copy(FolderName("d/e/"), FolderName(f"{name}/"), strict=True),
        ]
        for edit in edits:
            with pytest.raises(NameConflict, match="no folder"):
                await store.names.apply([edit])
        with pytest.raises(NameConflict, match="no folder"):
            await store.names.check_put(FileName(name), strict=True)
        assert await names(store) == before

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("name", ["x", "d/x", "d/e/x", "m/x", "d/1"])
    async def test_it_may_be_made_implied_or_the_root(self, store: Store, name: str) -> None:
        await store.names.check_put(FileName(name), strict=True)
        assert await apply(store, replace(whole_put(store, name, b"x"), strict=True)) is (
            name == "d/1"
        )
        assert await apply(store, Copy(FileName("a"), FileName(name), strict=True))
        assert await get(store, name) == b"a"

    @pytest.mark.usefixtures("folders")
    async def test_a_file_in_the_way_is_told_first(self, store: Store) -> None:
        with pytest.raises(NameConflict, match="is a file"):
            await apply(store, replace(whole_put(store, "a/x", b"x"), strict=True))

    @pytest.mark.usefixtures("folders")
    async def test_the_folder_stays_when_its_last_name_goes(self, store: Store) -> None:
        await apply(store, Delete(FileName("d/e/2"), strict=True))
        assert await folder_exists(store, FolderName("d/e/"))
        await apply(store, Move(FileName("d/1"), FileName("c"), strict=True))
        await apply(store, Delete(FolderName("d/e/"), strict=True))
        assert await folder_exists(store, FolderName("d/"))
        assert not await folder_exists(store, FolderName("d/e/"))
        # Not so by other edits.
        await put(store, "f/1", b"")
        await apply(store, Delete(FileName("f/1")))
        assert not await folder_exists(store, FolderName("f/"))

    @pytest.mark.usefixtures("folders")
    async def test_a_folder_is_made_in_one_that_is_not_there(self, store: Store) -> None:
        folder = FolderName("n/o/p/")
        with pytest.raises(NotFound):
            await apply(store, MakeFolder(folder))
        with pytest.raises(NameConflict):
            await apply(store, MakeFolder(FolderName("a/x/"), strict=False))
        await apply(store, MakeFolder(folder, strict=False))
        assert await folder_exists(store, FolderName("n/o/"))
        await apply(store, Delete(folder))
        assert not await folder_exists(store, FolderName("n/"))

    @pytest.mark.usefixtures("folders")
    async def test_a_folder_that_is_moved_leaves_its_own(self, store: Store) -> None:
        await put(store, "g/h/1", b"")
        await apply(store, Move(FolderName("g/h/"), FolderName("i/"), strict=True))
        assert await folder_exists(store, FolderName("g/"))
        assert await names(store, "i/") == ["i/1"]

    @pytest.mark.usefixtures("folders")
    async def test_several_at_once_keep_folders_too(self, store: Store) -> None:
        await store.names.apply(
            [Delete(FileName("d/e/2"), strict=True), Delete(FileName("d/1"), strict=True)]
        )
        assert await folder_exists(store, FolderName("d/e/"))

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("make", [Copy, Move])
    @pytest.mark.parametrize("target", ["d", "m", "d/e"])
    async def test_a_file_takes_a_folders_place(
        self, store: Store, make: type[Copy | Move], target: str
    ) -> None:
        edit = make(FileName("a"), FileName(target), strict=True)
        with pytest.raises(NameConflict):
            await apply(store, replace(edit, strict=False))
        with pytest.raises(AlreadyExists, match="folder"):
            await apply(store, replace(edit, overwrite=False))
        with pytest.raises(PreconditionFailed):
            await apply(store, replace(edit, target_conditions=CREATE_ONLY))
        with pytest.raises(VerbLacking):
            await apply(store, replace(edit, allowed=EVERYTHING & ~Verbs.DELETE))
        assert await apply(store, edit)
        assert await get(store, target) == b"a"
        assert await names(store, f"{target}/") == []
        assert ("a" in await names(store)) is (make is Copy)

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("make", [Copy, Move])
    @pytest.mark.parametrize("source", ["d/", "m/"])
    async def test_a_folder_takes_a_files_place(
        self, store: Store, make: type[Copy | Move], source: str
    ) -> None:
        inside = [name.removeprefix(source) for name in await names(store, source)]
        folder, target = FolderName(source), FolderName("a/")
        with pytest.raises(NameConflict):
            await apply(store, make(folder, target))
        with pytest.raises(AlreadyExists, match="file"):
            await apply(store, make(folder, target, overwrite=False, strict=True))
        assert await apply(store, make(folder, target, strict=True))
        assert await names(store, "a/") == [f"a/{name}" for name in inside]
        assert await folder_exists(store, target)
        assert await store.names.find(FileName("a")) is None
        assert await folder_exists(store, folder) is (make is Copy)

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize(
        ("source", "target"), [("d/e/2", "d/e"), ("d/e/2", "d"), ("a", "a"), ("d/", "d/1/")]
    )
    async def test_nothing_takes_the_place_of_what_holds_it(
        self, store: Store, source: str, target: str
    ) -> None:
        before = await names(store)
        name = FolderName if source.endswith("/") else FileName
        for make in (Copy, Move):
            with pytest.raises(Forbidden):
                await apply(store, make(name(source), name(target), strict=True))
        assert await names(store) == before

    # What is kept with names

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("name", [FileName("a"), FolderName("m/"), FolderName("d/"), ROOT])
    async def test_properties_and_times_are_kept(
        self, store: Store, name: FileName | FolderName
    ) -> None:
        await apply(store, Patch(name, [SET], *TIMES))
        [found] = (await store.properties.describe([name])).values()
        assert (found.created, found.modified, found.properties) == (*TIMES, KEPT)
        # What is not named stays.
        await apply(store, Patch(name))
        assert (await store.properties.describe([name]))[name] == found
        assert await store.properties.describe([name], bare=False) == {name: found}
        await apply(store, Patch(name, [replace(SET, element=None)]))
        assert await properties(store, name) is None
        assert (await store.properties.describe([name]))[name].modified == TIMES[1]
        told = await store.properties.describe([name], bare=False)
        assert list(told) == ([name] if is_folder_name(name) else [])

    @pytest.mark.usefixtures("folders")
    async def test_a_file_has_the_times_everywhere(self, store: Store) -> None:
        etag = (await get_file(store, FileName("a"))).validators.etag
        await apply(store, Patch(FileName("a"), [SET], *TIMES))
        file = await get_file(store, FileName("a"))
        assert (file.created, file.modified, file.validators.etag) == (*TIMES, etag)

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("folder", [FolderName("d/"), FolderName("m/")])
    async def test_properties_change_no_time(self, store: Store, folder: FolderName) -> None:
        first = Patch(FileName("d/1"), (), *TIMES)
        await apply(store, first)
        before = (await store.properties.describe([folder]))[folder]
        await apply(store, Patch(folder, [SET]))
        await apply(store, Patch(FileName("d/1"), modified=TIMES[0]))
        await apply(store, Patch(folder, [SET]))
        after = (await store.properties.describe([folder]))[folder]
        assert after == replace(before, properties=KEPT)

    @pytest.mark.usefixtures("folders")
    async def test_a_folder_that_keeps_something_lasts(self, store: Store) -> None:
        await apply(store, Patch(FolderName("d/e/"), [SET]))
        await apply(store, Delete(FileName("d/e/2")))
        assert await properties(store, FolderName("d/e/")) == KEPT

    @pytest.mark.usefixtures("folders")
    async def test_what_cannot_be_patched(self, store: Store) -> None:
        large = replace(SET, element="x" * MAX_PROPERTIES_SIZE)
        refused: list[tuple[Patch, type[ChunkstoreError]]] = [
            (Patch(FileName("none"), [SET]), NotFound),
            (Patch(FolderName("none/"), [SET]), NotFound),
            (Patch(FolderName("a/"), [SET]), NotFound),
            (Patch(FileName("d"), [SET]), NotFound),
            (Patch(FileName("a"), [SET], conditions=CREATE_ONLY), PreconditionFailed),
            (Patch(FileName("a"), [SET, large], *TIMES), TooManyProperties),
        ]
        before = await store.properties.describe([FileName("a"), FolderName("d/")])
        for edit, error in refused:
            with pytest.raises(error):
                await apply(store, edit)
        assert await store.properties.describe([FileName("a"), FolderName("d/")]) == before

    @pytest.mark.usefixtures("folders")
    async def test_a_new_content_keeps_them(self, store: Store) -> None:
        await apply(store, Patch(FileName("a"), [SET]))
        await put(store, "a", b"new")
        assert await properties(store, FileName("a")) == KEPT

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("make", [Copy, Move])
    async def test_they_go_along(self, store: Store, make: type[Copy | Move]) -> None:
        await apply(store, Patch(FileName("a"), [SET], *TIMES))
        await apply(store, Patch(FileName("b"), [replace(SET, element="<b/>")]))
        await apply(store, make(FileName("a"), FileName("b"), strict=True))
        assert await properties(store, FileName("b")) == KEPT
        # Nothing is left of what was replaced.
        await apply(store, Copy(FileName("d/1"), FileName("b"), strict=True))
        assert await properties(store, FileName("b")) is None

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("make", [Copy, Move])
    async def test_they_go_along_with_a_folder(self, store: Store, make: type[Copy | Move]) -> None:
        for name in (FileName("d/1"), FolderName("d/e/"), FolderName("d/")):
            await apply(store, Patch(name, [SET], *TIMES))
        await apply(store, Patch(FolderName("m/"), [replace(SET, element="<b/>")]))
        before = await store.properties.describe([FolderName("d/e/"), FileName("d/1")])
        await apply(store, make(FolderName("d/"), FolderName("m/"), strict=True))
        after = await store.properties.describe(
            [FolderName("m/"), FolderName("m/e/"), FileName("m/1"), FileName("m/e/2")]
        )
        assert [each.properties for each in after.values()] == [KEPT, KEPT, KEPT, None]
        times = {(each.created, each.modified) for each in list(after.values())[1:3]}
        assert (times == {(each.created, each.modified) for each in before.values()}) is (
            make is Move
        )

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("source", ["d/", "m/"])
    async def test_a_folder_is_copied_without_its_members(self, store: Store, source: str) -> None:
        await apply(store, Copy(FolderName(source), FolderName("n/"), with_members=False))
        assert await properties(store, FolderName("n/")) is None
        await apply(store, Patch(FolderName(source), [SET]))
        await apply(store, Copy(FolderName(source), FolderName("n/"), with_members=False))
        assert await properties(store, FolderName("n/")) == KEPT
        assert await names(store, "n/") == []

    @pytest.mark.usefixtures("folders")
    async def test_a_copy_has_the_time_it_is_given(self, store: Store) -> None:
        await apply(store, Copy(FileName("a"), FileName("c"), modified=TIMES[1]))
        await apply(store, Move(FileName("a"), FileName("e"), modified=TIMES[1]))
        for name in ("c", "e"):
            assert (await get_file(store, FileName(name))).modified == TIMES[1]

    @pytest.mark.usefixtures("folders")
    async def test_what_goes_takes_them_along(self, store: Store) -> None:
        for name in (FileName("a"), FolderName("m/")):
            await apply(store, Patch(name, [SET]))
            await apply(store, Delete(name))
        await put(store, "a", b"")
        await make_folder(store, FolderName("m/"))
        for name in (FileName("a"), FolderName("m/")):
            assert await properties(store, name) is None

    @pytest.mark.usefixtures("folders")
    async def test_a_folder_that_was_not_made_has_times_too(self, store: Store) -> None:
        first = (await store.properties.describe([FileName("d/1")]))[FileName("d/1")]
        found = await store.properties.describe(
            [FolderName("d/"), ROOT, FolderName("a/"), FileName("d")]
        )
        assert set(found) == {"d/", ROOT}
        assert found[FolderName("d/")] == first
        assert found[ROOT].created > datetime(2020, 1, 1, tzinfo=UTC)

    async def test_an_empty_root_has_times(self, store: Store) -> None:
        assert (await store.properties.describe([ROOT]))[ROOT].modified.year == 1970

    async def test_the_root_has_the_times_that_were_set_alone(self, store: Store) -> None:
        await put(store, "a", b"x")
        first = (await store.properties.describe([FileName("a")]))[FileName("a")]
        await apply(store, Patch(ROOT, [SET]))
        assert (await store.properties.describe([ROOT]))[ROOT] == replace(first, properties=KEPT)
        await apply(store, Patch(ROOT, modified=TIMES[1]))
        assert (await store.properties.describe([ROOT]))[ROOT] == Description(
            first.created, TIMES[1], KEPT
        )

    async def test_what_the_root_keeps_is_kept_by_the_store(self, reopen: Reopen) -> None:
        await apply(await reopen(), Patch(ROOT, [SET], *TIMES))
        store = await reopen()
        assert (await store.properties.describe([ROOT]))[ROOT] == Description(*TIMES, KEPT)
        assert await names(store) == []

    async def test_no_change_of_the_root_is_lost(self, store: Store) -> None:
        changes = [PropertyChange(PropertyName("urn:x", f"p{place}"), "<p/>") for place in range(8)]
        await asyncio.gather(*(apply(store, Patch(ROOT, [change])) for change in changes))
        kept = parse_properties(await properties(store, ROOT))
        assert kept == {change.name: change.element for change in changes}

    async def test_the_root_is_changed_with_others_or_not_at_all(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.names.apply([Patch(ROOT, [SET]), Delete(FileName("none"))])
        assert await properties(store, ROOT) is None
        large = replace(SET, element="x" * MAX_PROPERTIES_SIZE)
        with pytest.raises(TooManyProperties):
            await apply(store, Patch(ROOT, [large], *TIMES))
        assert (await store.properties.describe([ROOT]))[ROOT].modified != TIMES[1]

    async def test_damage_of_what_the_root_keeps(self, store: Store, rows: Rows) -> None:
        await apply(store, Patch(ROOT, [SET]))
        await rows.fetch("UPDATE setting SET value = '[1, 2]' WHERE name = 'root'")
        assert await properties(store, ROOT) is None
        with pytest.raises(StoreDamaged, match="root folder"):
            await apply(store, Patch(ROOT, [SET]))

    # Lists

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_lists_tell_which_files_have_properties(self, store: Store, limit: int) -> None:
        for name in ("b", "d/1", "m/"):
            await apply(store, Patch(FileName(name), (SET,)))
        await apply(store, Patch(FileName("a"), (), created=TIMES[0]))
        for delimiter, expected in (("/", {"b"}), ("", {"b", "d/1"})):
            described: set[str] = set()
            after: str | None = None
            while True:
                page = await store.names.list(after=after, limit=limit, delimiter=delimiter)
                assert page.described <= {file.name for file in page.files}
                described |= page.described
                after = page.next
                if after is None:
                    break
            assert described == expected

    @pytest.mark.usefixtures("folders")
    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_lists_have_made_folders_if_asked(self, store: Store, limit: int) -> None:
        await make_folder(store, FolderName("d/f/"))
        await make_folder(store, FolderName("d/f/g/"))

        async def listed(prefix: str) -> list[str]:
            found: list[str] = []
            after: str | None = None
            while True:
                page = await store.names.list(prefix, after=after, limit=limit, made_folders=True)
                found += sorted([*(file.name for file in page.files), *page.folders])
                after = page.next
                if after is None:
                    return found

        assert await listed("") == ["a", "b", "d/1", "d/e/2", "d/f/", "d/f/g/", "m/"]
        assert await listed("d/f/") == ["d/f/g/"]
        assert await listed("m/") == []
