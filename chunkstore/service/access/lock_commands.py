"""Commands on write locks: listing them, and breaking those of a name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from chunkstore.core.dav.lock_owners import owner_text
from chunkstore.core.dav.locks import Lock, path_of
from chunkstore.core.errors import NotFound
from chunkstore.service.access.arguments import Arguments, Command, Json, parse_name
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.people import People
from chunkstore.store.contract.locks import Locks


async def list_locks(people: People, _: Arguments) -> Json:
    """List the locks, by name."""
    return await _told(people, await _locks(people).list())


async def break_locks(people: People, arguments: Arguments) -> Json:
    """End the locks that were taken on `folder`, which may be a file; return them.

    If there are `tokens`, only those: that they have ended by themselves is no error then.
    """
    name, tokens = parse_name(arguments["folder"]), arguments.get("tokens")
    locks = _locks(people)
    ended = [
        await locks.release(lock.token)
        for lock in await locks.covering([path_of(name)])
        if lock.name == name and (tokens is None or lock.token in tokens)
    ]
    if not any(ended) and tokens is None:
        raise NotFound(f"There is no lock on {f'/{name}'!r}.")
    return await _told(people, [lock for lock in ended if lock is not None])


async def _told(people: People, locks: Sequence[Lock]) -> Json:
    snapshot = await people.directory.current()
    # There may be ten thousand, and others wait for the event loop.
    return await asyncio.to_thread(lambda: [lock_to_json(lock, snapshot) for lock in locks])


def lock_to_json(lock: Lock, snapshot: Snapshot) -> Json:
    """Return what is told of a lock.

    `account` is who took it, None if that is nobody any more; `owner` is the XML that came with it,
    and `owner_text` what that says. It was taken or `renewed` at a time by which it `expires`.
    """
    renewed = lock.expires - timedelta(seconds=lock.seconds)
    return {
        "name": f"/{lock.name}",
        "scope": "exclusive" if lock.is_exclusive else "shared",
        "depth": "infinity" if lock.is_deep else "0",
        "account": snapshot.name_of(lock.principal),
        "owner": lock.owner,
        "owner_text": owner_text(lock.owner),
        "token": lock.token,
        "renewed": renewed.isoformat(timespec="seconds"),
        "expires": lock.expires.isoformat(timespec="seconds"),
    }


def _locks(people: People) -> Locks:
    assert people.locks is not None
    return people.locks


LOCK_COMMANDS: Final[Mapping[str, Command]] = {
    "locks ls": list_locks,
    "locks break": break_locks,
}
