"""--tune-malloc, seen in the memory of a real server."""

from __future__ import annotations

import platform
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.test_command_line import get, put
from tests.process import served
from tests.programs import do_without

# glibc gives the heap of each thread's arena so much of the address space, at a multiple of it
# (HEAP_MAX_SIZE in its arena.c, on 64-bit systems).
_HEAP_SIZE = 64 * 1024 * 1024


def heaps_of_threads(pid: int) -> int:
    """Return how many heaps a process has besides its own.

    Such a heap is a part that is in use, and the rest of its space, which cannot be accessed yet.
    """
    found = 0
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    regions = [_region(line) for line in lines]
    for (start, middle, mode), (after, stop, rest) in pairwise(regions):
        adjacent = middle == after and (mode, rest) == ("rw-p", "---p")
        found += adjacent and start % _HEAP_SIZE == 0 and stop % _HEAP_SIZE == 0
    return found


def _region(line: str) -> tuple[int, int, str]:
    addresses, mode, *_ = line.split()
    start, _, stop = addresses.partition("-")
    return int(start, 16), int(stop, 16), mode


def require_glibc() -> None:
    """Skip a test where malloc is another one."""
    if platform.libc_ver()[0] != "glibc" or platform.architecture()[0] != "64bit":
        do_without("glibc on a 64-bit system")


@pytest.mark.parametrize(
    ("options", "tuned"), [((), True), (("--tune-malloc",), True), (("--no-tune-malloc",), False)]
)
def test_threads_share_one_heap_if_malloc_is_tuned(
    tmp_path: Path, options: tuple[str, ...], tuned: bool
) -> None:
    require_glibc()
    with served(tmp_path, *options) as server:
        put(server, "a", bytes(range(256)) * 40_000)
        assert len(get(server, "a")) == 256 * 40_000
        assert (heaps_of_threads(server.pid) == 0) is tuned
