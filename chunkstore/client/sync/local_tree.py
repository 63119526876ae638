"""The tree of a folder of this machine, as `scan` finds it."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chunkstore.client.sync.filters import EVERYTHING, Filter
from chunkstore.client.sync.tree import NotSynced, Tree
from chunkstore.core.digest import Digest
from chunkstore.core.errors import InvalidName, LocalFileError, NameConflict
from chunkstore.core.names import parse_file_name


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine, as it was when its folder was scanned."""

    path: Path
    stat: os.stat_result
    digest: Digest | None = None

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.stat.st_size

    def is_unchanged(self) -> bool:
        """Whether the file at this path is still this one, as far as its times tell."""
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        if stat.S_ISLNK(now.st_mode):
            now = os.stat(self.path)
        return _marks(now) == _marks(self.stat)


@dataclass(frozen=True, slots=True)
class LocalTree(Tree):
    """A tree of this machine."""

    files: dict[str, LocalFile]


def scan(
    root: Path,
    chosen: Filter = EVERYTHING,
    *,
    prefix: str = "",
    follow_links: bool = False,
    ignores: Callable[[str], bool] = lambda _: False,
    warn: Callable[[str], object] = lambda _: None,
) -> LocalTree:
    """Return the tree below `root`, without files that `ignores` knows by their last names.

    `prefix` is the folder's name on a server, which has to leave room for the names. Symbolic
    links and devices are left out with a warning; with `follow_links` the links are followed.

    Raises:
        LocalFileError: `root` itself cannot be read.
    """
    walk = _Walk(chosen, prefix, follow_links=follow_links, ignores=ignores, warn=warn)
    try:
        found = os.stat(root)
        entries = _read(root)
    except OSError as error:
        raise LocalFileError(f"{root}: {error.strerror or error}.") from error
    walk.walk(entries, _identity(found))
    return LocalTree(walk.files, frozenset(walk.empty_folders), tuple(walk.failures))


class _Walk:
    def __init__(
        self,
        chosen: Filter,
        prefix: str,
        *,
        follow_links: bool,
        ignores: Callable[[str], bool],
        warn: Callable[[str], object],
    ) -> None:
        self._chosen = chosen
        self._prefix = prefix
        self._follow_links = follow_links
        self._ignores = ignores
        self._warn = warn
        self.files: dict[str, LocalFile] = {}
        self.empty_folders: list[str] = []
        self.failures: list[NotSynced] = []
        # Folders to look at, each with the identities of itself and those that it lies in.
        self._pending: list[tuple[str, Sequence[os.DirEntry[str]], tuple[_Identity, ...]]] = []

    def walk(self, entries: Sequence[os.DirEntry[str]], root: _Identity) -> None:
        """Take what is in the root folder, and in all folders below it."""
        self._pending.append(("", entries, (root,)))
        while self._pending:
            folder, entries, above = self._pending.pop()
            for name, entry in self._named(folder, entries):
                try:
                    self._take(name, entry, above)
                except FileNotFoundError:
                    if entry.is_symlink():
                        self._warn(f"{entry.path} leads nowhere, and is left out.")
                except OSError as error:
                    self._fail(name, LocalFileError(f"{entry.path}: {error.strerror or error}."))

    def _named(
        self, folder: str, entries: Sequence[os.DirEntry[str]]
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield entries with their names, except those of which two have one in NFC."""
        named: dict[str, list[os.DirEntry[str]]] = {}
        for entry in entries:
            name = folder + unicodedata.normalize("NFC", entry.name)
            named.setdefault(name, []).append(entry)
        for name, same in named.items():
            if len(same) == 1:
                yield name, same[0]
            elif self._chosen.includes(name) or not self._chosen.excludes_folder(name):
                paths = " and ".join(repr(entry.path) for entry in same)
                self._fail(name, NameConflict(f"{paths} would have one name on the server."))

    def _take(self, name: str, entry: os.DirEntry[str], above: tuple[_Identity, ...]) -> None:
        if entry.is_dir(follow_symlinks=self._follow_links):
            if not self._chosen.excludes_folder(name):
                self._enter(name, entry, above)
            return
        if not self._chosen.includes(name) or self._ignores(entry.name):
            return
        found = entry.stat(follow_symlinks=self._follow_links)
        if stat.S_ISREG(found.st_mode):
            self._add(name, entry, found)
        elif stat.S_ISLNK(found.st_mode):
            self._warn(f"{entry.path} is a symbolic link and left out; -L follows links.")
        else:
            self._warn(f"{entry.path} is neither a file nor a folder, and left out.")

    def _enter(self, name: str, entry: os.DirEntry[str], above: tuple[_Identity, ...]) -> None:
        identity = _identity(entry.stat(follow_symlinks=self._follow_links))
        if identity in above:
            self._warn(f"{entry.path} leads to a folder that it lies in, and is left out.")
            return
        entries = _read(entry.path)
        if entries:
            self._pending.append((f"{name}/", entries, (*above, identity)))
        elif self._chosen.includes(name) and self._is_name(name):
            self.empty_folders.append(name)

    def _add(self, name: str, entry: os.DirEntry[str], found: os.stat_result) -> None:
        if self._is_name(name):
            self.files[name] = LocalFile(Path(entry.path), found)

    def _is_name(self, name: str) -> bool:
        try:
            parse_file_name(self._prefix + name)
        except InvalidName as error:
            self._fail(name, error)
            return False
        return True

    def _fail(self, name: str, error: Exception) -> None:
        self.failures.append(NotSynced(name, error))


_Identity = tuple[int, int]


def _read(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _marks(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
