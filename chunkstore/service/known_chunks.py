"""Which chunks somebody may refer to by their digests alone.

A digest proves nothing: whoever knows one might get content by it that they may not read. So who
may not read everything refers only to chunks of files that they may read and name, and to what they
have sent to the upload. Nor does any answer tell whether the store has others.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.store.contract.store import Store

# Entries of a list that are read at once.
_PAGE: Final = 2048
# How many pages a request may have looked through at all, as many as a terabyte has, and for each
# page of digests that it asks for: short requests could have long lists read again and again.
_MOST_PAGES: Final = 2048
_PAGES_EACH: Final = 8


class KnownChunks(Protocol):
    """Chunks that may be referred to."""

    async def find_sizes(self, digests: Sequence[Digest]) -> Mapping[Digest, int]:
        """As `Chunks.find_sizes`."""


class ScopedChunks:
    """The chunks of the files `bases` and what was sent to the upload with this id, if any.

    Lists are looked through from where something was found last, since a content has its chunks in
    much the same order as that which it was made from. What is not found within bounds counts as
    what is not there: it has to be sent.
    """

    def __init__(
        self, store: Store, bases: Sequence[FileName], upload_id: str | None = None
    ) -> None:
        self._store = store
        self._bases = list(dict.fromkeys(bases))
        self._upload_id = upload_id
        self._held_from: tuple[int, int] | None = None
        self._base_from: dict[FileName, int] = {}
        self._pages_left = _MOST_PAGES

    async def find_sizes(self, digests: Sequence[Digest]) -> Mapping[Digest, int]:
        wanted = set(digests)
        self._pages_left += math.ceil(len(digests) / _PAGE) * _PAGES_EACH
        if self._upload_id is not None:
            await self._look(self._held_pages(self._upload_id), wanted)
        for base in self._bases:
            if wanted:
                await self._look(self._pages_of(base), wanted)
        known = [digest for digest in digests if digest not in wanted]
        return await self._store.chunks.find_sizes(known) if known else {}

    async def _look(
        self, pages: AsyncGenerator[Sequence[Digest], None], wanted: set[Digest]
    ) -> None:
        """Take what the pages have out of what is wanted."""
        if self._pages_left <= 0:
            return
        async with aclosing(pages):
            async for page in pages:
                wanted.difference_update(page)
                self._pages_left -= 1
                if not wanted or self._pages_left <= 0:
                    return

    async def _held_pages(self, upload_id: str) -> AsyncGenerator[Sequence[Digest], None]:
        began = self._held_from
        after: tuple[int, int] | None = began
        while True:
            page = await self._store.uploads.held(upload_id, after)
            self._held_from = after
            yield page.digests
            after = page.next
            if after is None:
                break
        after = None
        while began is not None and (after is None or after < began):
            page = await self._store.uploads.held(upload_id, after)
            self._held_from = after
            yield page.digests
            after = page.next
            if after is None:
                break

    async def _pages_of(self, base: FileName) -> AsyncGenerator[Sequence[Digest], None]:
        async with self._store.contents.open(base) as file:
            if file is None:
                return
            began = self._base_from.get(base, 0)
            if began >= file.size:
                began = 0
            for start, stop in ((began, file.size), (0, began)):
                place = start
                while place < stop:
                    self._base_from[base] = place
                    entries = await self._store.chunks.entries(file.manifest, place, _PAGE)
                    yield [entry.digest for entry in entries]
                    place += sum(entry.size for entry in entries)
