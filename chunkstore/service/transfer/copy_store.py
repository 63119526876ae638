"""Copy: all files of one store to another, whatever databases they are in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.dav.properties import PropertyChange, property_changes
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Locked,
    NameConflict,
    StoreDamaged,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.service import Service
from chunkstore.service.transfer.locked_names import telling_locks
from chunkstore.service.transfer.workers import workers
from chunkstore.store.contract.edits import MakeFolder, Name, Patch
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Committed, File

# So many at once, so that small files share transactions and round trips.
_WORKERS: Final = 8
# Names that are looked up at once; each may have 64 KiB of properties, in both stores.
_PAGE_SIZE: Final = 64


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

    Files keep their media types, and the way in which they were cut; and they and the folders that
    were made, the root folder too, keep their times and properties. A file that `target` has with
    the same content is not read, so an interrupted copy goes on; one with other content is
    replaced. Only chunks that `target` lacks are sent to it. The two do not share a memory budget.

    `on_failure` is called with each name that is damaged in `source`, and each that cannot be in
    `target` because a file has a folder's name there, or the other way round, or a write lock is in
    the way; all others are copied.

    Raises:
        StoreError: one of the stores failed as a whole.
    """
    async with aclosing(_entries(source.store, target.store)) as entries:
        copying = _Copying(source, target, entries, on_file, on_failure)
        async with workers() as group:
            for _ in range(_WORKERS):
                group.create_task(copying.copy_some())
    try:
        async with telling_locks(target.store):
            await _copy_root(source.store, target.store)
    except (StoreDamaged, Locked) as error:
        on_failure(NotCopied(ROOT, error))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file, or a folder that was made, and what is kept with it in both stores, if anything."""

    name: Name
    file: File | None
    kept: Description | None
    there: Description | None

    def changes(self) -> Sequence[PropertyChange]:
        """Return what gives it the properties in the target that it has in the source."""
        return property_changes(
            None if self.there is None else self.there.properties,
            None if self.kept is None else self.kept.properties,
        )


async def _entries(source: Store, target: Store) -> AsyncGenerator[_Entry, None]:
    """Yield all files and all folders that were made, each after those that it lies in."""
    after: str | None = None
    while True:
        page = await source.names.list(after=after, limit=_PAGE_SIZE, made_folders=True)
        files = {file.name: file for file in page.files}
        names: list[Name] = [*page.folders, *files]
        kept, there = await asyncio.gather(
            source.properties.describe(names, bare=False),
            target.properties.describe(names, bare=False),
        )
        for name in names:
            yield _Entry(name, files.get(FileName(name)), kept.get(name), there.get(name))
        after = page.next
        if after is None:
            return


class _Copying:
    """One copy, which several workers share."""

    def __init__(
        self,
        source: Service,
        target: Service,
        entries: AsyncGenerator[_Entry, None],
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
                async with telling_locks(self._target.store):
                    await self._copy(entry)
            except (StoreDamaged, NameConflict, AlreadyExists, Locked) as error:
                self._on_failure(NotCopied(entry.name, error))

    async def _copy(self, entry: _Entry) -> None:
        if entry.file is None:
            await _copy_folder(self._target.store, entry)
            return
        copied = await _copy_file(self._source, self._target, entry.file.name, entry.changes())
        if copied is not None:
            self._on_file(copied)


async def _copy_file(
    source: Service, target: Service, name: FileName, changes: Sequence[PropertyChange]
) -> CopiedFile | None:
    """Copy a file as it is now, with changes of its properties; return None if it is gone."""
    async with source.store.contents.open(name) as file:
        if file is None:
            return None
        there = await target.store.names.find(file.name)
        if there is not None and _alike(there, file):
            if changes or (there.created, there.modified) != (file.created, file.modified):
                await target.store.names.apply([_patch(file, changes)])
            return CopiedFile(file, 0, 0)
        try:
            return await _copy_content(source, target, file, changes)
        except StoreDamaged as error:
            # A server beside this process may have replaced the file and collected its old content.
            now = await source.store.names.find(file.name)
            if now is not None and now.manifest == file.manifest:
                raise StoreDamaged("It is damaged; put the same content again there.") from error
    return await _copy_file(source, target, name, changes)


def _alike(one: File, other: File) -> bool:
    return (one.manifest.digest, one.media_type) == (other.manifest.digest, other.media_type)


def _patch(file: File, changes: Sequence[PropertyChange]) -> Patch:
    return Patch(file.name, changes, file.created, file.modified)


async def _copy_content(
    source: Service, target: Service, file: File, changes: Sequence[PropertyChange]
) -> CopiedFile:
    chunking = _chunking_of(file, target)
    async with target.receiving(chunking=chunking) as receiver:
        async with aclosing(source.reader.stream(file.manifest, 0, file.size)) as pieces:
            await receiver.receive(pieces)
        put = receiver.put(file.name, file.media_type, created=file.created, modified=file.modified)
        if put.content.digest != file.manifest.digest:
            raise StoreDamaged
        patches = [_patch(file, changes)] if changes else []
        committed, *_ = await target.store.names.apply([put, *patches])
    assert isinstance(committed, Committed)
    return CopiedFile(file, committed.new_chunks, committed.new_size)


def _chunking_of(file: File, target: Service) -> Chunking:
    """Return how the file was cut, if the target has room for such chunks."""
    chunking = chunking_of(file.manifest)
    try:
        chunking.require_room(target.store.contents.chunk_size)
    except ValueError:
        return Chunking.FIXED
    return chunking


async def _copy_folder(target: Store, entry: _Entry) -> None:
    """Make a folder, and have it keep what it keeps in the source."""
    folder = FolderName(entry.name)
    if await target.names.find(folder) is None:
        await _make_folder(target, folder)
    kept = entry.kept
    if kept is not None and kept != entry.there:
        edit = Patch(folder, entry.changes(), kept.created, kept.modified)
        await target.names.apply([edit])


async def _make_folder(target: Store, folder: FolderName) -> None:
    try:
        await target.names.apply([MakeFolder(folder, strict=False)])
    except AlreadyExists:
        # Another worker has put a file into it.
        if await target.names.find(folder) is None:
            raise


async def _copy_root(source: Store, target: Store) -> None:
    """Have the root folder keep in the target what it keeps in the source."""
    kept = (await source.properties.describe([ROOT]))[ROOT]
    there = (await target.properties.describe([ROOT]))[ROOT]
    # Times that nobody has set are those of the first name.
    page = await source.names.list(limit=1, made_folders=True)
    names: list[Name] = [*page.folders, *(file.name for file in page.files)]
    first = next(iter((await source.properties.describe(names)).values()), None)
    changes = property_changes(there.properties, kept.properties)
    created = None if first is None or kept.created == first.created else kept.created
    modified = None if first is None or kept.modified == first.modified else kept.modified
    if changes or created is not None or modified is not None:
        await target.names.apply([Patch(ROOT, changes, created, modified)])
