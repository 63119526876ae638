"""The machine that is measured on, its disk and its clock."""

from __future__ import annotations

import ctypes
import os
import platform
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chunkstore.core.units import format_size

MB: Final = 1_000_000
GB: Final = 1_000_000_000
KIB: Final = 1024
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def seconds(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sync(folder: Path) -> None:
    """Return when all that was written to the file system of `folder` is on its disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Return when a file is on the disk, and its name in its folder."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_random(path: Path, size: int) -> None:
    """Write an incompressible file of `size` bytes, through to the disk."""
    with path.open("wb") as file:
        for start in range(0, size, MB):
            file.write(os.urandom(min(MB, size - start)))
        file.flush()
        os.fsync(file.fileno())


_RESERVE: Final = ".db-reserve"


def disk_usage(folder: Path) -> int:
    """Return the bytes on disk of all files below `folder`, as `du` counts them.

    But for chunkstore's reserve, in which nothing is kept: 8 MiB, and as much as its log has.
    """
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith(_RESERVE):
                continue
            # The servers run: files come and go.
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def free_space(folder: Path) -> int:
    """Return the bytes that can still be written below `folder`."""
    figures = os.statvfs(folder)
    return figures.f_bavail * figures.f_frsize


def describe_machine() -> str:
    """Return what the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} cores of {model}, {format_size(memory)} of memory, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, {time.strftime('%Y-%m-%d')}"
    )
