"""Import: a tree of files in a folder into a store."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    InvalidName,
    LocalFileError,
    Locked,
    NameConflict,
    PreconditionFailed,
)
from chunkstore.core.media_types import guess_media_type
from chunkstore.core.names import ROOT, FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.core.unix_time import parse_unix_time
from chunkstore.service.service import Service
from chunkstore.service.transfer.local_files import naming, opened
from chunkstore.service.transfer.locked_names import telling_locks
from chunkstore.service.transfer.workers import workers
from chunkstore.store.contract.audit import Who
from chunkstore.store.contract.edits import MakeFolder, Put
from chunkstore.store.contract.values import Committed

_PIECE_SIZE: Final = 1024 * 1024
# At once, so that the commits of small files share their syncs.
_WORKERS: Final = 8


@dataclass(slots=True)
class Tree:
    """What a folder holds, by the names it would have in the store, `size` in bytes.

    `refused` has one line for each entry that cannot be in a store, which says why not.
    """

    files: dict[FileName, Path] = field(default_factory=dict)
    folders: dict[FolderName, Path] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    size: int = 0


def scan_tree(folder: Path, target: FolderName = ROOT) -> Tree:
    """Return what lies below `folder`; it would be imported to `target`.

    Symbolic links are refused, and so are devices, names that cannot be in a store, and all but
    the first of several that have the same name in NFC, unless these are all folders.

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
                _add_folder(tree, path, inner)
                _scan(tree, path, inner)
            else:
                _add_file(tree, path, parse_file_name(f"{target}{entry.name}"))
        except InvalidName as error:
            tree.refused.append(f"{str(path)!r}: {error}")


def _add_folder(tree: Tree, path: Path, name: FolderName) -> None:
    """Note a folder.

    Raises:
        InvalidName: a file has its name.
    """
    _require_free(tree.files.get(FileName(name.removesuffix("/"))))
    tree.folders.setdefault(name, path)


def _add_file(tree: Tree, path: Path, name: FileName) -> None:
    """Note a file.

    Raises:
        InvalidName: it is none, or another file or a folder has its name.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise InvalidName("It is a symbolic link, which a store cannot hold.")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidName("It is a device, a pipe or a socket, no file.")
    _require_free(tree.files.get(name) or tree.folders.get(FolderName(f"{name}/")))
    tree.files[name] = path
    tree.size += found.st_size


def _require_free(other: Path | None) -> None:
    if other is not None:
        raise InvalidName(f"In a store it would have the name of {str(other)!r}.")


@dataclass(frozen=True, slots=True)
class NotImported:
    """A file or folder that could not be put into the store, and why."""

    path: Path
    error: ChunkstoreError


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was put; sizes are bytes."""

    name: FileName
    size: int
    new_size: int


class Target(Protocol):
    """Where the files of a tree are put."""

    async def put(
        self,
        name: FileName,
        pieces: AsyncIterable[bytes],
        *,
        overwrite: bool,
        modified: datetime | None = None,
    ) -> Imported:
        """Put a file, whole or not at all; one that is there with the same content stays.

        `modified` is the time that it gets, None for now.

        Raises:
            AlreadyExists: one is there with another content, and not to `overwrite`.
            NameConflict: its name is a folder's, or that of a folder of it a file's.
            Locked: a write lock is in the way; the message says whose.
            StoreError: the store failed.
        """

    async def make_folder(self, name: FolderName) -> None:
        """Make a folder, unless it is there.

        Raises:
            AlreadyExists, NameConflict: its name, or that of a folder above it, is a file's.
            Locked: a write lock is in the way; the message says whose.
            StoreError: the store failed.
        """


async def import_tree(
    target: Target,
    tree: Tree,
    on_file: Callable[[Imported], object],
    on_failure: Callable[[NotImported], object],
    *,
    overwrite: bool = False,
) -> None:
    """Put all of `tree` into the target; call `on_file` with what that tells of each file.

    Each file is put whole or not at all, with the time when it was last modified, unless one is
    there with the same content, which stays as it is. `on_failure` is called for each file or
    folder that cannot be put, and the rest is put all the same: a file of its name has another
    content and `overwrite` is false (AlreadyExists), a folder has a file's name or the other way
    round (NameConflict), a write lock is in the way (Locked), or it cannot be read
    (LocalFileError).

    Raises:
        StoreError: the store failed.
    """
    files = iter(tree.files.items())

    async def put_some() -> None:
        """Put the files that no other worker puts, until there are none left."""
        for name, path in files:
            try:
                modified = await asyncio.to_thread(_modified, path)
                async with aclosing(_read(path)) as pieces:
                    imported = await target.put(
                        name, pieces, overwrite=overwrite, modified=modified
                    )
            except (AlreadyExists, NameConflict, Locked, LocalFileError) as error:
                on_failure(NotImported(path, error))
            else:
                on_file(imported)

    async with workers() as group:
        for _ in range(_WORKERS):
            group.create_task(put_some())
    for folder, path in tree.folders.items():
        try:
            await target.make_folder(folder)
        except (AlreadyExists, NameConflict, Locked) as error:
            on_failure(NotImported(path, error))


@dataclass(frozen=True, slots=True)
class IntoStore:
    """A store that this process has open, as the target of an import that is told of `by`."""

    service: Service
    by: Who | None = None

    async def put(
        self,
        name: FileName,
        pieces: AsyncIterable[bytes],
        *,
        overwrite: bool,
        modified: datetime | None = None,
    ) -> Imported:
        """Put a file, as `Target` says."""
        async with telling_locks(self.service.store), self.service.receiving(name=name) as receiver:
            await receiver.receive(pieces)
            conditions = UNCONDITIONAL if overwrite else CREATE_ONLY
            put = receiver.put(name, guess_media_type(name), conditions, modified=modified)
            committed = await self._commit(put)
        return Imported(name, committed.file.size, committed.new_size)

    async def make_folder(self, name: FolderName) -> None:
        """Make a folder, as `Target` says."""
        names = self.service.store.names
        if await names.find(name) is None:
            async with telling_locks(self.service.store):
                await names.apply([MakeFolder(name)], self.by)

    async def _commit(self, put: Put) -> Committed:
        names, name = self.service.store.names, put.name
        try:
            [committed] = await names.apply([put], self.by)
        except PreconditionFailed as error:
            file = await names.find(name)
            if file is None or file.manifest.digest != put.content.digest:
                raise AlreadyExists(
                    f"There is a file {name!r} already, with another content;"
                    " --overwrite replaces it."
                ) from error
            return Committed(replaced=False, file=file, new_chunks=0, new_size=0)
        return committed


def _modified(path: Path) -> datetime | None:
    """Return when a file was last modified, None where a store cannot tell of that time."""
    with naming(path):
        seconds, nanoseconds = divmod(path.stat().st_mtime_ns, 1_000_000_000)
    return parse_unix_time(f"{seconds}.{nanoseconds:09}")


async def _read(path: Path) -> AsyncGenerator[bytes, None]:
    with naming(path):
        async with opened(path, "rb") as file:
            while piece := await asyncio.to_thread(file.read, _PIECE_SIZE):
                yield piece
