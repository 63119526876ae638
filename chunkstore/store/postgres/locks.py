"""Write locks in PostgreSQL.

Whoever changes names asks whether the table of locks has rows, in a statement that is run anyway;
mostly it has none. Where it has, a writer keeps the rows of all folders above what it changes, and
locks those of the names themselves, before it looks which locks there are; whoever takes a lock
locks the row of its root, and keeps those above. So of two that are in each other's way one waits
for the other, on whatever server, and then sees what it did. Looking comes after locking, in a
statement of its own.

A row without a token stands for the root folder, which has no other row. It comes before the first
lock, when all writers have ended who found no row: from then on each finds one, and keeps it before
all others. A collection takes it away when there are no locks.

Those who keep a row do not wait for one who wants to lock it, so where many write all the time that
could wait for ever. It waits for seconds at most, and then lets nobody begin to write until those
who do have ended (`_behind_writers`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

from chunkstore.core.dav.locks import (
    Lock,
    Touched,
    path_of,
    paths_above,
    roots_in_conflict,
)
from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.names import ROOT, FileName
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Patch,
    Present,
    Put,
    is_folder_name,
    judge,
)
from chunkstore.store.contract.locks import (
    MOST_BELOW,
    Guard,
    Locks,
    Taken,
    WantedLock,
    comes_into,
    counts_own,
    locked,
    made_by,
    member_roots_above,
    memberships,
    require_allowed,
    require_few,
    require_own_room,
    require_room,
    require_tags,
    require_tokens,
    roots_of_interest,
    taken_by,
    touched_by,
    touched_by_put,
)
from chunkstore.store.contract.values import File
from chunkstore.store.postgres import tree
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database, Job, JobWith
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.paths import below
from chunkstore.store.postgres.rows import QUERIES, to_file_to_edit
from chunkstore.store.postgres.usage import Tally
from chunkstore.store.shared.lock_rows import new_token, to_lock
from chunkstore.store.shared.times import now_microseconds

P = ParamSpec("P")
T = TypeVar("T")


class PostgresLocks(Locks):
    """The write locks of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def take(self, wanted: WantedLock) -> Taken:
        database = self._opened.writable
        while True:
            taken = await database.write_once(_behind_writers(_take, wanted))
            if taken is not None:
                return taken
            await database.write(_begin)

    async def refresh(self, token: str, seconds: int) -> Lock | None:
        job = _behind_writers(_refresh, token, seconds)
        return await self._opened.writable.write_unsynced(job)

    async def release(self, token: str) -> Lock | None:
        return await self._opened.writable.write_once(_release, token)

    async def covering(self, paths: Collection[str]) -> Sequence[Lock]:
        roots = {root for path in paths for root in paths_above(path)}
        return [
            to_lock(row) for row in await self._opened.database.fetch("locks_at", sorted(roots))
        ]

    async def etags(self, paths: Collection[str]) -> Mapping[str, str]:
        return await self._opened.database.read(_etags, paths)

    async def list(self) -> Sequence[Lock]:
        return [to_lock(row) for row in await self._opened.database.fetch("locks")]


async def keep_root(db: Connection) -> None:
    """Keep the root folder from being locked until the transaction ends."""
    await db.execute(QUERIES["keep_root"])


async def lock_memberships(db: Connection, edits: Sequence[Edit]) -> None:
    """Have nobody else take away at the same time what lies in the same folder.

    Of two who each see what the other takes, neither would take away the folder that goes with it,
    and which may be a member of a locked one.
    """
    taken = [name for name in map(taken_by, edits) if name is not None]
    roots = {root for name in taken for root in member_roots_above(name)}
    if roots:
        await db.execute(QUERIES["lock_memberships"], sorted(roots))


