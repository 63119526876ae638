"""The contract of names: files and folders, and the edits that change them.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import overload

from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Edit, Put
from chunkstore.store.contract.values import Applied, Committed, File, Folder, Listing


class Names(ABC):
    """The names of a store."""

    @overload
    async def find(self, name: FileName) -> File | None: ...

    @overload
    async def find(self, name: FolderName) -> Folder | None: ...

    async def find(self, name: FileName | FolderName) -> File | Folder | None:
        """Return the file or the folder, None if there is none; the root folder always exists."""
        return await self._find(name)

    @abstractmethod
    async def check_put(self, name: FileName, conditions: Conditions = UNCONDITIONAL) -> None:
        """Raise what a `Put` of this name would now; so that no content is sent for nothing."""

    @abstractmethod
    async def list(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        """Return the files whose names begin with `prefix`, in order, at most `limit` entries.

        Names that have `delimiter` after the prefix are rolled up to the first one, and appear
        once, as a folder. The page begins behind `after`: a name or a folder that a listing
        returned, or any text. Costs grow with the page, not with the store.
        """

    @overload
    async def apply(self, edits: Sequence[Put]) -> Sequence[Committed]: ...

    @overload
    async def apply(self, edits: Sequence[Edit]) -> Sequence[Applied]: ...

    async def apply(self, edits: Sequence[Edit]) -> Sequence[Applied]:
        """Make all edits in their order, or none: each sees what those before have left.

        Return what each came to, a `Committed` for each `Put`.

        Raises:
            What `judge` raises, and InvalidName where a name under a folder would become too long;
            the error's `edit` is the place of the edit that failed.
            NotFound: an upload that is to be put does not exist, is not whole or was put before.
            TooManyNames: a folder has more names in it than can be changed beside other edits.
        """
        return await self._apply(edits)

    @abstractmethod
    async def _find(self, name: FileName | FolderName) -> File | Folder | None: ...

    @abstractmethod
    async def _apply(self, edits: Sequence[Edit]) -> Sequence[Applied]: ...
