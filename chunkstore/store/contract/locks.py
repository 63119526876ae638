"""The contract of write locks (RFC 4918 §6), and of the guard that each write passes.

A lock is judged in the transaction of the write: `Names.apply` takes a `Guard`, and refuses what a
lock covers whose token that lacks. What is refused is the same for every store, because pure
functions say it. A lock is taken, refreshed and broken in a transaction of its own, beside which no
write runs that it would refuse, whatever server makes it.

A store without locks is asked nothing more for them. Unlike all else that changes a store, they
need not be durable: after a crash they may be gone (§6.6). They end by the clock of the database.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from chunkstore.core.access import EVERYTHING, Verbs, words_of
from chunkstore.core.dav.if_header import TRUE, ResourceTag, TagFormula
from chunkstore.core.dav.lock_owners import held
from chunkstore.core.dav.locks import (
    LOCK_SECONDS,
    Lock,
    Touched,
    folder_of,
    is_below,
    path_of,
    paths_above,
    roots_in_the_way,
)
from chunkstore.core.errors import Locked, PreconditionFailed, TooManyLocks, VerbLacking
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move, Name, Patch, Put

MAX_LOCKS: Final = 10_000
"""How many locks a store has at most,"""
MAX_LOCKS_OF_ONE: Final = 1000
"""of one principal, as far as there are accounts,"""
MAX_LOCKS_ON_ONE: Final = 64
"""and on one name."""
MOST_BELOW: Final = 1000
"""How many there may be in a folder that is to be changed as a whole."""
_MOST_TOLD: Final = 16


@dataclass(frozen=True, slots=True)
class Guard:
    """What a request says of locks and entity tags.

    `tokens` are those that it submits, and `principal` is who it comes from. `tags` must hold of
    the files that its resources name by their paths.
    """

    tokens: frozenset[str] = frozenset()
    principal: str = ""
    tags: TagFormula = TRUE


UNGUARDED: Final = Guard()
"""That of who knows of no lock: every lock is in the way."""


@dataclass(frozen=True, slots=True)
class WantedLock:
    """A lock that somebody asks for; as `Lock`.

    Of `allowed` it needs `WRITE` where there is something of the name, else `CREATE`.
    """

    name: Name
    is_deep: bool
    is_exclusive: bool
    owner: str = ""
    principal: str = ""
    seconds: int = LOCK_SECONDS
    allowed: Verbs = EVERYTHING


@dataclass(frozen=True, slots=True)
class Taken:
    """A lock, and whether there is something of its name."""

    lock: Lock
    exists: bool


class Locks(ABC):
    """The write locks of a store."""

    @abstractmethod
    async def take(self, wanted: WantedLock) -> Taken:
        """Take a lock; a folder that it is taken on stays when its last member goes.

        Raises:
            Locked: another is in the way.
            TooManyLocks: there are as many as there may be.
            VerbLacking: it is not allowed.
        """

    @abstractmethod
    async def refresh(self, token: str, seconds: int) -> Lock | None:
        """Give a lock its time anew; return it, None if it does not hold any more."""

    @abstractmethod
    async def release(self, token: str) -> Lock | None:
        """End a lock; return it as it was, None if it did not hold."""

    @abstractmethod
    async def covering(self, paths: Collection[str]) -> Sequence[Lock]:
        """Return the locks that are rooted at one of the paths or above one, in order of roots.

        A path has no slash at its end.
        """

    @abstractmethod
    async def etags(self, paths: Collection[str]) -> Mapping[str, str]:
        """Return the entity tags that an `If` is judged by: of those of the paths that are files.

        A file whose entry is damaged has none.
        """

    @abstractmethod
    async def list(self) -> Sequence[Lock]:
        """Return all that hold, in order of their roots."""


def touched_by(edit: Edit, *, replaced: bool) -> Touched:
    """Return what an edit changes that replaces something or not (§7.4, §7.5)."""
    match edit:
        case Put():
            return touched_by_put(edit.name, replaced=replaced)
        case MakeFolder():
            return _coming(edit.name, is_new=True)
        case Patch():
            return Touched(frozenset({path_of(edit.name)}))
        case Delete():
            return _going(edit.name)
        case Copy():
            return _in_place_of(edit.target)
        case Move():
            return _in_place_of(edit.target) | _going(edit.source)


def touched_by_put(name: FileName, *, replaced: bool) -> Touched:
    """Return what a `Put` of a name changes."""
    return _coming(name, is_new=not replaced)


def _coming(name: Name, *, is_new: bool) -> Touched:
    path = path_of(name)
    return Touched(frozenset({path, folder_of(path)} if is_new else {path}))


def _going(name: Name) -> Touched:
    path = path_of(name)
    return Touched(frozenset({path, folder_of(path)}), frozenset({path}))


def _in_place_of(name: Name) -> Touched:
    # What was there is deleted before (§9.8.4, §9.9.3), so its folder gets another member.
    return _coming(name, is_new=True) | Touched(trees=frozenset({path_of(name)}))


def made_by(edit: Edit) -> Name | None:
    """Return what an edit puts somewhere, perhaps with folders above it, None for nothing."""
    match edit:
        case Put():
            return None if edit.strict else edit.name
        case Copy() | Move():
            return None if edit.strict else edit.target
        case MakeFolder():
            return None if edit.strict else edit.name
        case _:
            return None


def taken_by(edit: Edit) -> Name | None:
    """Return what an edit takes away, perhaps with folders above it, None for nothing."""
    match edit:
        case Delete():
            return None if edit.strict else edit.name
        case Move():
            return None if edit.strict else edit.source
        case _:
            return None


def comes_into(edit: Edit, folder: FolderName) -> bool:
    """Whether an edit that takes something away puts it into a folder."""
    return isinstance(edit, Move) and edit.target.startswith(folder)


def member_roots_above(name: Name) -> Sequence[str]:
    """Return the paths where locks may be rooted that `memberships` tells of."""
    return paths_above(folder_of(path_of(name)))[1:]


def memberships(locks: Iterable[Lock], name: Name) -> Sequence[tuple[str, FolderName]]:
    """Return the roots of locks that guard which members a folder has, far above a name.

    Each comes with the folder in it by which the name is reached: if that does not exist, to make
    the name makes it too, and if nothing else is in it, to take the name away takes it too.
    """
    path = path_of(name)
    found = []
    for lock in locks:
        if not lock.is_deep and is_below(folder_of(path), lock.root):
            start = len(lock.root) + 1 if lock.root else 0
            found.append((lock.root, FolderName(path[: path.index("/", start) + 1])))
    return found


def roots_of_interest(touched: Touched) -> frozenset[str]:
    """Return the paths where locks may be rooted that cover what is touched, but not below it."""
    return frozenset(root for path in touched.paths | touched.trees for root in paths_above(path))


def locked(locks: Iterable[Lock], names: Collection[str]) -> Locked:
    """Return what refuses a request that the locks on these names are in the way of."""
    # Those of a folder and of one in it can have the same among them.
    found = {lock.token: lock for lock in locks if lock.name in names}
    in_order = sorted(found.values(), key=attrgetter("name", "token"))
    return Locked([held(lock) for lock in in_order[:_MOST_TOLD]])


def require_tokens(locks: Sequence[Lock], touched: Touched, guard: Guard) -> None:
    """Refuse a write that a lock is in the way of.

    Raises:
        Locked: one is.
    """
    roots = roots_in_the_way(locks, touched, guard.tokens, guard.principal)
    if roots:
        raise locked(locks, roots)


def require_few(below: Sequence[Lock]) -> None:
    """Refuse to change a folder as a whole with more than `MOST_BELOW` locks `below`.

    They would be looked at while others wait.

    Raises:
        Locked: there are more.
    """
    if len(below) > MOST_BELOW:
        raise Locked([held(lock) for lock in below[:_MOST_TOLD]])


def require_tags(guard: Guard, etag_of: Callable[[str], str | None]) -> None:
    """Refuse a write whose entity tags do not hold; `etag_of` is asked with paths.

    Raises:
        PreconditionFailed: they do not.
    """

    def of(resource: ResourceTag | None) -> str | None:
        return None if resource is None else etag_of(resource)

    if not guard.tags.holds(of):
        raise PreconditionFailed


def require_allowed(wanted: WantedLock, *, exists: bool) -> None:
    """Refuse a lock that is not allowed on what exists or does not.

    Raises:
        VerbLacking: it is not.
    """
    needed = Verbs.WRITE if exists else Verbs.CREATE
    if needed not in wanted.allowed:
        raise VerbLacking(wanted.name, words_of(needed))


def require_room(total: int, on_root: int) -> None:
    """Refuse a lock where there are as many as there may be, in all and on one name.

    Raises:
        TooManyLocks: there are.
    """
    if total >= MAX_LOCKS or on_root >= MAX_LOCKS_ON_ONE:
        raise TooManyLocks


def counts_own(total: int, wanted: WantedLock) -> bool:
    """Whether it is to be counted how many are of who asks, to be judged by `require_own_room`."""
    return wanted.principal != "" and total >= MAX_LOCKS_OF_ONE


def require_own_room(own: int) -> None:
    """Refuse a lock to who has as many as one may have.

    Raises:
        TooManyLocks: they have.
    """
    if own >= MAX_LOCKS_OF_ONE:
        raise TooManyLocks
