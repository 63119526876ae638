"""Write locks in SQLite, where one transaction writes at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Final

from chunkstore.core.dav.locks import (
    Lock,
    Touched,
    path_of,
    paths_above,
    roots_in_conflict,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, Edit, Move, Name, is_folder_name
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
from chunkstore.store.shared.lock_rows import new_token, to_lock
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite import tree
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute, fetch_value

_MICROSECONDS: Final = 1_000_000


class SQLiteLocks(Locks):
    """The write locks of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def take(self, wanted: WantedLock) -> Taken:
        return await self._database.writable.run(
            partial(_take, wanted=wanted), size=EDIT_SIZE, durable=False
        )

    async def refresh(self, token: str, seconds: int) -> Lock | None:
        job = partial(_refresh, token=token, seconds=seconds)
        return await self._database.writable.run(job, durable=False)

    async def release(self, token: str) -> Lock | None:
        return await self._database.writable.run(partial(_release, token=token), durable=False)

    async def covering(self, paths: Collection[str]) -> Sequence[Lock]:
        return await self._database.runner_for(paths).run(partial(_covering, paths=paths))

    async def etags(self, paths: Collection[str]) -> Mapping[str, str]:
        return await self._database.runner_for(paths).run(partial(_etags, paths=paths))

    async def list(self) -> Sequence[Lock]:
        return await self._database.readers.run(_list)


def has_any(db: sqlite3.Connection) -> bool:
    """Whether there may be locks."""
    return bool(fetch_value(db, "has_locks"))


def require(db: sqlite3.Connection, edit: Edit, guard: Guard, *, replaced: bool) -> None:
    """Refuse an edit that was judged, as far as its guard goes.

    Raises:
        PreconditionFailed: entity tags do not hold.
        Locked: a lock is in the way.
    """
    made = None if replaced else made_by(edit)
    _require(db, touched_by(edit, replaced=replaced), guard, made, edit)


def require_put(
    db: sqlite3.Connection, name: FileName, guard: Guard, *, strict: bool, replaced: bool
) -> None:
    """Refuse a `Put` of a name; raise as `require`."""
    made = None if replaced or strict else name
    _require(db, touched_by_put(name, replaced=replaced), guard, made)


def _require(
    db: sqlite3.Connection,
    touched: Touched,
    guard: Guard,
    made: Name | None,
    edit: Edit | None = None,
) -> None:
    require_tags(guard, partial(_etag_of, db))
    if not has_any(db):
        return
    found = _interfering(db, touched)
    roots = [] if edit is None else _roots_of_emptied(db, found, edit)
    if made is not None:
        roots += [
            root for root, folder in memberships(found, made) if not tree.folder_exists(db, folder)
        ]
    require_tokens(found, touched | Touched(frozenset(roots)), guard)


def _roots_of_emptied(db: sqlite3.Connection, found: Sequence[Lock], edit: Edit) -> list[str]:
    """Return the roots of locks that guard folders which go with what an edit takes away."""
    name = taken_by(edit)
    if name is None:
        return []
    return [
        root
        for root, folder in memberships(found, name)
        if not comes_into(edit, folder) and not tree.holds_besides(db, folder, name)
    ]


def drop(db: sqlite3.Connection, edit: Edit) -> None:
    """End the locks that go with what an edit has removed (RFC 4918 §9.6, §9.9)."""
    if not isinstance(edit, Delete | Copy | Move) or not has_any(db):
        return
    if not isinstance(edit, Copy):
        gone = path_of(edit.name if isinstance(edit, Delete) else edit.source)
        execute(db, "delete_locks_at", root=gone)
        _drop_below(db, gone)
    if not isinstance(edit, Delete):
        path, is_folder = path_of(edit.target), is_folder_name(edit.target)
        execute(db, "delete_locks_in_place", root=path, is_folder=is_folder)
        _drop_below(db, path)


def delete_expired(db: sqlite3.Connection, now: int) -> None:
    """Delete the rows of locks that have expired."""
    execute(db, "delete_expired_locks", now=now)


