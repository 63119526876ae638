"""Write locks that commands meet: told of by whom they were taken and until when they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from shlex import quote

from chunkstore.core.dav.locks import Lock
from chunkstore.core.errors import Locked
from chunkstore.service.access.directory import Snapshot, read_snapshot
from chunkstore.store.contract.store import Store


@asynccontextmanager
async def telling_locks(store: Store) -> AsyncIterator[None]:
    """Have a lock that is in the way told of as who administers the store may know it.

    Raises:
        Locked: in place of one that says less.
    """
    try:
        yield
    except Locked as error:
        found = await store.locks.covering([root.removesuffix("/") for root in error.roots])
        locks = [lock for lock in found if lock.name in error.roots]
        snapshot = await read_snapshot(store.records)
        raise Locked(error.roots, _describe(locks, snapshot)) from error


def _describe(locks: Sequence[Lock], snapshot: Snapshot) -> str:
    if not locks:
        return "A lock was in the way, which has ended; try again."
    first = max(locks, key=lambda lock: lock.expires)
    others = "" if len(locks) == 1 else f", and {len(locks) - 1} more locks are in the way"
    name, holder = f"/{first.name}", snapshot.name_of(first.principal)
    return (
        f"{name!r} is locked{'' if holder is None else f' by {holder}'} until"
        f" {first.expires:%Y-%m-%d %H:%M:%S} UTC{others}; wait, or end it by"
        f" `chunkstore locks break {quote(name)}`."
    )
