"""What is computed of chaining values, in threads, where numpy is imported too.

Neither the import nor the computing keeps the interpreter to itself for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chunkstore.core.digest import Digest

if TYPE_CHECKING:
    from chunkstore.core.blake3_tree import TreeMerger


class Merging:
    """Merges the chaining values of one content to its digest, off the event loop."""

    def __init__(self) -> None:
        self._merger: TreeMerger | None = None

    async def add(self, values: bytes) -> None:
        """Take the next values, end to end."""
        await asyncio.to_thread(self._add, values)

    async def digest(self) -> Digest:
        """Return the digest of the content, of whose chunks all values have been taken."""
        assert self._merger is not None
        return await asyncio.to_thread(self._merger.digest)

    def _add(self, values: bytes) -> None:
        # numpy takes a tenth of a second to import, and 14 MB.
        from chunkstore.core.blake3_tree import TreeMerger

        if self._merger is None:
            self._merger = TreeMerger()
        self._merger.add(values)


def chaining_values(runs: Sequence[tuple[int, bytes]], chunk_size: int) -> bytes:
    """Return the chaining values of runs of chunks, as `blake3_tree` does; for a thread."""
    from chunkstore.core import blake3_tree

    return blake3_tree.chaining_values(runs, chunk_size)
