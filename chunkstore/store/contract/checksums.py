"""The contract of checksums: digests of contents by other algorithms, such as MD5 and SHA-1.

Clients know files by these. They belong to the content, whatever names it has, and are kept beside
its list. They can be computed again, so they may be lost at any time: nothing else depends on them.

The obligations of `chunkstore.store.contract.store` hold here too, but nothing need be durable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Sums: TypeAlias = Mapping[str, bytes]
"""Raw values of one content, by algorithms as Python's hashlib names them."""


class Checksums(ABC):
    """The checksums of contents, by the ids of their lists."""

    @abstractmethod
    async def find(self, list_ids: Sequence[int]) -> Mapping[int, Sums]:
        """Return what is known of contents; those of which nothing is are left out.

        What is damaged by chance is not known. Callers keep them to a thousand or so.
        """

    @abstractmethod
    async def keep(self, known: Mapping[int, Sums]) -> None:
        """Keep checksums of contents, in the place of those by the same algorithms.

        They go with the content. Nothing is kept for one that is gone, nor for a list that is not
        sealed. Callers keep them to a thousand or so, which are one short transaction.
        """
