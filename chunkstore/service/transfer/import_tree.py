"""Import: a tree of files in a folder into a store."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL
from chunkstore.core.errors import AlreadyExists, ChunkstoreError, InvalidName, PreconditionFailed
from chunkstore.core.media_types import guess_media_type
from chunkstore.core.names import ROOT, FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.service.ingest import Receiver
from chunkstore.service.service import Service
from chunkstore.service.transfer.os_errors import naming
from chunkstore.store.contract.edits import MakeFolder
from chunkstore.store.contract.values import Committed

_PIECE_SIZE: Final = 1024 * 1024
# At once, so that the commits of small files share their syncs.
_WORKERS: Final = 8


@dataclass(slots=True)
class Tree:
    """What a folder holds, by the names it would have in the store, `size` in bytes.

    `refused` says of each entry that cannot be in a store why not.
    """

    files: dict[FileName, Path] = field(default_factory=dict)
    folders: list[FolderName] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    size: int = 0


def scan_tree(folder: Path, target: FolderName = ROOT) -> Tree:
    """Return what lies below `folder`; it would be imported to `target`.

    Symbolic links are refused, and so are devices, names that cannot be in a store, and a name
    that Unicode takes for one that is there.

    Raises:
        LocalFileError: a folder cannot be read.
    """
    tree = Tree()
    with naming(folder):
        _scan(tree, folder, target)
    return tree


def _scan(tree: Tree, folder: Path, target: FolderName) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        try:
            if entry.is_dir(follow_symlinks=False):
                inner = parse_folder_name(f"{target}{entry.name}")
                tree.folders.append(inner)
                _scan(tree, path, inner)
            else:
                _add_file(tree, path, parse_file_name(f"{target}{entry.name}"))
        except InvalidName as error:
            tree.refused.append(f"{str(path)!r}: {error}")


def _add_file(tree: Tree, path: Path, name: FileName) -> None:
    """Note one file.

    Raises:
        InvalidName: it is none, or another has its name.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise InvalidName("It is a symbolic link, which a store cannot hold.")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidName("It is a device, a pipe or a socket, no file.")
    if name in tree.files:
        raise InvalidName(f"In a store it would have the name of {str(tree.files[name])!r}.")
    tree.files[name] = path
    tree.size += found.st_size


async def import_tree(
    service: Service,
    tree: Tree,
    on_file: Callable[[Committed], object],
    *,
    overwrite: bool = False,
) -> None:
    """Put all of `tree` into the store; tell `on_file` of each file.

    Each file is put whole or not at all; those put before an error stay.

    Raises:
        AlreadyExists: a file of the same name has another content, and `overwrite` is false.
        NameConflict: a file has a folder's name, or the other way round.
        LocalFileError: a file cannot be read.
    """
    files = iter(tree.files.items())
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(_WORKERS):
                workers.create_task(_import_files(service, files, on_file, overwrite=overwrite))
    except* ChunkstoreError as errors:
        raise errors.exceptions[0] from None
    for folder in tree.folders:
        if await service.store.names.find(folder) is None:
            await service.store.names.apply([MakeFolder(folder)])


async def _import_files(
    service: Service,
    files: Iterator[tuple[FileName, Path]],
    on_file: Callable[[Committed], object],
    *,
    overwrite: bool,
) -> None:
    for name, path in files:
        async with service.receiving() as receiver:
            async with aclosing(_read(path)) as pieces:
                await receiver.receive(pieces)
            on_file(await _commit(service, receiver, name, overwrite=overwrite))


async def _read(path: Path) -> AsyncGenerator[bytes, None]:
    with naming(path):
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE_SIZE):
                yield piece
        finally:
            await asyncio.to_thread(file.close)


async def _commit(
    service: Service, receiver: Receiver, name: FileName, *, overwrite: bool
) -> Committed:
    conditions = UNCONDITIONAL if overwrite else CREATE_ONLY
    put = receiver.put(name, guess_media_type(name), conditions)
    try:
        [committed] = await service.store.names.apply([put])
    except PreconditionFailed as error:
        file = await service.store.names.find(name)
        if file is None or file.manifest.digest != put.content.digest:
            raise AlreadyExists(
                f"There is a file {name!r} already, with another content; --overwrite replaces it."
            ) from error
        return Committed(replaced=False, file=file, new_chunks=0, new_size=0)
    return committed
