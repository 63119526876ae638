"""The tree of a folder of a server, as its lists show it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chunkstore.client.errors import Missing
from chunkstore.client.server.files import Files
from chunkstore.client.server.values import Page, RemoteFile
from chunkstore.client.sync.filters import EVERYTHING, Filter
from chunkstore.client.sync.paths import segments_of
from chunkstore.client.sync.tree import NotSynced, Tree
from chunkstore.client.targets import is_part_name
from chunkstore.client.workers import run_each
from chunkstore.core.digest import Digest
from chunkstore.core.errors import InvalidName

ALL_LEVELS = ""
ONE_LEVEL = "/"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a server's list; its size is bytes."""

    file: RemoteFile
    size: int

    @property
    def digest(self) -> Digest | None:
        """Its digest, as the server tells it."""
        return self.file.digest


@dataclass(frozen=True, slots=True)
class RemoteTree(Tree):
    """A tree of a server; `exists` tells an empty folder from none."""

    files: dict[str, ListedFile]
    exists: bool = True


def list_tree(
    files: Files,
    folder: str,
    chosen: Filter = EVERYTHING,
    *,
    empty_folders: bool = False,
    connections: int = 1,
) -> RemoteTree:
    """Return the tree of `folder`, whose name ends in `/` or is empty.

    It takes a request for each thousand files; with `empty_folders` one for each folder. Files
    whose names are those of parts are left out, as they are on this machine.

    Raises:
        ClientError: the server refuses, is away, or has no lists.
    """
    listing = _Listing(files, folder, chosen)
    if empty_folders:
        listing.list_levels(connections)
    else:
        listing.list_all()
    return RemoteTree(
        listing.files,
        frozenset(listing.empty_folders),
        tuple(listing.failures),
        exists=listing.exists,
    )


class _Listing:
    def __init__(self, files: Files, folder: str, chosen: Filter) -> None:
        self._server = files
        self._folder = folder
        self._chosen = chosen
        self._lock = threading.Lock()
        self.files: dict[str, ListedFile] = {}
        self.empty_folders: set[str] = set()
        self.failures: list[NotSynced] = []
        self.exists = True

    def list_all(self) -> None:
        """List all levels at once."""
        try:
            for page in self._pages(self._folder, ALL_LEVELS):
                self._take_files(page)
        except Missing:
            self.exists = False

    def list_levels(self, connections: int) -> None:
        """List each folder by itself, which shows those that are empty."""
        level = [self._folder]
        while level:
            found: list[str] = []
            run_each(connections, level, self._take_level(found))
            level = sorted(found)

    def _take_level(self, found: list[str]) -> Callable[[str], None]:
        def take(folder: str) -> None:
            is_empty = True
            try:
                for page in self._pages(folder, ONE_LEVEL):
                    is_empty = is_empty and not page.files and not page.folders
                    with self._lock:
                        self._take_files(page)
                        found.extend(filter(self._is_entered, page.folders))
            except Missing:
                self.exists = self.exists and folder != self._folder
                return
            name = folder.removeprefix(self._folder).removesuffix("/")
            if is_empty and name and self._chosen.includes(name):
                with self._lock:
                    self.empty_folders.add(name)

        return take

    def _pages(self, folder: str, delimiter: str) -> Iterator[Page]:
        after = None
        while True:
            page = self._server.list(folder, delimiter=delimiter, after=after)
            yield page
            if page.next is None:
                return
            after = page.next

    def _take_files(self, page: Page) -> None:
        for file in page.files:
            name = self._relative(file.name)
            if name is None or file.size is None or is_part_name(name.rpartition("/")[2]):
                continue
            if self._chosen.includes(name):
                self.files[name] = ListedFile(file, file.size)

    def _is_entered(self, folder: str) -> bool:
        name = self._relative(folder.removesuffix("/"))
        return name is not None and not self._chosen.excludes_folder(name)

    def _relative(self, name: str) -> str | None:
        """Return a name within the folder; a server could list anything."""
        relative = name.removeprefix(self._folder)
        try:
            segments_of(relative)
        except InvalidName as error:
            self.failures.append(NotSynced(relative, error))
            return None
        if name.startswith(self._folder):
            return relative
        elsewhere = InvalidName(f"The server lists {name!r} in {self._folder!r}.")
        self.failures.append(NotSynced(name, elsewhere))
        return None
