"""The contract of write locks as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from chunkstore.core.access import Verbs
from chunkstore.core.dav.if_header import ResourceTag, TagCondition, TagFormula
from chunkstore.core.digest import Digest
from chunkstore.core.errors import Locked, NotFound, PreconditionFailed, TooManyLocks, VerbLacking
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract import locks as contract
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move, Name, Patch
from chunkstore.store.contract.locks import MAX_LOCKS_ON_ONE, UNGUARDED, Guard, WantedLock
from chunkstore.store.contract.store import Store
from chunkstore.store.postgres import locks as postgres_locks
from chunkstore.store.sqlite import locks as sqlite_locks
from tests.store.conformance import Reopen, Suite, get, names, put, whole_put
from tests.store.edits import get_file, make_folder
from tests.store.lock_contention import Contention
from tests.store.rows import Rows

FILE, FOLDER = FileName("a/b/file"), FolderName("a/b/")


async def take(store: Store, name: Name, *, deep: bool = True, shared: bool = False) -> Guard:
    """Take a lock of ann; return what lets her write."""
    wanted = WantedLock(name, deep, not shared, "<o/>", "ann", 600)
    return Guard(frozenset({(await store.locks.take(wanted)).lock.token}), "ann")


def names_of(*given: Name) -> list[Name]:
    return list(given)


async def refused(store: Store, edit: Edit, guard: Guard = UNGUARDED) -> list[str]:
    """Check that an edit is refused; return the roots of the locks."""
    before = await names(store)
    with pytest.raises(Locked) as caught:
        await store.names.apply([edit], guard=guard)
    assert await names(store) == before
    return list(caught.value.roots)


class LockConformance(Suite):
    """What every store owes those who lock names in it."""

    async def test_lists_tell_whether_there_may_be_locks(self, store: Store) -> None:
        """Also where nothing that they tell of is locked."""
        for name in ("d/1", "f"):
            await put(store, FileName(name), b"")
        assert not (await store.names.list(delimiter="/")).may_be_locked
        await take(store, FILE)
        for prefix, limit in (("", 1), ("", 10), ("d/", 10), ("f", 10)):
            page = await store.names.list(prefix, delimiter="/", limit=limit)
            assert page.may_be_locked

    async def test_entity_tags_are_found_together(self, store: Store) -> None:
        for name in ("a", "d/1", "d/2"):
            await put(store, FileName(name), name.encode())
        found = await store.locks.etags(["d/2", "a", "d", "none", ""])
        assert found == {each: Digest.of(each.encode()).raw.hex() for each in ("a", "d/2")}
        assert await store.locks.etags([]) == {}

    async def test_what_is_locked_is_written_by_its_token_alone(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, FILE)
        edits: list[Edit] = [
            whole_put(store, FILE, b"2"),
            Delete(FILE),
            Patch(FILE),
            Move(FILE, FileName("c")),
            Delete(FOLDER),
            Delete(FolderName("a/")),
            Move(FolderName("a/"), FolderName("c/")),
        ]
        for edit in edits:
            assert await refused(store, edit) == [FILE]
            # It counts only for whoever took it.
            assert await refused(store, edit, replace(guard, principal="bob")) == [FILE]
        await put(store, "other", b"x")
        await store.names.apply([Copy(FILE, FileName("copied"))])
        assert await refused(store, Copy(FileName("other"), FILE)) == [FILE]
        with pytest.raises(Locked):
            await store.names.check_put(FILE, guard=replace(guard, principal="bob"))
        await store.names.check_put(FILE, guard=guard)
        await store.names.apply([edits[0]], guard=guard)
        assert await get(store, FILE) == b"2"
        await store.names.apply([Delete(FolderName("a/"))], guard=guard)
        # It went with the file.
        assert await store.locks.list() == []
        await put(store, FILE, b"3")

    async def test_a_batch_is_refused_as_a_whole(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        await take(store, FILE)
        edits: list[Edit] = [whole_put(store, "x", b"2"), Delete(FILE)]
        with pytest.raises(Locked) as caught:
            await store.names.apply(edits)
        assert caught.value.edit == 1
        assert await names(store) == [FILE]

    async def test_depth(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, FOLDER, deep=False)
        # Members are guarded, what is in them is not.
        await put(store, FILE, b"2")
        for edit in (Delete(FILE), Delete(FOLDER), Patch(FOLDER), MakeFolder(FolderName("a/b/c/"))):
            assert await refused(store, edit) == [FOLDER]
        assert await refused(store, whole_put(store, "a/b/new", b"x")) == [FOLDER]
        # A folder on the way is a member too.
        for deep in (
            whole_put(store, "a/b/c/d/new", b"x"),
            MakeFolder(FolderName("a/b/c/d/"), strict=False),
        ):
            assert await refused(store, deep) == [FOLDER]
        await store.names.apply([MakeFolder(FolderName("a/b/c/"))], guard=guard)
        await put(store, "a/b/c/d/new", b"x")
        for token in guard.tokens:
            assert await store.locks.release(token) is not None
        guard = await take(store, FOLDER)
        assert await refused(store, whole_put(store, "a/b/c/d/new", b"y")) == [FOLDER]
        await put(store, "a/bc", b"beside")

    async def test_what_comes_to_a_member_s_place_is_another_member(self, reopen: Reopen) -> None:
        """§7.4, §9.9.3: what was there is deleted before, so the lock of its folder matters."""
        store = await reopen()
        for name in (FILE, "a/b/d/x", "from/f", "from/d/y"):
            await put(store, name, b"1")
        guard = await take(store, FOLDER, deep=False)
        # What is written in place stays the same member.
        await put(store, FILE, b"2")
        file, folder = FileName("from/f"), FolderName("from/d/")
        there, new = FolderName("a/b/d/"), FolderName("a/b/new/")
        edits: list[Edit] = [Copy(file, FILE), Move(folder, there)]
        for edit in (*edits, Move(file, FILE), Copy(folder, there), Copy(folder, new)):
            assert await refused(store, edit) == [FOLDER]
        for edit in edits:
            await store.names.apply([edit], guard=guard)

    async def test_what_is_moved_is_locked_at_either_end(self, reopen: Reopen) -> None:
        """§7.5, §9.9.4: the folder it leaves, the one it comes to, itself and what was there."""
        store = await reopen()
        for name in ("from/f", "to/f"):
            await put(store, name, b"1")
        move = Move(FileName("from/f"), FileName("to/f"))
        guard = UNGUARDED
        for locked in (FolderName("from/"), FolderName("to/"), move.source, move.target):
            one = await take(store, locked, deep=False)
            assert await refused(store, move, guard) == [locked]
            guard = replace(one, tokens=guard.tokens | one.tokens)
        # The source of a copy is only read.
        to = FolderName("to/"), FileName("to/f")
        held = await store.locks.covering(["to/f"])
        assert [lock.name for lock in held] == list(to)
        copy = Copy(move.source, move.target)
        tokens = frozenset(lock.token for lock in held)
        await store.names.apply([copy], guard=replace(guard, tokens=tokens))
        await store.names.apply([move], guard=guard)

    async def test_only_a_refresh_gives_a_lock_its_time_anew(self, reopen: Reopen) -> None:
        """§6.6."""
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, FILE)
        [token] = guard.tokens
        [before] = await store.locks.list()
        for edit in (whole_put(store, FILE, b"2"), Patch(FILE)):
            await store.names.apply([edit], guard=guard)
        with pytest.raises(Locked):
            await take(store, FILE)
        assert await store.locks.list() == [before]
        refreshed = await store.locks.refresh(token, 700)
        assert refreshed is not None
        assert refreshed.expires > before.expires

    async def test_a_folder_that_goes_with_its_last_name_was_a_member(self, reopen: Reopen) -> None:
        store, locked = await reopen(), FolderName("a/")
        for each in ("a/b/x", "a/b/y", "a/c/z", "a/d/e/f/g", "a/s/x", "other"):
            await put(store, each, b"1")
        guard = await take(store, locked, deep=False)
        x, y = FileName("a/b/x"), FileName("a/b/y")
        # Another is in it, or comes.
        await store.names.apply([Delete(x)])
        await store.names.apply([Move(y, FileName("a/b/w/y"))])
        await store.names.apply([Move(FileName("a/b/w/y"), x)])
        last: list[Edit] = [
            Delete(x),
            Move(x, FileName("elsewhere")),
            Move(FileName("a/c/z"), FileName("a/b/z")),
            Delete(FileName("a/d/e/f/g")),
            Delete(FolderName("a/d/e/f/")),
            Delete(FolderName("a/d/e/")),
            Move(FolderName("a/d/e/"), FolderName("e/")),
        ]
        for edit in last:
            assert await refused(store, edit) == [locked], edit
        with pytest.raises(Locked) as caught:
            await store.names.apply([whole_put(store, "a/b/v", b"1"), Delete(x), *last[3:4]])
        assert caught.value.edit == 2
        # A folder that was made stays, and so does one that a strict edit empties.
        await store.names.apply([Delete(FileName("a/s/x"), strict=True)])
        await store.names.apply([MakeFolder(FolderName("a/m/"))], guard=guard)
        await put(store, "a/m/x", b"1")
        await store.names.apply([Delete(FileName("a/m/x"))])
        await store.names.apply([last[3], last[1]], guard=guard)
        assert await names(store) == ["a/c/z", "elsewhere", "other"]

    async def test_of_two_who_empty_a_folder_one_is_refused(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, "a/b/keep", b"1")
        await take(store, FolderName("a/"), deep=False)
        files = [FileName(f"a/b/{number}") for number in range(4)]
        for _ in range(5):
            for file in files:
                await put(store, file, b"1")
            await store.names.apply([Delete(FileName("a/b/keep"))])
            deletions = (store.names.apply([Delete(file)]) for file in files)
            done = await asyncio.gather(*deletions, return_exceptions=True)
            assert [type(one) for one in done].count(Locked) == 1
            assert len(await names(store)) == 1
            await put(store, "a/b/keep", b"1")
            for file in files:
                with suppress(NotFound):
                    await store.names.apply([Delete(file)])

    async def test_the_root_folder(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, ROOT)
        edits = (Delete(FILE), Delete(FolderName("a/")), whole_put(store, "n", b"x"), Patch(ROOT))
        for edit in edits:
            assert await refused(store, edit) == [""]
        with pytest.raises(Locked):
            await take(store, FILE, shared=True)
        await store.names.apply([Delete(FILE), Patch(ROOT)], guard=guard)

    async def test_which_can_be_together(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        first = await take(store, FILE, shared=True)
        second = await take(store, FOLDER, shared=True)
        for name in names_of(FILE, FOLDER, ROOT):
            with pytest.raises(Locked):
                await take(store, name)
        # One of them is enough.
        await store.names.apply([whole_put(store, FILE, b"2")], guard=second)
        await store.names.apply([whole_put(store, FILE, b"3")], guard=first)
        assert len(await store.locks.covering([FILE])) == 2
        assert [lock.root for lock in await store.locks.covering(["a/b/x"])] == ["a/b"]
        await take(store, FolderName("a/bc/"))

    async def test_those_of_many_paths_come_in_order(self, reopen: Reopen) -> None:
        store = await reopen()
        odd = ["f/\"a\\'", "f/\U0001f600", "f/\ue000", "f/[1]", "f/null"]
        names = [*odd, *(f"f/{number:03}" for number in range(0, 900, 300))]
        for each in names:
            await take(store, FileName(each), shared=True)
        await take(store, FileName(odd[0]), shared=True)
        await take(store, FolderName("f/"), deep=False, shared=True)
        paths = {*odd, *(f"f/{number:03}" for number in range(1000)), "elsewhere/x"}
        found = await store.locks.covering(paths)
        roots = ["f", odd[0], *names]
        assert [lock.root for lock in found] == sorted(roots, key=str.encode)
        assert await store.locks.covering([]) == []

    async def test_two_that_come_at_once(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        taken = await asyncio.gather(
            *(take(store, name) for name in names_of(FILE, FOLDER, FolderName("a/"), ROOT) * 2),
            return_exceptions=True,
        )
        assert [type(one) for one in taken].count(Guard) == 1
        assert len(await store.locks.list()) == 1

    async def test_they_end(self, reopen: Reopen, rows: Rows) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, FILE)
        [token] = guard.tokens
        refreshed = await store.locks.refresh(token, 3000)
        assert refreshed is not None
        assert refreshed.seconds == 3000
        await rows.expire_locks()
        assert await store.locks.list() == []
        assert await store.locks.refresh(token, 3000) is None
        # That it has ended does not end what began while it held.
        await store.names.apply([whole_put(store, FILE, b"2")], guard=guard)
        await put(store, FILE, b"3")
        await collect_all(store.maintenance, 0)
        assert await rows.fetch("SELECT token FROM lock") == []
        assert await store.locks.release(token) is None

    async def test_what_does_not_exist_can_be_locked(self, reopen: Reopen) -> None:
        store = await reopen()
        taken = await store.locks.take(WantedLock(FILE, True, True, "", "ann"))
        assert not taken.exists
        guard = Guard(frozenset({taken.lock.token}), "ann")
        assert await refused(store, whole_put(store, FILE, b"x")) == [FILE]
        await store.names.apply([whole_put(store, FILE, b"x")], guard=guard)
        assert await get(store, FILE) == b"x"
        with pytest.raises(NotFound):
            await store.names.apply([Delete(FileName("none"))])

    async def test_what_is_moved_or_replaced_takes_its_locks_along(self, reopen: Reopen) -> None:
        store = await reopen()
        for each in ("from/x", "to/y", "kept"):
            await put(store, each, b"1")
        tokens: set[str] = set()
        for name in (FileName("from/x"), FileName("to/y"), FileName("kept")):
            tokens |= (await take(store, name)).tokens
        guard = Guard(frozenset(tokens), "ann")
        move = Move(FolderName("from/"), FolderName("to/"))
        await store.names.apply([move], guard=guard)
        assert [lock.root for lock in await store.locks.list()] == ["kept"]
        # A file that is written anew stays locked.
        await store.names.apply([Move(FileName("to/x"), FileName("kept"))], guard=guard)
        assert [lock.root for lock in await store.locks.list()] == ["kept"]

    async def test_what_may_be_created_alone_is_not_locked(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        wanted = WantedLock(FILE, False, True, allowed=Verbs.CREATE)
        with pytest.raises(VerbLacking):
            await store.locks.take(wanted)
        await store.locks.take(replace(wanted, name=FileName("a/b/new")))
        with pytest.raises(VerbLacking):
            await store.locks.take(replace(wanted, name=FileName("c"), allowed=Verbs.WRITE))

    async def test_a_locked_folder_stays(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        guard = await take(store, FOLDER)
        await store.names.apply([Delete(FILE)], guard=guard)
        assert await store.names.find(FOLDER) is not None

    async def test_entity_tags_hold_in_the_transaction(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        etag = (await get_file(store, FILE)).validators.etag
        tag = (ResourceTag(FILE), TagCondition(etag))
        guard = Guard(tags=TagFormula(((tag,),)))
        await make_folder(store, FolderName("m/"))
        await store.names.apply([whole_put(store, "x", b"1")], guard=guard)
        await put(store, FILE, b"2")
        for edit in (whole_put(store, "x", b"2"), Delete(FILE), Delete(FolderName("m/"))):
            with pytest.raises(PreconditionFailed):
                await store.names.apply([edit], guard=guard)

    async def test_many_lock_and_write(self, reopen: Reopen) -> None:
        contention = Contention([await reopen()])
        await contention.run(8, lambda turn: turn < 25)
        assert contention.done.keys() >= {"written", "refused", "locked", "not locked"}

    async def test_there_are_not_too_many(self, reopen: Reopen) -> None:
        store = await reopen()
        await put(store, FILE, b"1")
        for _ in range(MAX_LOCKS_ON_ONE):
            await take(store, FILE, shared=True)
        with pytest.raises(TooManyLocks):
            await take(store, FILE, shared=True)

    async def test_a_folder_with_too_many_is_changed_by_nobody(
        self, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_locks, "MOST_BELOW", 3)
        monkeypatch.setattr(postgres_locks, "MOST_BELOW", 3)
        monkeypatch.setattr(contract, "MOST_BELOW", 3)
        monkeypatch.setattr(contract, "MAX_LOCKS_OF_ONE", 5)
        store = await reopen()
        tokens: set[str] = set()
        for each in "abcde":
            await put(store, f"f/{each}", b"1")
            tokens |= (await take(store, FileName(f"f/{each}"))).tokens
        guard = Guard(frozenset(tokens), "ann")
        delete = Delete(FolderName("f/"))
        assert await refused(store, delete, guard) == [f"f/{each}" for each in "abcd"]
        with pytest.raises(TooManyLocks):
            await take(store, FileName("g"))
        for token in sorted(tokens)[:2]:
            await store.locks.release(token)
        await store.names.apply([delete], guard=guard)
