"""The contract of the audit log as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, QuotaExceeded
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.audit import Action, AuditEntry, AuditFilter, Who
from chunkstore.store.contract.edits import Copy, Delete, MakeFolder, Move, Put, Uploaded
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from tests.store.conformance import CHUNK_SIZE, Reopen, Suite, put, whole_put
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, later

ANNA = Who("anna", "token:1", "192.0.2.7", "r1")
EVERYTHING = AuditFilter()


async def told(store: Store, wanted: AuditFilter = EVERYTHING) -> list[tuple[str, str, str]]:
    return [(entry.actor, entry.action, entry.name) for entry in await store.audit.list(wanted)]


class AuditConformance(Suite):
    """What every store owes those who look into its audit log."""

    async def test_edits_by_somebody_are_told(self, reopen: Reopen) -> None:
        store = await reopen()
        began = datetime.now(UTC) - timedelta(seconds=1)
        await put(store, "nobody", b"x")
        large = b"x" * 3 * CHUNK_SIZE
        for name, content in (("d/a", b"1"), ("d/a", b"2"), ("d/large", large)):
            await store.names.apply([whole_put(store, name, content)], ANNA)
        spec = UploadSpec(UploadKind.FILE, FileName("d/u"), "text/plain")
        upload_id = await begin(store, spec, content=large, whole=True)
        uploaded = Uploaded(upload_id, Digest.of(large), later())
        await store.names.apply([Put(FileName("d/u"), uploaded, "text/plain")], ANNA)
        await store.names.apply(
            [
                MakeFolder(FolderName("made/")),
                Copy(FileName("d/a"), FileName("e/a")),
                Move(FolderName("d/"), FolderName("f/")),
                whole_put(store, "new", b"4"),
            ],
            ANNA,
        )
        await store.names.apply([Delete(FolderName("f/"))], Who("", "none"))
        store = await reopen()
        entries = await store.audit.list(EVERYTHING)
        assert sorted((entry.action, entry.name) for entry in entries) == [
            ("copy", "d/a"), ("create", "d/a"), ("create", "d/large"), ("create", "d/u"),
            ("create", "new"), ("delete", "f/"), ("make folder", "made/"), ("move", "d/"),
            ("replace", "d/a"),
        ]  # fmt: skip
        by_action = {entry.action: entry for entry in entries}
        assert by_action["move"].detail == {"to": "f/", "replaced": False}
        assert by_action["replace"].detail == {"digest": str(Digest.of(b"2"))}
        assert by_action["delete"].actor == ""
        entry = by_action["copy"]
        assert (entry.actor, entry.via, entry.address, entry.request) == (
            "anna", "token:1", "192.0.2.7", "r1",
        )  # fmt: skip
        assert all(began <= entry.time <= datetime.now(UTC) for entry in entries)
        assert entries == sorted(entries, key=lambda entry: (entry.time, entry.id))

    async def test_what_was_not_done_is_not_told(self, reopen: Reopen) -> None:
        store = await reopen()
        await store.quotas.set(FolderName("a/"), 3, None)
        with pytest.raises(NotFound):
            await store.names.apply([Delete(FileName("none"))], ANNA)
        with pytest.raises(NotFound):
            await store.names.apply([whole_put(store, "x", b"1"), Delete(FileName("none"))], ANNA)
        with pytest.raises(QuotaExceeded):
            await store.names.apply([whole_put(store, "a/x", b"1234")], ANNA)
        await store.names.apply([whole_put(store, "a/x", b"123")], ANNA)
        assert await told(store) == [("anna", "create", "a/x")]

    async def test_many_at_once_are_told_once_each(self, reopen: Reopen) -> None:
        store = await reopen()
        await asyncio.gather(
            *(
                store.names.apply(
                    [whole_put(store, f"{number % 20}", b"x")], Who(str(number), "none")
                )
                for number in range(60)
            )
        )
        found = await told(store)
        assert sorted(int(actor) for actor, _, _ in found) == list(range(60))
        assert sum(action == "create" for _, action, _ in found) == 20

    async def test_entries_are_found_and_listed_in_pages(self, reopen: Reopen) -> None:
        store = await reopen()
        for actor in ("anna", "berta"):
            for number in range(3):
                who = Who(actor, "session")
                await store.audit.append(who, [Action("user add", f"d{number}/x"), Action("rule")])
        await store.names.apply([whole_put(store, "s", b"")])
        await store.names.apply([Move(FileName("s"), FileName("d1/moved"))], ANNA)
        assert len(await told(store)) == 13
        assert await told(store, AuditFilter(actor="berta", action="user add")) == [
            ("berta", "user add", f"d{number}/x") for number in range(3)
        ]
        assert await told(store, AuditFilter(name="d1/")) == [
            ("anna", "user add", "d1/x"), ("berta", "user add", "d1/x"), ("anna", "move", "s"),
        ]  # fmt: skip
        assert await told(store, AuditFilter(name="%")) == []
        pages: list[AuditEntry] = []
        page = await store.audit.list(EVERYTHING, most=5)
        while page:
            pages += page
            page = await store.audit.list(EVERYTHING, (page[-1].time, page[-1].id), most=5)
        assert pages == await store.audit.list(EVERYTHING)
        # From a time on, and up to one, which does not belong to it.
        middle = pages[6].time
        later_ones = await store.audit.list(AuditFilter(since=middle))
        earlier_ones = await store.audit.list(AuditFilter(until=middle))
        assert [*earlier_ones, *later_ones] == pages
        assert all(entry.time < middle for entry in earlier_ones)
        assert await store.audit.remove_before(middle) == len(earlier_ones)
        assert await store.audit.list(EVERYTHING) == later_ones

    async def test_who_follows_it_misses_none_and_gets_none_twice(self, reopen: Reopen) -> None:
        store = await reopen()
        followed: list[AuditEntry] = []

        async def follow(until: int) -> None:
            while len(followed) < until:
                after = (followed[-1].time, followed[-1].id) if followed else None
                page = await store.audit.list(EVERYTHING, after, most=7)
                followed.extend(page)
                await asyncio.sleep(0)

        async def write(writer: int) -> None:
            who = Who(str(writer), "none")
            for number in range(8):
                edits = [whole_put(store, f"{writer}/{number}/{one}", b"x") for one in range(3)]
                if number % 2:
                    await store.names.apply(edits, who)
                else:
                    await store.names.apply(edits[:1], who)
                    await store.audit.append(who, [Action("a"), Action("b")])

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for writer in range(6):
                tasks.create_task(write(writer))
            tasks.create_task(follow(6 * 8 * 3))
        assert followed == await store.audit.list(EVERYTHING)
        assert len({entry.id for entry in followed}) == 6 * 8 * 3

    async def test_nothing_in_it_is_what_a_terminal_obeys(self, reopen: Reopen, rows: Rows) -> None:
        store = await reopen()
        dirty = "a\x1b[2J\r\n\0\u202e\udc80ü😀"
        detail = {"note": dirty, dirty: [dirty, 1, None], "long": "x" * 5000}
        await store.audit.append(Who(dirty, dirty, dirty, dirty), [Action(dirty, dirty, detail)])
        [entry] = await store.audit.list(EVERYTHING)
        clean = r"a\x1b[2J\r\n\x00\u202e\udc80ü😀"
        assert entry.actor == entry.via == entry.action == entry.name == entry.address == clean
        assert entry.detail["note"] == clean
        assert entry.detail[clean] == [clean, 1, None]
        assert len(entry.detail["long"]) == 1024
        [(row,)] = await rows.fetch("SELECT detail FROM audit")
        assert str(row).isascii()
        for name in (dirty, dirty[:8]):
            wanted = AuditFilter(actor=dirty, action=dirty, name=name)
            assert await store.audit.list(wanted) == [entry]
        await store.audit.append(Who("x" * 5000, ""), [Action("y", "z" * 5000)])
        [_, entry] = await store.audit.list(EVERYTHING)
        assert (len(entry.actor), len(entry.name)) == (256, 1024)
