"""The folder of segments beside a database.

A segment's file is named by its id, and no id is ever used again, so a reader that comes late finds
no other bytes. An id begins with that of the session of writing in which it was made, which is
random and recorded in the database. So after a crash it is known which files may be orphans: those
of the last session. All others without a row are left alone, because they may be those of another
database, which was here before and may come back.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chunkstore.core.errors import StoreFileUnavailable
from chunkstore.store.sqlite.segments.states import Event, State, advance

_SUFFIX: Final = "-segments"
_FILE_NAME: Final = re.compile(r"([0-9a-f]{16})\.db")
# Of an id, which is positive and fits SQLite's integers.
_SESSION_BITS: Final = 30
_NUMBER_BITS: Final = 32


def folder_of(database: Path) -> Path:
    """Return the path of the folder of the segments of the database at this path."""
    return database.with_name(f"{database.name}{_SUFFIX}")


def folder_mode(mode: int) -> int:
    """Return the mode of the folder of files that have `mode`: who may read them may find them."""
    return stat.S_IMODE(mode) | (mode & 0o444) >> 2


def new_session() -> int:
    """Return a new id of a session of writing segments."""
    return secrets.randbits(_SESSION_BITS)


def segments_in(folder: Path) -> dict[int, Path]:
    """Return the files of all segments in a folder, by their ids; none if there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    found = (_FILE_NAME.fullmatch(name) for name in names)
    return {int(match[1], 16): folder / match[0] for match in found if match}


def session_of(segment: int) -> int:
    """Return the session in which a segment was made."""
    return segment >> _NUMBER_BITS


class SegmentFolder:
    """The segments of the database at `database`; new ones belong to `session`.

    It knows the states of those that this process has in the making; who has a segment open or
    sealed holds it, and nobody removes its file meanwhile. Any thread may call its methods.
    """

    def __init__(self, database: Path, session: int = 0) -> None:
        self.path = folder_of(database)
        self.session = session
        self._database = database
        self._count = 0
        self._made = False
        self._states: dict[int, State] = {}
        self._lock = threading.Lock()

    def path_of(self, segment: int) -> Path:
        """Return the path of a segment's file."""
        return self.path / f"{segment:016x}.db"

    def new_id(self) -> int:
        """Return an id that no segment has had."""
        with self._lock:
            self._count += 1
            return self.session << _NUMBER_BITS | self._count

    def create(self, segment: int) -> int:
        """Create the file of a new segment; return a descriptor of it.

        Its mode is that of the database, for whoever may not read that must not read this. So is
        its owner if root creates it, or the server, run by another user, could not read it.

        Raises:
            OSError: the folder or the file cannot be created.
        """
        model = self._database.stat()
        if not self._made or not self.path.is_dir():
            self._make_folder(model)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        mode = stat.S_IMODE(model.st_mode)
        # First, or who sweeps the folder could find a file that nobody holds.
        with self._lock:
            self._states[segment] = State.OPEN
        try:
            descriptor = os.open(self.path_of(segment), flags, mode)
        except OSError:
            with self._lock:
                del self._states[segment]
            raise
        _set_access(descriptor, mode, model)
        return descriptor

    def _make_folder(self, model: os.stat_result) -> None:
        with suppress(FileExistsError):
            mode = folder_mode(model.st_mode)
            self.path.mkdir(mode=mode)
            _set_access(self.path, mode, model)
        # Also where it was there: whoever made it may have died before this.
        sync_folder(self.path.parent)
        self._made = True

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
        """Return the ids of all segments that have a file here.

        Raises:
            StoreFileUnavailable: the folder cannot be read.
        """
        with _naming(self.path):
            return set(segments_in(self.path))

    def has_second_name(self, segment: int) -> bool:
        """Whether removing a segment's file would leave it under another name."""
        return self.path_of(segment).stat().st_nlink > 1

    def size(self) -> int:
        """Return what the files of all segments take, in bytes."""
        return sum(self._size_of(segment) for segment in self.present())

    def _size_of(self, segment: int) -> int:
        try:
            return self.path_of(segment).stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self, segments: Iterable[int]) -> None:
        """Remove the files of segments, for good; those that are gone already are no matter.

        Raises:
            StoreFileUnavailable: a file cannot be removed.
        """
        with _naming(self.path):
            for segment in segments:
                self.path_of(segment).unlink(missing_ok=True)
            if self.path.is_dir():
                sync_folder(self.path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFileUnavailable(f"{error.filename or path}: {error.strerror}.") from error


def _set_access(created: Path | int, mode: int, model: os.stat_result) -> None:
    """Give what was created its mode, whatever the umask, and the owner of `model` if root may.

    SQLite does the same with the log. On a file system that knows neither it is no matter.
    """
    with suppress(OSError):
        os.chmod(created, mode)
        if os.geteuid() == 0:
            os.chown(created, model.st_uid, model.st_gid)


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
