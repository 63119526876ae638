"""Paths of names below a folder of this machine, out of which no name leads.

A name comes from a server, or from a plan, and is not to be trusted: it could have `..` in it, or
lead through a symbolic link that lies in the folder ("zip slip").
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from chunkstore.core.errors import Forbidden, InvalidName
from chunkstore.core.names import parse_file_name

_HERE: Final = type(PurePath())


def segments_of(name: str, flavour: type[PurePath] = _HERE) -> list[str]:
    """Return the segments of a name, each of which is one of a path, too.

    `flavour` has the rules of a file system.

    Raises:
        InvalidName: it is no canonical name, or has a segment that this file system would
            understand as something else.
    """
    if parse_file_name(name) != name:
        raise InvalidName(f"The name {name!r} is not in NFC.")
    segments = name.split("/")
    if issubclass(flavour, PurePosixPath):
        return segments  # What a name forbids is all that is special there.
    for segment in segments:
        path = flavour(segment)
        if path.parts != (segment,) or path.anchor or path.name != segment:
            raise InvalidName(f"The name {name!r} is no path here.")
    return segments


class SafeFolder:
    """A folder of the file system in which names are given paths.

    The folder itself may be reached through links; below it none is followed, unless
    `follow_links`.
    """

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        self.root = root
        self._follow_links = follow_links

    def path_of(self, name: str) -> Path:
        """Return the path of a name, whose folders may be missing.

        Raises:
            InvalidName: no path of this folder can be like that.
            Forbidden: it leads through a symbolic link, or is one.
        """
        path = self._parent_of(name, make=False)
        if not self._follow_links and path.is_symlink():
            raise Forbidden(f"{path} is a symbolic link; it is neither followed nor replaced.")
        return path

    def made_path_of(self, name: str) -> Path:
        """Return the path of a name, and make the folders that it lies in.

        Raises:
            InvalidName, Forbidden: as `path_of` does.
            OSError: a folder cannot be made.
        """
        self._parent_of(name, make=True)
        return self.path_of(name)

    def _parent_of(self, name: str, *, make: bool) -> Path:
        *folders, last = segments_of(name)
        path = self.root
        for segment in folders:
            path = path / segment
            self._check(path, make=make)
        return path / last

    def _check(self, folder: Path, *, make: bool) -> None:
        """Refuse to go on beyond a link."""
        if make:
            folder.mkdir(exist_ok=True)
        if self._follow_links:
            return
        try:
            mode = os.lstat(folder).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise Forbidden(f"{folder} is a symbolic link; nothing is followed beyond it.")
