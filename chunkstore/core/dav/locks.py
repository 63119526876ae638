"""Write locks (RFC 4918 §6, §7): what one covers, which may be there together, and which of them a
write would break. Nothing here asks what time it is: expired locks are left out before.

A lock is rooted at a name. On a folder, one of depth infinity covers all below it, also what comes
there later; one of depth 0 covers the folder's own properties and which members it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chunkstore.core.names import FileName, FolderName

LOCK_SECONDS: Final = 600
"""The time that a lock is given which asks for none."""
LEAST_LOCK_SECONDS: Final = 60
MAX_LOCK_SECONDS: Final = 3600
"""The bounds of that, whatever it asks for."""
MAX_OWNER_SIZE: Final = 4096
"""Bytes of what a lock says of its owner."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that holds.

    `root` is a path without a slash at its end, "" the root folder's; `is_deep` is depth infinity.
    `owner` is the XML that was sent with it, "" for none. `principal` is who took it, "" for
    everybody where there are no accounts. `seconds` is the time that it was given, `expires` when
    that ends.
    """

    token: str
    root: str
    is_folder: bool
    is_deep: bool
    is_exclusive: bool
    owner: str
    principal: str
    seconds: int
    expires: datetime

    @property
    def name(self) -> FileName | FolderName:
        """The name that it is rooted at."""
        return (
            FolderName(f"{self.root}/" if self.root else "")
            if self.is_folder
            else (FileName(self.root))
        )

    def covers(self, path: str) -> bool:
        """Whether it covers a path, which has no slash at its end."""
        return path == self.root or (self.is_deep and is_below(path, self.root))


@dataclass(frozen=True, slots=True)
class Touched:
    """What a write changes: the state of `paths`, and all that there is below `trees`.

    Paths have no slash at their end. To add or remove a member changes the folder too.
    """

    paths: frozenset[str] = frozenset()
    trees: frozenset[str] = frozenset()

    def __or__(self, other: Touched) -> Touched:
        return Touched(self.paths | other.paths, self.trees | other.trees)


def is_below(path: str, folder: str) -> bool:
    """Whether a path lies in a folder or deeper, both without a slash at the end."""
    return path != folder and (folder == "" or path.startswith(f"{folder}/"))


def path_of(name: FileName | FolderName) -> str:
    """Return the path of a name, without a slash at its end."""
    return name.removesuffix("/")


def folder_of(path: str) -> str:
    """Return the path of the folder that a path lies in."""
    return path.rpartition("/")[0]


def paths_above(path: str) -> Sequence[str]:
    """Return the paths at which a lock may be rooted that covers a path, itself among them."""
    above = [path]
    while path:
        path = folder_of(path)
        above.append(path)
    return above


def roots_in_the_way(
    locks: Iterable[Lock], touched: Touched, tokens: Collection[str], principal: str
) -> Sequence[str]:
    """Return the names, in order, on which locks were taken that a write would break.

    Where shared locks cover a path, the token of one of them is enough. A token counts only for
    whoever took the lock (§6.4).
    """
    by_root: dict[str, list[Lock]] = {}
    for lock in locks:
        by_root.setdefault(lock.root, []).append(lock)
    paths = set(touched.paths)
    paths.update(root for root in by_root if any(is_below(root, tree) for tree in touched.trees))
    roots: set[str] = set()
    for path in paths:
        on_path = [
            lock
            for root in paths_above(path)
            for lock in by_root.get(root, ())
            if lock.covers(path)
        ]
        if on_path and not any(
            lock.token in tokens and lock.principal == principal for lock in on_path
        ):
            roots.update(lock.name for lock in on_path)
    return sorted(roots)


def roots_in_conflict(
    locks: Iterable[Lock], path: str, *, is_deep: bool, is_exclusive: bool
) -> Sequence[str]:
    """Return the names, in order, of locks beside which a new one cannot be (§6.2)."""
    return sorted(
        lock.name
        for lock in locks
        if (is_exclusive or lock.is_exclusive)
        and (lock.covers(path) or (is_deep and is_below(lock.root, path)))
    )


def clamped_seconds(wanted: int) -> int:
    """Return the time that a lock is given which asks for one, within bounds."""
    return min(max(wanted, LEAST_LOCK_SECONDS), MAX_LOCK_SECONDS)