async def require(db: Connection, edit: Edit, guard: Guard) -> None:
    """Refuse an edit, whose names are locked, as far as its guard goes.

    Raises:
        What `judge` raises.
        PreconditionFailed: entity tags do not hold.
        Locked: a lock is in the way.
    """
    replaced = judge(edit, await _load(db, edit))
    made = None if replaced else made_by(edit)
    await _require(db, touched_by(edit, replaced=replaced), guard, made, edit)


async def require_put(
    db: Connection, name: FileName, guard: Guard, *, strict: bool, replaced: bool
) -> None:
    """Refuse a `Put` of a name, as far as is known now; raise as `require`."""
    made = None if replaced or strict else name
    await _require(db, touched_by_put(name, replaced=replaced), guard, made)


async def _require(
    db: Connection, touched: Touched, guard: Guard, made: Name | None, edit: Edit | None = None
) -> None:
    await _require_tags(db, guard)
    found = await _interfering(db, touched)
    roots = [] if edit is None else await _roots_of_emptied(db, found, edit)
    if made is not None:
        roots += [
            root for root, folder in memberships(found, made) if await tree.find(db, folder) is None
        ]
    require_tokens(found, touched | Touched(frozenset(roots)), guard)


async def _roots_of_emptied(db: Connection, found: Sequence[Lock], edit: Edit) -> list[str]:
    """Return the roots of locks that guard folders which go with what an edit takes away."""
    name = taken_by(edit)
    if name is None:
        return []
    return [
        root
        for root, folder in memberships(found, name)
        if not comes_into(edit, folder) and not await tree.holds_besides(db, folder, name)
    ]


async def drop(db: Connection, edit: Edit) -> None:
    """End the locks that go with what an edit has removed (RFC 4918 §9.6, §9.9)."""
    if isinstance(edit, Delete | Move):
        gone = path_of(edit.name if isinstance(edit, Delete) else edit.source)
        await db.execute(QUERIES["delete_locks_of"], gone, *below(f"{gone}/"))
    if isinstance(edit, Copy | Move):
        path = path_of(edit.target)
        is_folder = is_folder_name(edit.target)
        await db.execute(QUERIES["delete_locks_in_place"], path, is_folder, *below(f"{path}/"))


async def sweep(database: Database) -> None:
    """Delete the rows of locks that have expired, the root's too if no other is left."""
    await database.execute("delete_expired_locks")
    if not await database.fetch("first_token"):
        # Another time, if there is always somebody who writes.
        with suppress(StoreUnavailable):
            await database.write(_delete_root)


async def _delete_root(db: Connection) -> None:
    await db.execute(QUERIES["wait_briefly"])
    # Those who take a lock have kept it.
    await db.execute(QUERIES["lock_root"])
    await db.execute(QUERIES["delete_root"])


async def _load(db: Connection, edit: Edit) -> Present:
    match edit:
        case Put():
            return await tree.load_target(db, edit.name, edit.strict)
        case Delete() | Patch():
            return Present(source=await tree.find_to_edit(db, edit.name))
        case Copy() | Move():
            there = await tree.load_target(db, edit.target, edit.strict)
            return replace(there, source=await tree.find_to_edit(db, edit.source))
        case MakeFolder():
            return await tree.load_target(db, edit.name, edit.strict)


async def _require_tags(db: Connection, guard: Guard) -> None:
    etags = await _etags(db, {each for each in guard.tags.resources if each is not None})
    require_tags(guard, etags.get)


async def _etags(db: Connection, paths: Collection[str]) -> dict[str, str]:
    rows = await db.fetch(QUERIES["files_among"], list(paths)) if paths else []
    files = map(to_file_to_edit, rows)
    return {file.name: file.etag for file in files if isinstance(file, File)}


async def _interfering(db: Connection, touched: Touched) -> list[Lock]:
    """Return the locks that may cover something of what is touched."""
    found = await _at(db, roots_of_interest(touched))
    for path in touched.trees:
        found += await _below(db, path)
    return found


