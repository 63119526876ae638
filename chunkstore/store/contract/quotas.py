"""The contract of quotas: what the files under a folder may come to.

What counts is the logical size of the files whose names begin with the folder's, and how many they
are, whoever put them; nested quotas all count. Each call of `Names.apply` changes what is used by
what it changes, in the same transaction, and is refused as a whole if it would use more of a quota
than is allowed: so what is used is exact at every commit. What uses less always works, also where
too much is used already. Folders without a quota cost nothing. The obligations of
`chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.core.errors import QuotaExceeded
from chunkstore.core.names import FileName, FolderName


@dataclass(frozen=True, slots=True)
class Usage:
    """How many bytes some files have together, and how many files they are; or a change of both."""

    size: int
    files: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.size + other.size, self.files + other.files)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.size - other.size, self.files - other.files)


NO_USAGE: Final = Usage(0, 0)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a folder may use, `max_size` bytes and `max_files` files, None for any; what it does."""

    folder: FolderName
    max_size: int | None
    max_files: int | None
    used: Usage

    def check(self, change: Usage) -> None:
        """Refuse a change of what is used that is too much.

        Raises:
            QuotaExceeded: it is.
        """
        used = self.used
        if _exceeds(used.size, change.size, self.max_size):
            raise QuotaExceeded(self.folder, "bytes", self.max_size or 0, used.size)
        if _exceeds(used.files, change.files, self.max_files):
            raise QuotaExceeded(self.folder, "files", self.max_files or 0, used.files)


def _exceeds(used: int, change: int, limit: int | None) -> bool:
    return change > 0 and limit is not None and used + change > limit


@dataclass(frozen=True, slots=True)
class Recount:
    """What a recount of a folder found: what was kept of it, and by how much that was wrong."""

    folder: FolderName
    kept: Usage
    drift: Usage


class Quotas(ABC):
    """The quotas of a store."""

    @abstractmethod
    async def list(self) -> Sequence[Quota]:
        """Return all, in the order of their folders."""

    @abstractmethod
    async def covering(self, name: FileName | FolderName) -> Sequence[Quota]:
        """Return those that what is put under a name counts for, from the outermost inwards.

        It is for advice, since the commit decides: one that was set a second ago may be missing.
        """

    @abstractmethod
    async def set(self, folder: FolderName, max_size: int | None, max_files: int | None) -> Quota:
        """Set the quota of a folder, or change what it allows; return it, with what is used by now.

        What is there is counted while others go on to write, and refused nothing until then. The
        folder need not exist.

        Raises:
            StoreUnavailable: others write so much that it is not known what is there; try again.
            ValueError: neither is given, or one is negative.
        """

    @abstractmethod
    async def remove(self, folder: FolderName) -> None:
        """Remove the quota of a folder.

        Raises:
            NotFound: it has none.
        """

    @abstractmethod
    def recount(self) -> AsyncIterator[Recount]:
        """Count again what each folder uses, and mend what is kept of it; yield what was found.

        It differs only where something is damaged, or was changed past the store. A quota that was
        being set when its process ended is in force from then on.

        Raises:
            StoreUnavailable: as `set`.
        """


def check_limits(max_size: int | None, max_files: int | None) -> None:
    """Check what a quota is to allow.

    Raises:
        ValueError: neither is given, or one is negative or larger than stores can keep.
    """
    given = [limit for limit in (max_size, max_files) if limit is not None]
    if not given or not all(0 <= limit < 1 << 63 for limit in given):
        raise ValueError("a quota has a size, a number of files or both, from 0 on")
