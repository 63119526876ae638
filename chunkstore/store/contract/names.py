"""The contract of names: files and folders, and the edits that change them.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, overload

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.audit import Who
from chunkstore.store.contract.edits import Edit, Put
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.contract.measures import Measures
from chunkstore.store.contract.values import Applied, Committed, File, Folder, Listing


class Follower(Protocol):
    """Is told of edits that this process has made."""

    def made(self, edits: Sequence[Edit], applied: Sequence[Applied]) -> None:
        """Take note of edits that are durable, and of the result of each; raise no error."""


class Names(ABC):
    """The files and folders of a store, by name; what is done to them is counted in `measures`."""

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        self._followers: list[Follower] = []

    @contextmanager
    def followed_by(self, follower: Follower) -> Iterator[None]:
        """Tell `follower` of the edits that `apply` makes within a context."""
        self._followers.append(follower)
        try:
            yield
        finally:
            self._followers.remove(follower)

    @overload
    async def find(self, name: FileName) -> File | None: ...

    @overload
    async def find(self, name: FolderName) -> Folder | None: ...

    async def find(self, name: FileName | FolderName) -> File | Folder | None:
        """Return the file or the folder, None if there is none; the root folder always exists."""
        return await self._find(name)

    @abstractmethod
    async def check_put(
        self,
        name: FileName,
        conditions: Conditions = UNCONDITIONAL,
        allowed: Verbs = EVERYTHING,
        *,
        strict: bool = False,
        guard: Guard = UNGUARDED,
    ) -> None:
        """Raise what a `Put` of this name would raise now, before content is sent for nothing."""

    @abstractmethod
    async def list(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
        made_folders: bool = False,
    ) -> Listing:
        """Return the files whose names begin with `prefix`, in order, at most `limit` entries.

        Names with `delimiter` after the prefix are rolled up to its first occurrence and appear
        once, as a folder. With `made_folders` also folders that were made appear whose names are
        not rolled up. The page begins after `after`: the `next` of a listing, or any text. The
        cost grows with the page, not with the store.
        """

    @overload
    async def apply(
        self, edits: Sequence[Put], by: Who | None = None, guard: Guard = UNGUARDED
    ) -> Sequence[Committed]: ...

    @overload
    async def apply(
        self, edits: Sequence[Edit], by: Who | None = None, guard: Guard = UNGUARDED
    ) -> Sequence[Applied]: ...

    async def apply(
        self, edits: Sequence[Edit], by: Who | None = None, guard: Guard = UNGUARDED
    ) -> Sequence[Applied]:
        """Make all edits in order, or none; each sees the result of those before it.

        Return the result of each, a `Committed` for each `Put`. What is done by somebody is told by
        entries of the audit log. Locks that are rooted at what is deleted or moved end with it.

        Raises:
            What `judge` raises, and InvalidName where a name under a folder would be too long;
            the error's `edit` is the index of the edit that failed.
            NotFound: an upload to be put does not exist, is not whole, or is complete already.
            ChunksMissing: as `Upload.append`.
            TooManyNames: a folder has too many names to be changed together with other edits.
            QuotaExceeded: a folder would use more than its quota allows.
            PreconditionFailed: the entity tags of the guard do not hold.
            Locked: a lock is in the way whose token the guard lacks.
        """
        began = time.perf_counter()
        applied = await self._apply(edits, by, guard)
        self.measures.committed(applied, time.perf_counter() - began)
        for follower in self._followers:
            follower.made(edits, applied)
        return applied

    @abstractmethod
    async def _find(self, name: FileName | FolderName) -> File | Folder | None: ...

    @abstractmethod
    async def _apply(
        self, edits: Sequence[Edit], by: Who | None, guard: Guard
    ) -> Sequence[Applied]: ...
