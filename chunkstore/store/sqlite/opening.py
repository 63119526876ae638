"""Opening a database, and closing what was opened, in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Sized
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from filelock import FileLock

from chunkstore.core.errors import DatabaseDamaged, StoreError, StoreFileUnavailable, StoreUnusable
from chunkstore.store.sqlite import schema
from chunkstore.store.sqlite.engine.connection import (
    Connection,
    ReaderPool,
    Runner,
    connect_writer,
)
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.engine.lock import acquire_lock
from chunkstore.store.sqlite.engine.lookups import Lookups
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.log_owner import LogOwner
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.monitor import DatabaseMonitor
from chunkstore.store.sqlite.name_changes import WatchedNames
from chunkstore.store.sqlite.segment_sweep import begin_segments
from chunkstore.store.sqlite.segments.segments import SegmentBounds, Segments
from chunkstore.store.sqlite.settings import NewSettings, State, check_and_read_state, recover
from chunkstore.store.sqlite.usage import QuotaFolders, load_folders

_READERS: Final = 4
# So many names take about as long as handing a job to a thread.
_FEW: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDatabase:
    """An open database at `path`; the last five fields are None if it is open for reading only."""

    path: Path
    readers: ReaderPool
    lookups: Lookups
    monitor: DatabaseMonitor
    policy: StoragePolicy
    state: State
    segments: Segments
    quotas: QuotaFolders
    writer: Writer | None = None
    watched: WatchedNames | None = None
    owner: LogOwner | None = None
    reserve: DiskReserve | None = None
    lock: FileLock | None = None

    @property
    def writable(self) -> Writer:
        """The writer.

        Raises:
            StoreError: the store was opened for reading only.
        """
        if self.writer is None:
            raise StoreError("The store was opened for reading only.")
        return self.writer

    def runner_for(self, names: Sized) -> Runner:
        """Return what looks up what is kept with names: a few go with other lookups."""
        return self.lookups if len(names) <= _FEW else self.readers

    async def close(self, *, keep_reserve: bool) -> None:
        """End running jobs, make their changes durable and close the database."""
        async with AsyncExitStack() as last_first:
            if self.lock is not None:
                last_first.push_async_callback(asyncio.to_thread, self.lock.release)
            if self.reserve is not None:
                last_first.push_async_callback(
                    asyncio.to_thread, self.reserve.close, keep=keep_reserve
                )
            if self.owner is not None:
                last_first.push_async_callback(asyncio.to_thread, self.owner.end_session)
            last_first.push_async_callback(asyncio.to_thread, self.monitor.end)
            if self.writer is not None:
                # After the readers, because the connection that closes last may checkpoint.
                last_first.push_async_callback(self.writer.close)
            last_first.push_async_callback(asyncio.to_thread, self.segments.readers.close)
            last_first.push_async_callback(self.readers.close)
            last_first.push_async_callback(self.lookups.close)


async def open_to_read(path: Path, policy: StoragePolicy) -> OpenDatabase:
    """Open the database at `path`, which exists, as `SQLiteStore.open` does to be read only."""
    await asyncio.to_thread(LogOwner(path).check_to_read)
    monitor = DatabaseMonitor(path)
    readers, lookups = await _open_readers(path, 1, monitor)
    try:
        state = await readers.run(check_and_read_state)
    except BaseException:
        await lookups.close()
        await readers.close()
        raise
    return OpenDatabase(
        path=path,
        readers=readers,
        lookups=lookups,
        monitor=monitor,
        policy=policy,
        state=state,
        segments=Segments.of(path),
        quotas=QuotaFolders(await readers.run(load_folders)),
    )


async def open_to_write(
    path: Path,
    write_by: Callable[..., Writer],
    reserve: DiskReserve,
    policy: StoragePolicy,
    settings: NewSettings,
    segment_bounds: SegmentBounds,
) -> OpenDatabase:
    """Open the database at `path` as `SQLiteStore.open` does; `write_by` returns its writer."""
    # Before the lock file is created, which would stay beside a file that is no store.
    await asyncio.to_thread(schema.recognise, path)
    lock = await asyncio.to_thread(acquire_lock, path)
    absent = await asyncio.to_thread(_absent_files, path)
    owner = LogOwner(path)
    try:
        await asyncio.to_thread(owner.check)
        return await _open_locked(
            path, write_by, lock, owner, reserve, policy, settings, segment_bounds
        )
    except BaseException as error:
        await asyncio.to_thread(owner.end_session)
        await asyncio.to_thread(_remove_created, path, absent)
        await asyncio.to_thread(lock.release)
        if isinstance(error, StoreFileUnavailable):
            raise StoreUnusable(str(error)) from error
        if isinstance(error, OSError):
            raise StoreUnusable(f"{error.filename}: {error.strerror}.") from error
        raise


async def _open_locked(
    path: Path,
    write_by: Callable[..., Writer],
    lock: FileLock,
    owner: LogOwner,
    reserve: DiskReserve,
    policy: StoragePolicy,
    settings: NewSettings,
    segment_bounds: SegmentBounds,
) -> OpenDatabase:
    await asyncio.to_thread(reserve.prepare_to_open)
    connection = await _connect(path)
    monitor, watched = DatabaseMonitor(path), WatchedNames()
    try:
        await connection.run(schema.prepare)
        state = await connection.run(partial(recover, settings=settings))
        segments = Segments.of(path, reserve, wanted=not state.one_file, bounds=segment_bounds)
        begin = partial(begin_segments, folder=segments.folder, last=state.segment_session)
        await connection.run(begin)
        quotas = QuotaFolders(await connection.run(load_folders))
        await connection.run(owner.begin_session)
        await connection.run(monitor.begin)
        readers, lookups = await _open_readers(path, _READERS, monitor)
    except BaseException:
        await connection.close()
        await asyncio.to_thread(monitor.end)
        raise
    return OpenDatabase(
        path=path,
        readers=readers,
        lookups=lookups,
        monitor=monitor,
        policy=policy,
        state=state,
        segments=segments,
        quotas=quotas,
        writer=write_by(connection, check=monitor.after_transaction, observer=watched),
        watched=watched,
        owner=owner,
        reserve=reserve,
        lock=lock,
    )


async def _connect(path: Path) -> Connection:
    """Open the connection that writes, which creates a database where there is none."""
    try:
        return await Connection.open(partial(connect_writer, path))
    except (StoreUnusable, DatabaseDamaged):
        raise
    except StoreError as error:
        raise StoreUnusable("The database cannot be opened or created.") from error


async def _open_readers(
    path: Path, count: int, monitor: DatabaseMonitor
) -> tuple[ReaderPool, Lookups]:
    readers = await ReaderPool.open(path, count, monitor.explain)
    try:
        return readers, await Lookups.open(path, monitor.explain)
    except BaseException:
        await readers.close()
        raise


def _absent_files(path: Path) -> list[Path]:
    """Return the files of the database that do not exist, first the database itself."""
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-reserve")]
    return [file for file in files if not file.exists()]


def _remove_created(path: Path, absent: Sequence[Path]) -> None:
    """Remove the files that a failed opening has created, if it has created the database.

    The caller has the lock.
    """
    if path in absent:
        for file in absent:
            file.unlink(missing_ok=True)
