"""Lists of what may be seen, and nothing else.

A file is listed where there is the verb `list`. A folder, or whatever a delimiter rolls names up
to, is listed if something in it is. So a folder that only leads to one which may be listed shows
just what leads there, and no list depends on what it does not show.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from chunkstore.core.access import Access, Regions, Verbs
from chunkstore.core.names import MAX_NAME_SIZE, ROOT, FileName, FolderName, prefix_stop
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.values import File, Listing

# Of names that are looked through, where few of them may be seen.
_LEAST_PAGE: Final = 100
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class VisibleNames:
    """The names of a store as far as they may be listed."""

    names: Names
    access: Access

    def may_list(self, folder: FolderName) -> bool:
        """Whether there may be something in a folder that may be listed."""
        return self.access.somewhere(Verbs.LIST, folder)

    def lists_all(self, folder: FolderName) -> bool:
        """Whether all that there may be in a folder may be listed."""
        return self._lists_all(folder)

    async def exists(self, folder: FolderName) -> bool:
        """Whether it may be told that there is a folder.

        Where a part of it may not be listed, what lies there does not count; nor does that the
        folder was made.
        """
        if folder == ROOT or self.lists_all(folder):
            return await self.names.find(folder) is not None
        return await self._has_visible(folder)

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str,
        after: str | None,
        limit: int,
        made_folders: bool = False,
    ) -> Listing:
        """As `Names.list`, of what may be seen."""
        if self._lists_all(prefix):
            return await self.names.list(
                prefix, delimiter=delimiter, after=after, limit=limit, made_folders=made_folders
            )
        files: list[File] = []
        folders: list[FolderName] = []
        described: set[FileName] = set()
        is_locked = False
        last = following = None
        entries = self._entries(prefix, delimiter, after, limit + 1, made_folders=made_folders)
        async for entry, page in entries:
            if len(files) + len(folders) == limit:
                following = last
                break
            last = _name_of(entry)
            is_locked = is_locked or page.may_be_locked
            if isinstance(entry, File):
                files.append(entry)
                if entry.name in page.described:
                    described.add(entry.name)
            else:
                folders.append(entry)
        return Listing(files, folders, following, described, is_locked)

    async def _has_visible(self, prefix: str) -> bool:
        page = await self.list(prefix, delimiter="/", after=None, limit=1)
        return bool(page.files or page.folders)

    async def _entries(
        self,
        prefix: str,
        delimiter: str,
        after: str | None,
        limit: int,
        *,
        made_folders: bool = False,
    ) -> AsyncIterator[tuple[File | FolderName, Listing]]:
        """Yield what may be seen, in order, each with its page; what may not is skipped."""
        regions = self.access.regions(FolderName(prefix[: prefix.rfind("/") + 1]))
        if not self._lists(prefix):
            start = regions.next_start(prefix, Verbs.LIST)
            after = _skip_to(start, prefix, delimiter, after)
        is_listed = self.access.allowing(Verbs.LIST)
        while after is not END:
            size = max(limit, _LEAST_PAGE)
            page = await self.names.list(
                prefix, delimiter=delimiter, after=after, limit=size, made_folders=made_folders
            )
            hidden_from: str | None = None
            for entry in _in_order(page):
                hidden_from = None
                if isinstance(entry, File):
                    if is_listed(entry.name):
                        yield entry, page
                    else:
                        hidden_from = entry.name
                elif await self._shows(regions, entry):
                    yield entry, page
            if page.next is None:
                return
            after = page.next
            if hidden_from is not None:
                start = regions.next_start(hidden_from, Verbs.LIST)
                after = _skip_to(start, prefix, delimiter, after)

    async def _shows(self, regions: Regions, rolled_up: str) -> bool:
        """Whether something may be seen of what is rolled up."""
        if not regions.divide(rolled_up):
            return self._lists(rolled_up)
        if self._lists_all(rolled_up):
            return True
        if not self._lists(rolled_up):
            stop, start = prefix_stop(rolled_up), regions.next_start(rolled_up, Verbs.LIST)
            if start is None or (stop is not None and start >= stop):
                return False
        return await self._has_visible(rolled_up)

    def _lists(self, name: str) -> bool:
        return Verbs.LIST in self.access.verbs(FileName(name))

    def _lists_all(self, prefix: str) -> bool:
        return Verbs.LIST in self.access.everywhere(prefix)


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
