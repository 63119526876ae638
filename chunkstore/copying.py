"""Copying all files of one store to another, of whichever kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from chunkstore.errors import AlreadyExists, StoreDamaged
from chunkstore.names import ROOT, FolderName, ancestors
from chunkstore.service import Service
from chunkstore.store.base import File
from chunkstore.walking import walk

# At once, so that small files share what each costs.
_WORKERS: Final = 8


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file that is in both stores now; `new_chunks` and `new_size` were not in the second."""

    file: File
    new_chunks: int
    new_size: int


async def copy_files(
    source: Service, target: Service, on_file: Callable[[CopiedFile], object]
) -> None:
    """Put all files and folders of `source` into `target`; tell `on_file` of each file.

    Files keep their media types and times. What `target` has by the same name with the same content
    is left as it is and not read, so a copy that was interrupted goes on; another content is
    replaced. Only chunks that it lacks are sent to it. The two do not share a memory budget.

    Raises:
        NameConflict: a file has a folder's name there, or the other way round.
        StoreDamaged: a content is damaged in `source`.
    """
    async with aclosing(walk(source.store, ROOT)) as entries:
        turn = asyncio.Lock()
        async with asyncio.TaskGroup() as workers:
            for _ in range(_WORKERS):
                workers.create_task(_copy_some(source, target, entries, turn, on_file))


async def _copy_some(
    source: Service,
    target: Service,
    entries: AsyncGenerator[File | FolderName, None],
    turn: asyncio.Lock,
    on_file: Callable[[CopiedFile], object],
) -> None:
    while True:
        async with turn:
            entry = await anext(entries, None)
        if entry is None:
            return
        if isinstance(entry, File):
            copied = await _copy_file(source, target, entry)
            if copied is not None:
                on_file(copied)
        else:
            await _copy_folder(source, target, entry)


async def _copy_file(source: Service, target: Service, listed: File) -> CopiedFile | None:
    """Copy a file as it is by now; return None if it is gone."""
    async with source.store.opened(listed.name) as file:
        if file is None:
            return None
        there = await target.store.find_file(file.name)
        if there is not None and _alike(there, file):
            return CopiedFile(file, 0, 0)
        try:
            return await _copy_content(source, target, file)
        except StoreDamaged as error:
            # A server beside this process may have replaced the file and collected the content.
            now = await source.store.find_file(file.name)
            if now is not None and now.manifest == file.manifest:
                raise StoreDamaged(f"{file.name!r} is damaged and was not copied.") from error
    return await _copy_file(source, target, listed)


def _alike(one: File, other: File) -> bool:
    return (one.manifest.digest, one.media_type, one.modified) == (
        other.manifest.digest,
        other.media_type,
        other.modified,
    )


async def _copy_content(source: Service, target: Service, file: File) -> CopiedFile:
    async with target.receiving() as receiver:
        async with aclosing(source.windows.stream(file.manifest, 0, file.manifest.size)) as pieces:
            await receiver.receive(pieces)
        commit = receiver.commit(
            file.name, file.media_type, created=file.created, modified=file.modified
        )
        [committed] = await target.store.commit([commit])
    return CopiedFile(file, committed.new_chunks, committed.new_size)


async def _copy_folder(source: Service, target: Service, folder: FolderName) -> None:
    """Make a folder that is empty; any other comes with what lies in it."""
    page = await source.store.list_files(folder, delimiter="/", limit=1)
    if not page.files and not page.folders:
        for each in (*ancestors(folder), folder):
            if not await target.store.folder_exists(each):
                await _make_folder(target, each)


async def _make_folder(target: Service, folder: FolderName) -> None:
    try:
        await target.store.make_folder(folder)
    except AlreadyExists:
        # Another worker has put a file into it.
        if not await target.store.folder_exists(folder):
            raise
