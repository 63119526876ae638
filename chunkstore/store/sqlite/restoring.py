"""Restore: putting the content of a backup in the place of a database.

The backup is copied to a database beside, as a backup is made, so all of it is checked on its way.
Then the two change places, in an order in which a crash at any moment leaves either the old
database with its log, or the new one without:

1. The old database gets a second name for each of its files, by which it is kept. After a crash
   before the third step, the next start removes these names.
2. The owner file names the new database as the successor (`log_owner`).
3. The new database is renamed to the old one's name, and from then on it is the store.
4. The old log is removed; after a crash before that, the next start removes it.

Segments have second names beside the old database before the first step, and beside the new one
before the third. Those that no row needs after a crash, the next start removes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from chunkstore.core.errors import Forbidden, StoreError, StoreMissing, StoreUnusable
from chunkstore.store.contract.reports import Copied
from chunkstore.store.sqlite.engine.lock import acquire_lock
from chunkstore.store.sqlite.log_owner import KEPT, LogOwner, find_session, sync_file
from chunkstore.store.sqlite.schema import check_access
from chunkstore.store.sqlite.segments import names
from chunkstore.store.sqlite.store import SQLiteStore

# The files that can lie beside a database.
_LOG_FILES = ("-wal", "-owner")
_FILES = (*_LOG_FILES, "-shm", "-journal", "-owner-new", "-reserve", "-lock")


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restore under way: `draft` becomes the database at `path`, which nobody else opens."""

    path: Path
    draft: Path
    backup: Path

    async def copy(self) -> AsyncIterator[Copied]:
        """Copy and check the backup; yield what each step of a few MiB came to.

        Raises:
            StoreError: the backup cannot be opened or read, or there is no room for it.
        """
        try:
            source = await SQLiteStore.open(self.backup, read_only=True)
        except StoreUnusable as error:
            raise StoreError(f"{self.backup} cannot be opened: {error}") from error
        chunk_size, one_file = source.contents.chunk_size, source.one_file
        await source.close()
        store = await SQLiteStore.open(self.draft, chunk_size=chunk_size, one_file=one_file)
        try:
            async for step in store.restore(self.backup):
                yield step
        finally:
            await store.close(keep_reserve=False)

    async def finish(self) -> Path | None:
        """Put the copy in place; return the new path of the database that was there, if one was.

        Raises:
            StoreError: the file system does not allow it.
        """
        finishing = asyncio.create_task(asyncio.to_thread(self._finish))
        try:
            return await asyncio.shield(finishing)
        except asyncio.CancelledError:
            # The lock must not be released in between.
            await asyncio.wait([finishing])
            raise
        except OSError as error:
            raise StoreError(f"The backup cannot be put in place: {error}.") from error

    def _finish(self) -> Path | None:
        session = find_session(self.draft)
        assert session is not None
        if LogOwner(self.draft).log.exists():
            raise StoreError("Another program reads what was copied; end it and try again.")
        sync_file(self.draft)
        kept = None
        owner = LogOwner(self.path)
        if self.path.exists():
            _give_owner_of(self.path, self.draft)
            names.give_owner(self.draft, self.path)
            kept = self._keep()
            names.link_segments(self.draft, self.path)
            owner.name_successor(session)
        else:
            # A log without its database is worthless.
            owner.remove_log()
            names.move_segments(self.draft, self.path)
        self.draft.replace(self.path)
        sync_file(self.path.parent)
        owner.remove_log()
        if kept is not None:
            names.unlink_segments(self.path, kept)
        return kept

    def _keep(self) -> Path:
        """Give the old database a second name, its log first; return it."""
        now = datetime.now(UTC)
        for number in count(1):
            kept = self.path.with_name(
                f"{self.path.name}{KEPT}{now:%Y%m%dT%H%M%SZ}{f'-{number}' if number > 1 else ''}"
            )
            if not kept.exists():
                break
        names.link_segments(self.path, kept)
        for ending in _LOG_FILES:
            with suppress(FileNotFoundError):
                os.link(f"{self.path}{ending}", f"{kept}{ending}")
        os.link(self.path, kept)
        sync_file(self.path.parent)
        return kept


@asynccontextmanager
async def restoring(path: Path, backup: Path) -> AsyncIterator[Restoration]:
    """Begin to put a backup in the place of the database at `path`, which is locked meanwhile.

    Leaving the context before the restore is finished leaves all as it was.

    Raises:
        StoreInUse: a process has the database open.
        StoreUnusable: its folder is not there or cannot be written to.
        StoreError, Forbidden: there is no such backup, or it is the database itself.
    """
    path = await asyncio.to_thread(path.resolve)
    backup = await asyncio.to_thread(backup.resolve)
    await asyncio.to_thread(check_access, path, os.R_OK | os.W_OK)
    await asyncio.to_thread(_check_backup, backup)
    lock = await asyncio.to_thread(acquire_lock, path)
    try:
        await asyncio.to_thread(_check, path, backup)
        draft = path.with_name(f"{path.name}-restoring")
        await asyncio.to_thread(_remove, draft, path)
        try:
            yield Restoration(path, draft, backup)
        finally:
            await asyncio.to_thread(_remove, draft, path)
    finally:
        await asyncio.to_thread(lock.release)


def _check_backup(backup: Path) -> None:
    # Before the lock file is created, which would stay where there is no store.
    try:
        check_access(backup, os.R_OK)
        _require_file(backup)
    except StoreUnusable as error:
        raise StoreError(f"{backup} cannot be opened: {error}") from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise StoreMissing
    if not path.is_file():
        raise StoreUnusable("It is not a file.")


def _check(path: Path, backup: Path) -> None:
    if path.exists() and not path.is_file():
        raise StoreUnusable("It is not a file.")
    if path.exists() and backup.samefile(path):
        raise Forbidden("The backup is the store itself.")
    # Now rather than when all has been copied.
    probe = Path(f"{path}-restoring-owner-new")
    probe.unlink(missing_ok=True)
    try:
        os.link(f"{path}-lock", probe)
    except OSError as error:
        if path.exists():
            raise StoreError(
                "The file system lets no file have two names, so the database that is there cannot"
                " be kept: move it away, with what lies beside it, and try again."
            ) from error


def _remove(draft: Path, path: Path) -> None:
    """Remove a draft, and what the database at `path` has of it unless it took that one's place."""
    if draft.exists():
        names.unlink_segments(path, draft)
    for ending in ("", *_FILES):
        Path(f"{draft}{ending}").unlink(missing_ok=True)
    names.remove_segments(draft)


def _give_owner_of(model: Path, path: Path) -> None:
    """Give the file at `path` the owner and the mode of the one at `model`."""
    wanted = model.stat()
    with suppress(PermissionError):
        os.chown(path, wanted.st_uid, wanted.st_gid)
    path.chmod(wanted.st_mode)
