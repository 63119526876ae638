"""Writing a segment: its bytes go to the disk once, while more of them come.

There is no journal, since nobody needs the file before it is sealed, and whoever fails to write it
throws it away. The connection is opened for each transaction, so a segment whose upload is slow
takes nothing but a descriptor. That one is opened before the first byte and is what is synced in
the end: the kernel tells each descriptor of the errors since it was opened, and once.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from chunkstore.core.errors import StoreUnavailable
from chunkstore.store.sqlite.engine.connection import SyncFailed, translated_errors
from chunkstore.store.sqlite.engine.syncing import start_writing, sync_data
from chunkstore.store.sqlite.segments.folder import SegmentFolder, sync_folder
from chunkstore.store.sqlite.segments.states import Event

# "Chns", in the header of the file: a part of a store, which is "Chnk".
APPLICATION_ID: Final = 0x43686E73
# With pages of 8 KiB writing takes 1.6 times as long; larger ones gain nothing and waste more.
_PAGE_SIZE: Final = 32 * 1024
_CACHE_KIB: Final = 2 * 1024
# So much is written before the system is asked to bring it to the disk, while more is written.
_WRITTEN_EARLY: Final = 16 * 1024 * 1024

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

CheckRoom = Callable[[int], None]


class SegmentFile:
    """A segment of `folder` in the making; its methods block, and are called one at a time.

    `check_room` raises StoreFull where so many bytes more may not be written. After any error the
    segment is worth nothing, and must be discarded.
    """

    def __init__(self, folder: SegmentFolder, check_room: CheckRoom) -> None:
        self._folder = folder
        self._check_room = check_room
        try:
            self.id, self._descriptor = folder.create()
        except OSError as error:
            raise StoreUnavailable(f"No segment can be created: {error}.") from error
        self._path = folder.path_of(self.id)
        self._uri = f"{self._path.as_uri()}?mode=rw"
        self._writing_to = 0
        self._closed = False
        # How many chunks it has, and their bytes.
        self.chunks = 0
        self.size = 0

    def add(self, contents: Sequence[bytes]) -> Sequence[int]:
        """Write the bytes of some chunks in one transaction; return their rows.

        Raises:
            StoreFull: there is no room for them.
            StoreUnavailable: they cannot be written.
        """
        size = sum(map(len, contents))
        self._check_room(size)
        rows = range(self.chunks + 1, self.chunks + 1 + len(contents))
        with (
            translated_errors(),
            closing(sqlite3.connect(self._uri, uri=True, isolation_level=None)) as db,
        ):
            for setting in _SETTINGS:
                db.execute(setting)
            db.execute("BEGIN EXCLUSIVE")
            if self.chunks == 0:
                for statement in _SCHEMA:
                    db.execute(statement)
            db.executemany("INSERT INTO chunk_data VALUES (?, ?)", zip(rows, contents, strict=True))
            db.execute("COMMIT")
        self.chunks += len(contents)
        self.size += size
        written = os.fstat(self._descriptor).st_size
        if written - self._writing_to >= _WRITTEN_EARLY:
            start_writing(self._descriptor, self._writing_to, written - self._writing_to)
            self._writing_to = written
        return rows

    def seal(self) -> None:
        """Make all of it durable, with its name.

        Raises:
            SyncFailed: the disk has lost bytes of it.
            StoreUnavailable: its file is not in its folder any more.
        """
        try:
            sync_data(self._descriptor)
            sync_folder(self._path.parent)
            there, ours = os.stat(self._path), os.fstat(self._descriptor)
        except FileNotFoundError as error:
            raise StoreUnavailable(_gone(self._path.parent)) from error
        except OSError as error:
            raise SyncFailed from error
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise StoreUnavailable(_gone(self._path.parent))
        self._close()
        self._folder.note(self.id, Event.SEAL)

    def discard(self) -> None:
        """Remove the file, which nobody can need: it was never offered to the database."""
        self._close()
        self._folder.note(self.id, Event.DISCARD)
        self._folder.remove([self.id])

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def _gone(folder: object) -> str:
    return f"A segment was deleted or replaced while it was written; leave {folder} alone."
