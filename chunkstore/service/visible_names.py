"""Lists of what may be seen, and nothing else.

A file is listed where there is the verb `list`. A folder, or whatever a delimiter rolls names up
to, is listed if something in it is. So a folder that only leads to one which may be listed shows
just what leads there, and no list depends on what it does not show.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import merge
from typing import Final

from chunkstore.core.access import Access, Verbs
from chunkstore.core.names import MAX_NAME_SIZE, ROOT, FileName, FolderName, prefix_stop
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.values import File, Listing

# Of names that are looked through, where few of them may be seen.
_LEAST_PAGE: Final = 100
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True, eq=False)
class VisibleRegions:
    """The regions of a folder, and what may be done in each."""

    access: Access
    folder: FolderName
    starts: Sequence[str]
    _verbs: dict[int, Verbs] = field(default_factory=dict)

    def verbs_at(self, place: int) -> Verbs:
        """Return what may be done in the region at a place."""
        found = self._verbs.get(place)
        if found is None:
            found = self._verbs[place] = self.access.verbs(FileName(self.starts[place]))
        return found

    def place_of(self, name: str) -> int:
        """Return the place of the region that a name of the folder is in."""
        return bisect_right(self.starts, name) - 1

    def has(self, verb: Verbs, name: str) -> bool:
        """Whether there is a verb for a file of the folder."""
        return verb in self.verbs_at(self.place_of(name))

    def has_everywhere(self, verb: Verbs, prefix: str) -> bool:
        """Whether there is a verb for all names with a prefix."""
        stop, place = prefix_stop(prefix), self.place_of(prefix)
        while place < len(self.starts) and (stop is None or self.starts[place] < stop):
            if verb not in self.verbs_at(place):
                return False
            place += 1
        return True

    def has_somewhere(self, verb: Verbs) -> bool:
        """Whether there is a verb in one of the regions."""
        return any(verb in self.verbs_at(place) for place in range(len(self.starts)))

    def next_start(self, name: str) -> str | None:
        """Return where the next region begins behind a name that may be listed, None for none."""
        for place in range(self.place_of(name) + 1, len(self.starts)):
            if Verbs.LIST in self.verbs_at(place):
                return self.starts[place]
        return None


@lru_cache(maxsize=64)
def regions_of(access: Access, folder: FolderName) -> VisibleRegions:
    """Return the regions of a folder."""
    return VisibleRegions(access, folder, access.borders(folder))


@dataclass(frozen=True, slots=True)
class VisibleNames:
    """The names of a store as far as they may be listed."""

    names: Names
    access: Access

    def may_list(self, folder: FolderName) -> bool:
        """Whether there may be something in a folder that may be listed."""
        return regions_of(self.access, folder).has_somewhere(Verbs.LIST)

    def lists_all(self, folder: FolderName) -> bool:
        """Whether all that there may be in a folder may be listed."""
        return regions_of(self.access, folder).has_everywhere(Verbs.LIST, folder)

    async def exists(self, folder: FolderName) -> bool:
        """Whether it may be told that there is a folder.

        Where a part of it may not be listed, what lies there does not count; nor does that the
        folder was made.
        """
        if folder == ROOT or self.lists_all(folder):
            return await self.names.find(folder) is not None
        return await self._has_visible(folder)

    async def list(self, prefix: str, *, delimiter: str, after: str | None, limit: int) -> Listing:
        """As `Names.list`, of what may be seen."""
        regions = regions_of(self.access, FolderName(prefix[: prefix.rfind("/") + 1]))
        if regions.has_everywhere(Verbs.LIST, prefix):
            return await self.names.list(prefix, delimiter=delimiter, after=after, limit=limit)
        files: list[File] = []
        folders: list[FolderName] = []
        last: str | None = None
        async for entry in self._entries(regions, prefix, delimiter, after, limit + 1):
            if len(files) + len(folders) == limit:
                return Listing(files, folders, last)
            if isinstance(entry, File):
                files.append(entry)
                last = entry.name
            else:
                folders.append(entry)
                last = entry
        return Listing(files, folders, None)

    async def _has_visible(self, prefix: str) -> bool:
        page = await self.list(prefix, delimiter="/", after=None, limit=1)
        return bool(page.files or page.folders)

    async def _entries(
        self,
        regions: VisibleRegions,
        prefix: str,
        delimiter: str,
        after: str | None,
        limit: int,
    ) -> AsyncIterator[File | FolderName]:
        """Yield what may be seen, in order; regions that may not are skipped."""
        if not regions.has(Verbs.LIST, prefix):
            after = _skip_to(regions.next_start(prefix), prefix, delimiter, after)
        while after is not END:
            size = max(limit, _LEAST_PAGE)
            page = await self.names.list(prefix, delimiter=delimiter, after=after, limit=size)
            hidden_from: str | None = None
            for entry in _in_order(page):
                hidden_from = None
                if isinstance(entry, File):
                    if regions.has(Verbs.LIST, entry.name):
                        yield entry
                    else:
                        hidden_from = entry.name
                elif regions.has_everywhere(Verbs.LIST, entry) or await self._leads(regions, entry):
                    yield entry
            if page.next is None:
                return
            after = page.next
            if hidden_from is not None:
                after = _skip_to(regions.next_start(hidden_from), prefix, delimiter, after)

    async def _leads(self, regions: VisibleRegions, rolled_up: FolderName) -> bool:
        """Whether something may be seen of what is rolled up, of which a part may not be listed."""
        stop, start = prefix_stop(rolled_up), regions.next_start(rolled_up)
        is_listed = regions.has(Verbs.LIST, rolled_up)
        if not is_listed and (start is None or (stop is not None and start >= stop)):
            return False
        return await self._has_visible(rolled_up)


END: Final = "\U0010ffff" * MAX_NAME_SIZE
"""What no name comes behind."""


def _skip_to(start: str | None, prefix: str, delimiter: str, after: str | None) -> str:
    """Return behind what to go on so that the next name is `start`, or what that rolls up to."""
    if start is None or not start.startswith(prefix):
        return END
    if delimiter:
        place = start.find(delimiter, len(prefix))
        if place >= 0:
            start = start[: place + len(delimiter)]
    before = ord(start[-1]) - 1
    if before in _SURROGATES:
        before = _SURROGATES.start - 1
    skipped = start[:-1] + chr(before) + chr(_LAST) * (MAX_NAME_SIZE // 4)
    return skipped if after is None or after < skipped else after


def _in_order(page: Listing) -> Iterator[File | FolderName]:
    return merge(page.files, page.folders, key=_name_of)


def _name_of(entry: File | FolderName) -> str:
    return entry.name if isinstance(entry, File) else entry