def _drop_below(db: sqlite3.Connection, path: str) -> None:
    execute(db, "delete_locks_below", **tree.below(f"{path}/"))


def _etags(db: sqlite3.Connection, paths: Collection[str]) -> dict[str, str]:
    found = ((path, _etag_of(db, path)) for path in paths)
    return {path: etag for path, etag in found if etag is not None}


def _etag_of(db: sqlite3.Connection, path: str) -> str | None:
    file = tree.find_to_edit(db, FileName(path)) if path else None
    return file.validators.etag if isinstance(file, File) else None


def _interfering(db: sqlite3.Connection, touched: Touched) -> list[Lock]:
    """Return the locks that may cover something of what is touched."""
    now = now_microseconds()
    found = _at(db, roots_of_interest(touched), now)
    for path in touched.trees:
        found += _below(db, path, now)
    return found


def _at(db: sqlite3.Connection, roots: Collection[str], now: int) -> list[Lock]:
    rows = execute(db, "locks_at", roots=json.dumps(list(roots)), now=now)
    return [to_lock(row) for row in rows]


def _below(db: sqlite3.Connection, path: str, now: int) -> list[Lock]:
    span = tree.below(f"{path}/" if path else "")
    rows = execute(db, "locks_below", **span, now=now, count=MOST_BELOW + 1)
    found = [to_lock(row) for row in rows]
    require_few(found)
    return found


def _covering(db: sqlite3.Connection, paths: Collection[str]) -> list[Lock]:
    if not has_any(db):
        return []
    return _at(db, {root for path in paths for root in paths_above(path)}, now_microseconds())


def _list(db: sqlite3.Connection) -> list[Lock]:
    return [to_lock(row) for row in execute(db, "locks", now=now_microseconds())]


def _take(db: sqlite3.Connection, wanted: WantedLock) -> Taken:
    now, root = now_microseconds(), path_of(wanted.name)
    delete_expired(db, now)
    tree.require_settled(db, wanted.name)
    exists = tree.find_to_edit(db, wanted.name) is not None
    require_allowed(wanted, exists=exists)
    found = _at(db, set(paths_above(root)), now)
    if wanted.is_deep:
        found += _below(db, root, now)
    conflicts = roots_in_conflict(
        found, root, is_deep=wanted.is_deep, is_exclusive=wanted.is_exclusive
    )
    if conflicts:
        raise locked(found, conflicts)
    _require_room(db, wanted, found)
    is_folder = is_folder_name(wanted.name)
    if is_folder and exists and wanted.name != ROOT:
        execute(db, "keep_folder", name=FolderName(wanted.name), now=now)
    token = new_token()
    execute(
        db,
        "put_lock",
        token=token,
        root=root,
        is_folder=is_folder,
        is_deep=wanted.is_deep,
        is_exclusive=wanted.is_exclusive,
        owner=wanted.owner,
        principal=wanted.principal,
        seconds=wanted.seconds,
        expires=now + wanted.seconds * _MICROSECONDS,
    )
    return Taken(_get(db, token, now), exists)


def _require_room(db: sqlite3.Connection, wanted: WantedLock, found: Sequence[Lock]) -> None:
    total = int(fetch_value(db, "count_locks"))
    require_room(total, sum(lock.root == path_of(wanted.name) for lock in found))
    if counts_own(total, wanted):
        require_own_room(int(fetch_value(db, "count_locks_of", principal=wanted.principal)))


def _get(db: sqlite3.Connection, token: str, now: int) -> Lock:
    return to_lock(execute(db, "find_lock", token=token, now=now).fetchone())


def _refresh(db: sqlite3.Connection, token: str, seconds: int) -> Lock | None:
    now = now_microseconds()
    expires = now + seconds * _MICROSECONDS
    extended = execute(db, "extend_lock", token=token, seconds=seconds, expires=expires, now=now)
    return _get(db, token, now) if extended.rowcount else None


def _release(db: sqlite3.Connection, token: str) -> Lock | None:
    row = execute(db, "find_lock", token=token, now=now_microseconds()).fetchone()
    execute(db, "delete_lock", token=token)
    return None if row is None else to_lock(row)
