"""Copy: all files of one store to another, whatever databases they are in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.errors import AlreadyExists, ChunkstoreError, NameConflict, StoreDamaged
from chunkstore.core.names import ROOT, FileName, FolderName, ancestors
from chunkstore.service.service import Service
from chunkstore.service.transfer.walk import walk
from chunkstore.service.transfer.workers import workers
from chunkstore.store.contract.edits import MakeFolder
from chunkstore.store.contract.values import File

# So many at once, so that small files share transactions and round trips.
_WORKERS: Final = 8


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file that is in both stores now; `new_chunks` and `new_size` were new to the target."""

    file: File
    new_chunks: int
    new_size: int


@dataclass(frozen=True, slots=True)
class NotCopied:
    """A file or folder that could not be copied, and why."""

    name: FileName | FolderName
    error: ChunkstoreError


async def copy_files(
    source: Service,
    target: Service,
    on_file: Callable[[CopiedFile], object],
    on_failure: Callable[[NotCopied], object],
) -> None:
    """Put all files and folders of `source` into `target`; call `on_file` with each file.

    Files keep their media types and times, and the way in which they were cut. A file that `target`
    has with the same content is left as it is and not read, so an interrupted copy goes on; one
    with other content is replaced. Only chunks that `target` lacks are sent to it. The two do not
    share a memory budget.

    `on_failure` is called with each file that is damaged in `source`, and each name that cannot be
    in `target` because a file has a folder's name there, or the other way round; all others are
    copied.

    Raises:
        StoreError: one of the stores failed as a whole.
    """
    async with aclosing(walk(source.store, ROOT)) as entries:
        copying = _Copying(source, target, entries, on_file, on_failure)
        async with workers() as group:
            for _ in range(_WORKERS):
                group.create_task(copying.copy_some())


class _Copying:
    """One copy, which several workers share."""

    def __init__(
        self,
        source: Service,
        target: Service,
        entries: AsyncGenerator[File | FolderName, None],
        on_file: Callable[[CopiedFile], object],
        on_failure: Callable[[NotCopied], object],
    ) -> None:
        self._source = source
        self._target = target
        self._entries = entries
        self._lock = asyncio.Lock()
        self._on_file = on_file
        self._on_failure = on_failure

    async def copy_some(self) -> None:
        """Copy entries that no other worker has taken until none is left."""
        while True:
            async with self._lock:
                entry = await anext(self._entries, None)
            if entry is None:
                return
            try:
                await self._copy(entry)
            except (StoreDamaged, NameConflict, AlreadyExists) as error:
                name = entry.name if isinstance(entry, File) else entry
                self._on_failure(NotCopied(name, error))

    async def _copy(self, entry: File | FolderName) -> None:
        if isinstance(entry, File):
            copied = await _copy_file(self._source, self._target, entry)
            if copied is not None:
                self._on_file(copied)
        else:
            await _copy_folder(self._source, self._target, entry)


async def _copy_file(source: Service, target: Service, listed: File) -> CopiedFile | None:
    """Copy a file as it is now; return None if it is gone."""
    async with source.store.contents.open(listed.name) as file:
        if file is None:
            return None
        there = await target.store.names.find(file.name)
        if there is not None and _alike(there, file):
            return CopiedFile(file, 0, 0)
        try:
            return await _copy_content(source, target, file)
        except StoreDamaged as error:
            # A server beside this process may have replaced the file and collected its old content.
            now = await source.store.names.find(file.name)
            if now is not None and now.manifest == file.manifest:
                raise StoreDamaged("It is damaged; put the same content again there.") from error
    return await _copy_file(source, target, listed)


def _alike(one: File, other: File) -> bool:
    return (one.manifest.digest, one.media_type, one.modified) == (
        other.manifest.digest,
        other.media_type,
        other.modified,
    )


async def _copy_content(source: Service, target: Service, file: File) -> CopiedFile:
    chunking = _chunking_of(file, target)
    async with target.receiving(chunking=chunking) as receiver:
        async with aclosing(source.reader.stream(file.manifest, 0, file.manifest.size)) as pieces:
            await receiver.receive(pieces)
        put = receiver.put(file.name, file.media_type, created=file.created, modified=file.modified)
        if put.content.digest != file.manifest.digest:
            raise StoreDamaged
        [committed] = await target.store.names.apply([put])
    return CopiedFile(file, committed.new_chunks, committed.new_size)


def _chunking_of(file: File, target: Service) -> Chunking:
    """Return how the file was cut, if the target has room for such chunks."""
    chunking = chunking_of(file.manifest)
    try:
        chunking.require_room(target.store.contents.chunk_size)
    except ValueError:
        return Chunking.FIXED
    return chunking


async def _copy_folder(source: Service, target: Service, folder: FolderName) -> None:
    """Make the folder if it is empty; any other comes with what lies in it."""
    page = await source.store.names.list(folder, delimiter="/", limit=1)
    if not page.files and not page.folders:
        for each in (*ancestors(folder), folder):
            if await target.store.names.find(each) is None:
                await _make_folder(target, each)


async def _make_folder(target: Service, folder: FolderName) -> None:
    try:
        await target.store.names.apply([MakeFolder(folder)])
    except AlreadyExists:
        # Another worker has put a file into it.
        if await target.store.names.find(folder) is None:
            raise
