"""Write locks that commands meet: told of by whom they were taken and until when they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from shlex import quote

from chunkstore.core.errors import Held, Locked
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
        snapshot = await read_snapshot(store.records)
        raise Locked(error.locks, _describe(error.locks, snapshot)) from error


def _describe(locks: Sequence[Held], snapshot: Snapshot) -> str:
    first = max(locks, key=lambda lock: lock.expires)
    others = "" if len(locks) == 1 else f", and {len(locks) - 1} more locks are in the way"
    name, holder = f"/{first.name}", snapshot.name_of(first.principal)
    return (
        f"{name!r} is locked{'' if holder is None else f' by {holder}'} until"
        f" {first.expires:%Y-%m-%d %H:%M:%S} UTC{others}; wait, or end it by"
        f" `chunkstore locks break {quote(name)}`."
    )
