"""The contract of what is kept with names, and told by WebDAV only: times and properties.

The obligations of `chunkstore.store.contract.store` hold here too. It is changed by edits
(`Patch`), and goes with the names when these are copied, moved or deleted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chunkstore.store.contract.edits import Name


@dataclass(frozen=True, slots=True)
class Description:
    """What is kept with a name: its times, and properties as `core.dav.properties` has them."""

    created: datetime
    modified: datetime
    properties: bytes | None = None


class Properties(ABC):
    """What is kept with files and folders."""

    @abstractmethod
    async def describe(
        self, names: Sequence[Name], *, bare: bool = True
    ) -> Mapping[Name, Description]:
        """Return what is kept with those of the names that exist.

        Without `bare`, files are left out that have no properties.

        A folder that was not made has the times of the first name in it, and so has the root folder
        those that nobody has set; in an empty store they are those of 1970.
        """
