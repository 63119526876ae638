"""Export: the files of a store as a tree of files in a folder."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from chunkstore.core.digest import ContentHasher, Digest
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    InvalidName,
    LocalFileError,
    NotFound,
    StoreDamaged,
)
from chunkstore.core.names import ROOT, FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.service.service import Service
from chunkstore.service.transfer.local_files import naming, opened
from chunkstore.service.transfer.walk import walk
from chunkstore.store.contract.values import File

_PIECE_SIZE: Final = 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Errors of one name or its place; any other, such as a full disk, would meet all that follow.
_ERRORS_OF_ONE_NAME: Final = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EFBIG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
    }
)


@dataclass(frozen=True, slots=True)
class NotExported:
    """A file, or a folder with all that is in it, that could not be written, and why."""

    name: FileName | FolderName
    error: ChunkstoreError


async def export_tree(
    service: Service,
    folder: Path,
    on_file: Callable[[File], object],
    on_failure: Callable[[NotExported], object],
    *,
    source: FolderName = ROOT,
    overwrite: bool = False,
) -> None:
    """Write all files and folders below `source` into `folder`; call `on_file` for each file.

    A file is there whole or not at all, also after a power cut, with the time it was last modified.
    One that is there with the same content already is left as it is. On return all is synced.

    `on_failure` is called for each name that cannot be written, and the rest is written all the
    same: the file system cannot hold the name (LocalFileError), another file is in its place and
    `overwrite` is false (AlreadyExists), a symbolic link stands where a folder is needed
    (Forbidden), or the file is damaged or its name is not possible (StoreDamaged). What lies in a
    folder that cannot be written is left out with it.

    Raises:
        NotFound: there is no folder `source`.
        LocalFileError: `folder` cannot be made, or the file system failed.
        StoreError: the store failed.
    """
    if await service.store.names.find(source) is None:
        raise NotFound(f"There is no folder {source!r}.")
    await asyncio.to_thread(_make_root, folder)
    await _Export(service, folder, source, on_file, on_failure, overwrite=overwrite).run()


class _Export:
    """One export of all files below `source` into `folder`, which exists."""

    def __init__(
        self,
        service: Service,
        folder: Path,
        source: FolderName,
        on_file: Callable[[File], object],
        on_failure: Callable[[NotExported], object],
        *,
        overwrite: bool,
    ) -> None:
        self._service = service
        self._folder = folder
        self._source = source
        self._on_file = on_file
        self._on_failure = on_failure
        self._overwrite = overwrite
        self._unsynced = folder

    async def run(self) -> None:
        left_out: str | None = None
        async with aclosing(walk(self._service.store, self._source)) as entries:
            async for entry in entries:
                name = entry.name if isinstance(entry, File) else entry
                if left_out is not None and name.startswith(left_out):
                    continue
                try:
                    await self._write(entry)
                except (AlreadyExists, Forbidden, LocalFileError, StoreDamaged) as error:
                    if not _is_of_one_name(error):
                        raise
                    self._on_failure(NotExported(name, error))
                    left_out = None if isinstance(entry, File) else name
        await asyncio.to_thread(_sync, self._unsynced)

    async def _write(self, entry: File | FolderName) -> None:
        path = _path_of(entry, self._source, self._folder)
        if path.parent != self._unsynced:
            await asyncio.to_thread(_sync, self._unsynced)
            self._unsynced = path.parent
        if isinstance(entry, File):
            await _export_file(
                self._service, entry.name, path, self._on_file, overwrite=self._overwrite
            )
        else:
            await asyncio.to_thread(_make_folder, path)


def _is_of_one_name(error: ChunkstoreError) -> bool:
    """Whether other names can be written although this error met one."""
    if not isinstance(error, LocalFileError):
        return True
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _ERRORS_OF_ONE_NAME


def _path_of(entry: File | FolderName, source: FolderName, folder: Path) -> Path:
    """Return where to write the entry; whoever wrote its name may not have been this program.

    Raises:
        StoreDamaged: the name could lead out of the folder, as no name of a store does.
    """
    name = entry.name if isinstance(entry, File) else entry
    try:
        known = parse_file_name(name) if isinstance(entry, File) else parse_folder_name(name)
    except InvalidName:
        known = None
    if known != name:
        raise StoreDamaged(f"The store has the name {name!r}, which is not possible in a store.")
    return folder / name.removeprefix(source)


def _make_root(path: Path) -> None:
    """Make the folder and those it lies in, and let them be there after a power cut."""
    with naming(path):
        missing = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Let the names in the folder be there after a power cut."""
    with naming(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _make_folder(path: Path) -> None:
    with naming(path):
        path.mkdir(exist_ok=True)
    if path.is_symlink():
        raise Forbidden(f"{path} is a symbolic link; nothing is written beyond it.")


async def _export_file(
    service: Service,
    name: FileName,
    path: Path,
    on_file: Callable[[File], object],
    *,
    overwrite: bool,
) -> None:
    async with service.store.contents.open(name) as file:
        if file is None:
            return
        try:
            if not await asyncio.to_thread(_is_there, path, file, overwrite=overwrite):
                await _write(service, file, path)
        except StoreDamaged:
            # A server beside this process may have replaced the file and collected the content.
            now = await service.store.names.find(name)
            if now is not None and now.manifest == file.manifest:
                raise
        else:
            on_file(file)
            return
    await _export_file(service, name, path, on_file, overwrite=overwrite)


def _is_there(path: Path, file: File, *, overwrite: bool) -> bool:
    """Whether the file is at `path` with its content already.

    Raises:
        AlreadyExists: something else is, which must not be overwritten.
    """
    with naming(path):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        alike = stat.S_ISREG(found.st_mode) and found.st_size == file.size
        if alike and _digest_of(path) == file.manifest.digest:
            return True
    if stat.S_ISDIR(found.st_mode):
        raise AlreadyExists(f"{path} is a folder.")
    if not overwrite:
        raise AlreadyExists(
            f"{path} is there already, with another content; --overwrite replaces it."
        )
    return False


def _digest_of(path: Path) -> Digest:
    hasher = ContentHasher()
    with path.open("rb") as content:
        while piece := content.read(_PIECE_SIZE):
            hasher.update(piece)
    return hasher.digest()


async def _write(service: Service, file: File, path: Path) -> None:
    """Write a file's content beside `path`, and give it that name once it is whole and synced.

    Raises:
        StoreDamaged: the content is not what its digest says.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    with naming(path):
        try:
            async with opened(part, "xb") as target:
                async with aclosing(service.reader.stream(file.manifest, 0, file.size)) as pieces:
                    hasher = ContentHasher()
                    async for piece in pieces:
                        await asyncio.to_thread(_write_piece, target, hasher, piece)
                if hasher.digest() != file.manifest.digest:
                    raise StoreDamaged
                await asyncio.to_thread(_sync_file, target)
            await asyncio.to_thread(_finish, part, path, file)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)


def _write_piece(target: BinaryIO, hasher: ContentHasher, piece: bytes) -> None:
    hasher.update(piece)
    target.write(piece)


def _sync_file(target: BinaryIO) -> None:
    target.flush()
    os.fsync(target.fileno())


def _finish(part: Path, path: Path, file: File) -> None:
    # Not as a float, which is too coarse for what an import is to find again.
    nanoseconds = (file.modified - _EPOCH) // timedelta(microseconds=1) * 1000
    os.utime(part, ns=(nanoseconds, nanoseconds))
    part.replace(path)
