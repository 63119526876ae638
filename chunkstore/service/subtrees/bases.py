"""Contents of which values are taken over, and the proof that these were right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import DIGEST_SIZE
from chunkstore.core.manifest import Manifest
from chunkstore.service.subtrees.lists import (
    GROUP_PAGES,
    EntryReader,
    EvenList,
    Unprovable,
)
from chunkstore.service.subtrees.merging import Merging
from chunkstore.store.contract.store import Store


class ValueReader:
    """Reads the chaining values of a sealed list, group by group, and proves them at the end."""

    def __init__(self, store: Store, even: EvenList, manifest: Manifest) -> None:
        self._subtrees = store.subtrees
        self._even = even
        self._manifest = manifest
        self._groups = even.groups()
        self._merging = Merging()

    async def next_group(self) -> bytes:
        """Return the values of the next group, end to end; nothing behind the last one.

        Raises:
            Unprovable: some are missing.
        """
        group = next(self._groups, None)
        if group is None:
            return b""
        pages = await self._subtrees.find(self._manifest.id, group.start, GROUP_PAGES)
        wanted = list(self._even.pages(group))
        sizes = [(span.start, self._even.count_in(span) * DIGEST_SIZE) for span in wanted]
        if [(page.start, len(page.values)) for page in pages[: len(wanted)]] != sizes:
            raise Unprovable
        values = b"".join(page.values for page in pages[: len(wanted)])
        await self._merging.add(values)
        return values

    async def are_right(self) -> bool:
        """Whether all values, as they were returned here, merge to the digest of the content.

        Those that were not read yet are read.

        Raises:
            Unprovable: some are missing.
        """
        while await self.next_group():
            pass
        return await self._merging.digest() == self._manifest.digest


class Base:
    """A content that a list is compared with, chunk by chunk, from its beginning to its end."""

    def __init__(self, store: Store, even: EvenList, manifest: Manifest) -> None:
        self.manifest = manifest
        self._used = False
        self._values = ValueReader(store, even, manifest)
        self._entries = EntryReader(store, even)
        self._group = b""

    async def next_group(self) -> None:
        """Go on to the next group of pages.

        Raises:
            Unprovable: values are missing.
        """
        self._group = await self._values.next_group()

    async def next_page(self, stop: int) -> BasePage:
        """Return the next page of the group, up to an offset. Raise as `EntryReader.read_to`."""
        entries = await self._entries.read_to(stop)
        size = len(entries) * DIGEST_SIZE
        values, self._group = self._group[:size], self._group[size:]
        return BasePage(self, entries, values)

    def use(self) -> None:
        """Note that a value was taken over, so that what was read here has to be right."""
        self._used = True

    async def prove(self) -> bool:
        """Whether all that was read here, of which something was used, is what was sealed.

        Raises:
            Unprovable: values are missing, or entries are not what they were.
            StoreDamaged: the list is not the one that was sealed.
        """
        if not self._used:
            return True
        await self._entries.read_rest()
        return await self._values.are_right()


@dataclass(frozen=True, slots=True)
class BasePage:
    """Some entries of a base, and their values end to end."""

    base: Base
    entries: Sequence[KnownChunk]
    values: bytes

    def find_value(self, place: int, entry: KnownChunk) -> bytes | None:
        """Return the value of the chunk at a place of the page, None if it is another chunk."""
        if place >= len(self.entries) or self.entries[place] != entry:
            return None
        self.base.use()
        return self.values[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE]
