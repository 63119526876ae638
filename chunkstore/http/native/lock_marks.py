"""What the page of a folder says of write locks: whose they are, in their own words, until when.

Whoever sees a name may know that (RFC 4918 §15.8). By a link nobody is told of locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from aiohttp import web

from chunkstore.core.dav.lock_owners import owner_text
from chunkstore.core.dav.locks import Lock, is_below, path_of
from chunkstore.core.names import FolderName
from chunkstore.http.message.request import comes_by_link
from chunkstore.http.security.allowed_locks import AllowedLocks, locks_covering, locks_of
from chunkstore.store.contract.edits import Name
from chunkstore.store.contract.values import Listing

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """What is said of the locks that were taken on one name.

    `by` are those who have them, "" if they say nothing of themselves. Those of `tokens` may be
    broken by whoever sees it.
    """

    name: Name
    by: str
    until: datetime
    is_deep: bool
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a page: of locks that cover the folder, and by path of those on names in it."""

    above: Sequence[Mark]
    on: Mapping[str, Mark]

    def of(self, name: Name) -> Mark | None:
        """Return the mark of a name in the list, None if no lock was taken on it."""
        return self.on.get(path_of(name))


async def find_marks(request: web.Request, folder: FolderName, listing: Listing) -> Marks:
    """Return the marks of a folder's page that lists what is in `listing`."""
    if comes_by_link(request) or not listing.may_be_locked:
        return Marks((), {})
    names: list[Name] = [folder, *listing.folders, *(file.name for file in listing.files)]
    # In order of their roots, so those of one root are side by side.
    found = await locks_covering(request, names)
    allowed, here = locks_of(request), path_of(folder)
    marks = {
        root: _mark(list(locks), allowed) for root, locks in groupby(found, lambda lock: lock.root)
    }
    on = {root: mark for root, mark in marks.items() if is_below(root, here)}
    above = [
        mark for root, mark in marks.items() if root not in on and (mark.is_deep or root == here)
    ]
    return Marks(above, on)


def _mark(locks: Sequence[Lock], allowed: AllowedLocks) -> Mark:
    return Mark(
        locks[0].name,
        _listed(_holder(lock, allowed) for lock in locks),
        max(lock.expires for lock in locks),
        any(lock.is_deep for lock in locks),
        [lock.token for lock in locks if allowed.may_end(lock)],
    )


def _holder(lock: Lock, allowed: AllowedLocks) -> str:
    """Return who has a lock; who has no account may be anybody to the server."""
    is_own = lock.principal != "" and allowed.is_own(lock)
    return "you" if is_own else owner_text(lock.owner)


def _listed(holders: Iterable[str]) -> str:
    named = list(dict.fromkeys(filter(None, holders)))
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
