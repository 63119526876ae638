"""The folder of segments beside a database.

The name of a segment's file is the tag of its database and its id, both random: the id is never
used again, so a reader that comes late finds no other bytes, and the tag tells which files are this
database's own. If another one is put in its place, or a new one is made, files of the old one stay.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from chunkstore.store.sqlite.segments.states import Event, State, advance

_SUFFIX: Final = "-segments"
_FILE_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.db")
# An id is positive and fits SQLite's integers.
_ID_BITS: Final = 62


def folder_of(database: Path) -> Path:
    """Return the path of the folder of the segments of the database at this path."""
    return database.with_name(f"{database.name}{_SUFFIX}")


def new_tag() -> str:
    """Return a new tag for the segments of a database."""
    return secrets.token_hex(8)


class SegmentFolder:
    """The segments with this tag of the database at `database`; any thread may call its methods.

    It knows the states of those that this process has in the making; who has a segment open or
    sealed holds it, and nobody removes its file meanwhile.
    """

    def __init__(self, database: Path, tag: str) -> None:
        self.path = folder_of(database)
        self.tag = tag
        self._database = database
        self._states: dict[int, State] = {}
        self._lock = threading.Lock()

    def path_of(self, segment: int) -> Path:
        """Return the path of a segment's file."""
        return self.path / f"{self.tag}-{segment:016x}.db"

    def create(self) -> tuple[int, int]:
        """Create the file of a new segment; return its id, and a descriptor of the file.

        Its mode is that of the database, for whoever may not read that must not read this.

        Raises:
            OSError: the folder or the file cannot be created.
        """
        mode = stat.S_IMODE(self._database.stat().st_mode)
        if not self.path.is_dir():
            self._make_folder(mode)
        segment = secrets.randbits(_ID_BITS) or 1
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self.path_of(segment), flags, mode)
        with self._lock:
            self._states[segment] = State.OPEN
        return segment, descriptor

    def _make_folder(self, mode: int) -> None:
        # Who may read a file may search its folder.
        self.path.mkdir(mode=mode | (mode & 0o444) >> 2, exist_ok=True)
        sync_folder(self.path.parent)

    def note(self, segment: int, event: Event) -> None:
        """Note what has happened to a segment of this process."""
        with self._lock:
            self._note(segment, event)

    def _note(self, segment: int, event: Event) -> None:
        state = advance(self._states[segment], event)
        if state in (State.PUBLISHED, State.CONDEMNED):
            # The database tells of the one from now on, and nothing of the other.
            del self._states[segment]
        else:
            self._states[segment] = state

    def held(self) -> Collection[int]:
        """Return the segments that are being written or published."""
        with self._lock:
            return [
                segment for segment, state in self._states.items() if state is not State.IN_DOUBT
            ]

    def settle(self, segment: int, *, has_row: bool) -> None:
        """Note whether the database has a row of a segment that may be in doubt."""
        with self._lock:
            if self._states.get(segment) is State.IN_DOUBT:
                self._note(segment, Event.FIND_ROW if has_row else Event.FIND_NO_ROW)

    def present(self) -> set[int]:
        """Return the ids of all segments that have a file here."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return set()
        found = (_FILE_NAME.fullmatch(name) for name in names)
        return {int(match[2], 16) for match in found if match and match[1] == self.tag}

    def size(self) -> int:
        """Return what the files of all segments take, in bytes."""
        return sum(self._size_of(segment) for segment in self.present())

    def _size_of(self, segment: int) -> int:
        try:
            return self.path_of(segment).stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self, segments: Iterable[int]) -> None:
        """Remove the files of segments; those that are gone already are no matter."""
        for segment in segments:
            self.path_of(segment).unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make durable which files a folder has.

    Raises:
        OSError: they may not be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