async def _at(db: Connection, roots: Collection[str]) -> list[Lock]:
    return [to_lock(row) for row in await db.fetch(QUERIES["locks_at"], sorted(roots))]


async def _below(db: Connection, path: str) -> list[Lock]:
    span = below(f"{path}/" if path else "")
    rows = await db.fetch(QUERIES["locks_below"], *span, MOST_BELOW + 1)
    found = [to_lock(row) for row in rows]
    require_few(found)
    return found


async def _begin(db: Connection) -> None:
    """Have the first row, behind all who have found none."""
    await db.execute(QUERIES["wait_briefly"])
    await db.execute(QUERIES["lock_locks"])
    await db.execute(QUERIES["put_root"])


def _behind_writers(job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Return a job that is run while nobody writes, where it has failed before.

    Whoever changes names keeps the first row, if there is one, and so a lock of the table. Those
    who want one while another waits for all of it come after that one.
    """
    failed = False

    async def run(db: Connection) -> T:
        nonlocal failed
        if failed:
            await db.execute(QUERIES["wait_briefly"])
            await db.execute(QUERIES["lock_writers_out"])
        failed = True
        return await job(db, *args, **kwargs)

    return run


async def _lock_root_of(db: Connection, name: Name) -> bool:
    """Lock where a lock is rooted, and keep what is above; return whether there is a first row."""
    query = "lock_root" if name == ROOT else "keep_root"
    if not await db.fetch(QUERIES[query]):
        return False
    if name != ROOT:
        await tree.lock(db, Tally(), name)
    return True


async def _take(db: Connection, wanted: WantedLock) -> Taken | None:
    """Take a lock; return None if the first row is to be put before."""
    root = path_of(wanted.name)
    if not await _lock_root_of(db, wanted.name):
        return None
    exists = await tree.find_to_edit(db, wanted.name) is not None
    require_allowed(wanted, exists=exists)
    await db.execute(QUERIES["delete_expired_locks"])
    found = await _at(db, paths_above(root))
    if wanted.is_deep:
        found += await _below(db, root)
    conflicts = roots_in_conflict(
        found, root, is_deep=wanted.is_deep, is_exclusive=wanted.is_exclusive
    )
    if conflicts:
        raise locked(found, conflicts)
    await _require_room(db, wanted, found)
    is_folder = is_folder_name(wanted.name)
    if not exists:
        await db.execute(QUERIES["vacate"], root)
    elif is_folder and wanted.name != ROOT:
        await db.execute(QUERIES["keep_folder"], root, now_microseconds())
    token = new_token()
    await db.execute(
        QUERIES["put_lock"],
        token,
        root,
        is_folder,
        wanted.is_deep,
        wanted.is_exclusive,
        wanted.owner,
        wanted.principal,
        wanted.seconds,
    )
    return Taken(to_lock(await db.fetchrow(QUERIES["find_lock"], token)), exists)


async def _require_room(db: Connection, wanted: WantedLock, found: Sequence[Lock]) -> None:
    total = await db.fetchval(QUERIES["count_locks"])
    require_room(total, sum(lock.root == path_of(wanted.name) for lock in found))
    if counts_own(total, wanted):
        require_own_room(await db.fetchval(QUERIES["count_locks_of"], wanted.principal))


async def _refresh(db: Connection, token: str, seconds: int) -> Lock | None:
    row = await db.fetchrow(QUERIES["find_lock"], token)
    # Behind those who take one in its place because it has expired.
    if row is None or not await _lock_root_of(db, to_lock(row).name):
        return None
    await db.execute(QUERIES["extend_lock"], token, seconds)
    row = await db.fetchrow(QUERIES["find_lock"], token)
    return None if row is None else to_lock(row)


async def _release(db: Connection, token: str) -> Lock | None:
    row = await db.fetchrow(QUERIES["find_lock"], token)
    if row is not None:
        await db.execute(QUERIES["delete_lock"], token)
    return None if row is None else to_lock(row)
