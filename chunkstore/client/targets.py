"""Local files that are written whole or not at all, beside what they replace.

Names that come from a server lead through no symbolic link: each folder is opened from the one
before, without following any.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import Final

from chunkstore.client.digests import naming
from chunkstore.client.errors import ClientError
from chunkstore.core.names import parse_file_name

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PART: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# A file name has at most 255 bytes on common file systems; a part has 15 more than its target.
_LONGEST_STEM: Final = 230
_ENDING: Final = ".part"
_KEY: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{8})?"
_ANY_PART: Final = re.compile(rf"\..+\.{_KEY}{re.escape(_ENDING)}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """A place for a file: a name in a folder that is open; `path` is for people."""

    folder: int
    name: str
    path: Path

    def status(self) -> os.stat_result | None:
        """Return what is there, None if it is nothing; a link is not followed."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def target_at(path: Path) -> Iterator[Target]:
    """Open the folder of a path that the user gave, which is created if it is not there.

    Raises:
        ClientError: it cannot be, or there is a folder of the target's name, or a device or pipe.
    """
    with naming(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, _FOLDER)
    try:
        target = Target(folder, path.name, path)
        _require_replaceable(target)
        _require_no_link_to_device(target)
        yield target
    finally:
        os.close(folder)


@contextmanager
def target_below(root: Path, name: str) -> Iterator[Target]:
    """Open the folder below `root` in which the file `name` of a server is to be.

    Folders are created where there are none.

    Raises:
        InvalidName: it is no name that a server may give.
        ClientError: a folder of it is something else here, as a symbolic link.
    """
    *folders, last = parse_file_name(name).split("/")
    path = root
    with naming(root):
        folder = _open_root(root)
    try:
        for part in folders:
            path /= part
            inner = _open_folder(folder, part, path)
            os.close(folder)
            folder = inner
        target = Target(folder, last, path / last)
        _require_replaceable(target)
        yield target
    finally:
        os.close(folder)


def _open_root(root: Path) -> int:
    # Opened before it is made, since it is there for all of many files but the first.
    with suppress(FileNotFoundError):
        return os.open(root, _FOLDER)
    root.mkdir(parents=True, exist_ok=True)
    return os.open(root, _FOLDER)


def _open_folder(outer: int, name: str, path: Path) -> int:
    with naming(path):
        try:
            with suppress(FileNotFoundError):
                return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=outer)
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=outer)
            return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=outer)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise ClientError(f"{path} is no folder here, and nothing is put there.") from error
            raise


def _require_replaceable(target: Target) -> None:
    found = target.status()
    if found is not None and S_ISDIR(found.st_mode):
        raise ClientError(f"{target.path} is a folder; it is not replaced by a file.")
    if found is not None and not S_ISLNK(found.st_mode):
        _require_regular(target, found)


def _require_no_link_to_device(target: Target) -> None:
    """Refuse a link like /dev/stdout, which is a device or a pipe to its user."""
    # What cannot be followed is only a link.
    with suppress(OSError):
        _require_regular(target, os.stat(target.name, dir_fd=target.folder))


def _require_regular(target: Target, found: os.stat_result) -> None:
    if not S_ISREG(found.st_mode):
        raise ClientError(
            f"{target.path} is no regular file, and is not replaced; - is standard output."
        )


