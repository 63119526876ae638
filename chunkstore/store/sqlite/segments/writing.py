"""Writing a segment: its bytes go to the disk once, while more of them come.

There is no journal, since nobody needs the file before it is sealed, and whoever fails to write it
throws it away. The connection is opened for each transaction, so a segment whose upload is slow
takes nothing but a descriptor. That one is opened before the first byte and is what is synced in
the end: the kernel tells each descriptor of the errors since it was opened, and once.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Final

from chunkstore.core.errors import StoreFileUnavailable, StoreFull, StoreUnavailable
from chunkstore.store.sqlite.engine.connection import SyncFailed, translated_errors
from chunkstore.store.sqlite.engine.syncing import start_writing, sync_data
from chunkstore.store.sqlite.segments.folder import SegmentFolder, sync_folder
from chunkstore.store.sqlite.segments.states import Event

# "Chns", in the header of the file: a part of a store, which is "Chnk".
APPLICATION_ID: Final = 0x43686E73
# With pages of 8 KiB writing takes 1.6 times as long; larger ones gain nothing and waste more.
_PAGE_SIZE: Final = 32 * 1024
_CACHE_KIB: Final = 2 * 1024
# So much is written before the system is asked to bring it to the disk, while more is written: the
# less is left, the less a small commit waits behind the sync of a segment.
_WRITTEN_EARLY: Final = 8 * 1024 * 1024

_SETTINGS: Final = (
    f"PRAGMA page_size = {_PAGE_SIZE}",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
)
_SCHEMA: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE chunk_data (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
)

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

CheckRoom = Callable[[int], None]


class SegmentFile:
    """A segment of `folder` in the making; its methods block.

    `check_room` raises StoreFull where so many bytes more may not be written. After any error the
    segment is worth nothing, and must be discarded.
    """

    def __init__(self, folder: SegmentFolder, check_room: CheckRoom) -> None:
        self._folder = folder
        self._check_room = check_room
        self.id = folder.new_id()
        self._path = folder.path_of(self.id)
        self._descriptor: int | None = None
        self._created = False
        self._ended = False
        # A cancelled caller does not wait for its call, so the next one does.
        self._lock = threading.Lock()
        self._writing_to = 0
        # How many chunks it has, and their bytes.
        self.chunks = 0
        self.size = 0

    def add(self, contents: Sequence[bytes]) -> Sequence[int]:
        """Write the bytes of some chunks in one transaction; return their rows.

        Raises:
            StoreFull: there is no room for them.
            StoreUnavailable: they cannot be written.
        """
        with self._lock:
            size = sum(map(len, contents))
            self._check_room(size)
            descriptor = self._open()
            rows = range(self.chunks + 1, self.chunks + 1 + len(contents))
            self._insert(zip(rows, contents, strict=True))
            self.chunks += len(contents)
            self.size += size
            self._start_writing(descriptor)
            return rows

    def _open(self) -> int:
        if self._ended:
            raise StoreUnavailable
        if self._descriptor is None:
            try:
                self._descriptor = self._folder.create(self.id)
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise StoreFull from error
                raise StoreFileUnavailable(f"{error.filename}: {error.strerror}.") from error
            self._created = True
        return self._descriptor

    def _insert(self, rows: Iterable[tuple[int, bytes]]) -> None:
        uri = f"{self._path.as_uri()}?mode=rw"
        with (
            translated_errors(),
            closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db,
        ):
            for setting in _SETTINGS:
                db.execute(setting)
            db.execute("BEGIN EXCLUSIVE")
            if self.chunks == 0:
                for statement in _SCHEMA:
                    db.execute(statement)
            db.executemany("INSERT INTO chunk_data VALUES (?, ?)", rows)
            db.execute("COMMIT")

    def _start_writing(self, descriptor: int) -> None:
        written = os.fstat(descriptor).st_size
        if written - self._writing_to >= _WRITTEN_EARLY:
            start_writing(descriptor, self._writing_to, written - self._writing_to)
            self._writing_to = written

    def seal(self) -> None:
        """Make all of it durable, with its name; it has a chunk at least.

        Raises:
            SyncFailed: the disk has lost bytes of it.
            StoreUnavailable: its file is not in its folder any more.
        """
        with self._lock:
            descriptor = self._open()
            try:
                sync_data(descriptor)
                sync_folder(self._path.parent)
                there, ours = os.stat(self._path), os.fstat(descriptor)
            except FileNotFoundError as error:
                raise StoreFileUnavailable(_gone(self._path.parent)) from error
            except OSError as error:
                raise SyncFailed from error
            if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                raise StoreFileUnavailable(_gone(self._path.parent))
            self._end()
            self._folder.note(self.id, Event.SEAL)

    def discard(self) -> None:
        """Remove the file, which nobody can need: it was never offered to the database."""
        with self._lock:
            self._end()
            if self._created:
                self._created = False
                self._folder.note(self.id, Event.DISCARD)
                self._folder.remove([self.id])

    def _end(self) -> None:
        self._ended = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _gone(folder: object) -> str:
    return f"A segment was deleted or replaced while it was written; leave {folder} alone."
