"""The contract of chaining values: what a store keeps so that a digest needs not be read again.

The chunks of a list that was cut in equal ones are subtrees of BLAKE3, and each has a chaining
value (`chunkstore.core.blake3_tree`). They are kept in pages beside the list. They can be computed
again, so they may be lost at any time: nothing else depends on them.

The obligations of `chunkstore.store.contract.store` hold here too, but nothing need be durable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# How many values a page has; the last one of a list may have fewer.
PAGE_VALUES: Final = 1024


@dataclass(frozen=True, slots=True)
class SubtreePage:
    """Chaining values of chunks that follow each other, end to end.

    The first of these chunks begins at offset `start` of its list.
    """

    start: int
    values: bytes


class Subtrees(ABC):
    """The chaining values of chunks, by the list that the chunks are in."""

    @abstractmethod
    async def find(self, list_id: int, start: int, most: int) -> Sequence[SubtreePage]:
        """Return the pages of a list from offset `start` on, in order, at most `most`.

        There are none behind one that is missing or damaged by chance. That they are right is
        proved by nothing: whoever uses one merges all of the list to the digest of its content.
        """

    @abstractmethod
    async def keep(self, list_id: int, pages: Sequence[SubtreePage]) -> None:
        """Keep pages of a list, in the place of those that begin at the same offsets.

        They go with the list. Nothing is kept for a list that is gone. Callers keep them to some
        hundred KiB, which are one short transaction.
        """

    @abstractmethod
    async def drop(self, list_id: int) -> None:
        """Remove all pages of a list, in short transactions."""
