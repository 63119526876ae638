"""Commands on write locks: listing them, and breaking those of a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chunkstore.core.dav.locks import Lock, path_of
from chunkstore.core.errors import NotFound
from chunkstore.service.access.arguments import Arguments, Command, Json, parse_name
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.people import People
from chunkstore.store.contract.locks import Locks


async def list_locks(people: People, _: Arguments) -> Json:
    """List the locks, by name."""
    snapshot = await people.directory.current()
    return [lock_to_json(lock, snapshot) for lock in await _locks(people).list()]


async def break_locks(people: People, arguments: Arguments) -> Json:
    """End the locks that were taken on `folder`, which may be a file; return them."""
    name = parse_name(arguments["folder"])
    root, locks = path_of(name), _locks(people)
    ended = [
        await locks.release(lock.token)
        for lock in await locks.covering([root])
        if lock.root == root
    ]
    snapshot = await people.directory.current()
    told = [lock_to_json(lock, snapshot) for lock in ended if lock is not None]
    if not told:
        raise NotFound(f"There is no lock on {f'/{name}'!r}.")
    return told


def lock_to_json(lock: Lock, snapshot: Snapshot) -> Json:
    """Return what is told of a lock; `account` is who took it, None if that is nobody any more."""
    return {
        "name": f"/{lock.name}",
        "scope": "exclusive" if lock.is_exclusive else "shared",
        "depth": "infinity" if lock.is_deep else "0",
        "account": snapshot.name_of(lock.principal),
        "owner": lock.owner,
        "expires": lock.expires.isoformat(timespec="seconds"),
    }


def _locks(people: People) -> Locks:
    assert people.locks is not None
    return people.locks


LOCK_COMMANDS: Final[Mapping[str, Command]] = {
    "locks ls": list_locks,
    "locks break": break_locks,
}