class PartFile:
    """What will be the file at a target, until it is complete; `size` is its bytes.

    It lies beside the target and is found again by the next run; nobody else can have it open.
    `is_resumed` if some bytes may be there already.
    """

    def __init__(self, target: Target, name: str, file: int, size: int | None) -> None:
        self.file = file
        self.size = os.fstat(file).st_size
        self.is_resumed = self.size > 0
        self._target = target
        self._name = name
        if size is not None:
            self.resize(size)

    @classmethod
    @contextmanager
    def opened(cls, target: Target, size: int | None, key: str) -> Iterator[PartFile]:
        """Open the part of a target; it stays when the context ends without `finish`.

        It is found again by `key`, 8 hexadecimal digits that stand for its content. Without a
        `size` it is as long as it was left.

        Raises:
            ClientError: it cannot be written.
        """
        name = _part_name(target.name, key)
        with naming(target.path.parent / name):
            while (file := _open_locked(target.folder, name)) is None:
                # Another process is at it.
                name = _part_name(target.name, f"{key}-{secrets.token_hex(4)}")
            try:
                part = cls(target, name, file, size)
            except OSError:
                os.close(file)
                raise
        try:
            yield part
        finally:
            os.close(file)

    def resize(self, size: int) -> None:
        """Cut it, or lengthen it by a hole."""
        os.ftruncate(self.file, size)
        self.size = size

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """Write bytes at an offset.

        Raises:
            ClientError: they cannot be written.
        """
        view = memoryview(content)
        with naming(self._target.path):
            while view:
                written = os.pwrite(self.file, view, offset)
                view = view[written:]
                offset += written

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset."""
        with naming(self._target.path):
            return os.pread(self.file, size, offset)

    def sync(self) -> None:
        """Make sure that what was written is on the disk.

        If that fails the part is deleted: the system tells it once, and reads back what it has lost
        as if it was there, so the next run must not go on with it.

        Raises:
            ClientError: it is not on the disk.
        """
        with naming(self._target.path):
            try:
                os.fsync(self.file)
            except OSError:
                self.discard()
                raise

    def finish(self, modified: datetime | None, *, sync_folder: bool = True) -> None:
        """Make it the file at the target, on the disk when this returns.

        Without `sync_folder` only its content is there for sure.

        Raises:
            ClientError: it cannot be.
        """
        target = self._target
        with naming(target.path):
            found = target.status()
            if found is not None and S_ISREG(found.st_mode):
                os.fchmod(self.file, S_IMODE(found.st_mode))
            if modified is not None:
                nanoseconds = int(modified.timestamp() * 1_000_000) * 1000
                os.utime(self.file, ns=(nanoseconds, nanoseconds))
            self.sync()
            os.rename(self._name, target.name, src_dir_fd=target.folder, dst_dir_fd=target.folder)
            if sync_folder:
                os.fsync(target.folder)

    def discard(self) -> None:
        """Delete it."""
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._target.folder)


def sync_folders(root: Path, names: Iterable[str]) -> None:
    """Make sure that what was renamed in folders is on the disk: those of `names` below `root`.

    Raises:
        ClientError: the file system failed.
    """
    folders = {parent for name in names for parent in Path(name).parents}
    for folder in sorted(folders):
        path = root / folder
        with naming(path), suppress(FileNotFoundError):
            number = os.open(path, _FOLDER | os.O_NOFOLLOW)
            try:
                os.fsync(number)
            finally:
                os.close(number)


def _open_locked(folder: int, name: str) -> int | None:
    """Open or make a part that nobody else has open; None if somebody has."""
    while True:
        file = os.open(name, _PART, 0o666, dir_fd=folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(file, folder, name):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_still(file: int, folder: int, name: str) -> bool:
    """Whether a name is that of an open file still: who had it before may have finished it."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_part_name(name: str) -> bool:
    """Whether a file of this name, without a folder, is an unfinished part of another one."""
    return _ANY_PART.fullmatch(name) is not None


def other_parts(target: Target, key: str) -> list[str]:
    """Return the names of parts beside a target that were to have other contents."""
    start, own = _part_name(target.name, ""), _part_name(target.name, key)
    part = re.compile(re.escape(start.removesuffix(_ENDING)) + _KEY + re.escape(_ENDING))
    with naming(target.path.parent):
        return [name for name in os.listdir(target.folder) if part.fullmatch(name) and name != own]


def remove_other_parts(target: Target, key: str) -> None:
    """Delete the parts beside a target that are for other contents and that nobody has open."""
    for name in other_parts(target, key):
        with suppress(OSError):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target.folder)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(file, target.folder, name):
                    os.unlink(name, dir_fd=target.folder)
            finally:
                os.close(file)


def _part_name(name: str, key: str) -> str:
    stem = name.encode("utf-8", "surrogateescape")[:_LONGEST_STEM].decode("utf-8", "ignore")
    return f".{stem}.{key}{_ENDING}"
