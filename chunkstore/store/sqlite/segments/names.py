"""Second names of segments, by which a database that is replaced keeps its own.

The folder of the new database then has both for a moment. What has a second name and no row is
removed by the next start, whatever was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chunkstore.store.sqlite.segments.folder import (
    folder_mode,
    folder_of,
    segments_in,
    sync_folder,
)


def link_segments(database: Path, other: Path) -> None:
    """Give the segments of one database second names, as those of another.

    Raises:
        OSError: the file system does not allow it.
    """
    _give(database, other, os.link)


def move_segments(database: Path, other: Path) -> None:
    """Make the segments of one database those of another.

    Raises:
        OSError: the file system does not allow it.
    """
    _give(database, other, os.replace)
    remove_segments(database)


def _give(database: Path, other: Path, give: Callable[[Path, Path], None]) -> None:
    files = segments_in(folder_of(database))
    if files:
        target = folder_of(other)
        target.mkdir(exist_ok=True)
        target.chmod(folder_of(database).stat().st_mode)
        for file in files.values():
            with suppress(FileExistsError):
                give(file, target / file.name)
        sync_folder(target)
        sync_folder(target.parent)


def unlink_segments(database: Path, other: Path) -> None:
    """Take from one database the names of the segments that another has as well."""
    theirs = segments_in(folder_of(other))
    for segment, file in segments_in(folder_of(database)).items():
        if segment in theirs and file.samefile(theirs[segment]):
            file.unlink()


def remove_segments(database: Path) -> None:
    """Remove the segments of a database, and their folder if nothing else is in it."""
    for file in segments_in(folder_of(database)).values():
        file.unlink()
    remove_folder_if_empty(database)


def remove_folder_if_empty(database: Path) -> None:
    """Remove the folder of the segments of a database, if nothing is in it."""
    with suppress(OSError):
        folder_of(database).rmdir()


def give_owner(database: Path, model: Path) -> None:
    """Give the segments of a database the owner and the mode of the file at `model`."""
    wanted = model.stat()
    folder = folder_of(database)
    if folder.is_dir():
        for path in (folder, *segments_in(folder).values()):
            with suppress(PermissionError):
                os.chown(path, wanted.st_uid, wanted.st_gid)
            path.chmod(folder_mode(wanted.st_mode) if path == folder else wanted.st_mode)
