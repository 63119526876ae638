"""The digest cache: never wrong, and never in the way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chunkstore.client.cache import RACY_NANOSECONDS, DigestCache, FileState, Fingerprint
from chunkstore.client.manifests import Manifest, format_entry
from chunkstore.core.digest import Digest

DIGEST = Digest.of(b"content")
LONG_AGO = 1_700_000_000 * 10**9
STATE = FileState(2**63 + 1, 5, 7, LONG_AGO, LONG_AGO)
PRINT = Fingerprint(DIGEST, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "digests.db"


def keep(cache: DigestCache, state: FileState = STATE, began_ns: int | None = None) -> None:
    cache.keep(state, Path("a"), PRINT, time.time_ns() if began_ns is None else began_ns)
    cache.flush()


def test_a_file_is_known_as_long_as_it_is_the_same(path: Path) -> None:
    cache = DigestCache(path)
    keep(cache)
    cache.close()
    cache = DigestCache(path)
    assert cache.find(STATE) == PRINT
    for change in ({"device": 1}, {"inode": 6}, {"size": 8}, {"mtime_ns": 1}, {"ctime_ns": 1}):
        fields = {name: getattr(STATE, name) for name in STATE.__slots__}
        assert cache.find(FileState(**{**fields, **change})) is None
    cache.close()


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
def test_what_was_read_too_soon_after_a_change_is_not_kept(path: Path, field: str) -> None:
    cache = DigestCache(path)
    began = LONG_AGO + 10 * RACY_NANOSECONDS
    times = {"mtime_ns": LONG_AGO, "ctime_ns": LONG_AGO}
    racy = FileState(1, 1, 7, **{**times, field: began - RACY_NANOSECONDS + 1})
    keep(cache, racy, began)
    assert cache.find(racy) is None
    settled = FileState(1, 1, 7, **{**times, field: began - RACY_NANOSECONDS})
    keep(cache, settled, began)
    assert cache.find(settled) == PRINT
    cache.close()


def test_lists_are_kept_by_the_way_they_were_cut(path: Path) -> None:
    cache = DigestCache(path)
    entries = format_entry(DIGEST.raw, 4) + format_entry(DIGEST.raw, 3)
    cache.keep(STATE, Path("a"), PRINT, time.time_ns(), "fixed;size=4", entries)
    found = cache.find_list(STATE, "fixed;size=4")
    assert found is not None
    assert (found.digest, found.entries) == (DIGEST, entries)
    assert cache.find_list(STATE, "fixed;size=8") is None
    assert cache.find(STATE) == PRINT
    assert cache.paths_of(DIGEST) == [Path("a").absolute()]
    cache.close()


def test_lists_of_servers_are_kept_by_their_urls(path: Path) -> None:
    cache = DigestCache(path)
    manifest = Manifest(DIGEST, format_entry(DIGEST.raw, 7))
    cache.keep_remote("http://h/a", manifest)
    found = cache.find_remote("http://h/a")
    assert found is not None
    assert (found.digest, found.entries) == (manifest.digest, manifest.entries)
    assert cache.find_remote("http://h/b") is None
    cache.close()


@pytest.mark.parametrize("garbage", [b"no database at all" * 100, b"SQLite format 3\0" * 64])
def test_a_damaged_one_is_thrown_away(path: Path, garbage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(garbage)
    cache = DigestCache(path)
    assert cache.find(STATE) is None
    keep(cache)
    assert cache.find(STATE) == PRINT
    cache.close()


def test_one_damaged_in_the_middle_is_thrown_away(path: Path) -> None:
    cache = DigestCache(path)
    for inode in range(2000):
        cache.keep(FileState(1, inode, 7, 1, 1), Path("a"), PRINT, time.time_ns())
    cache.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    cache = DigestCache(path)
    assert all(cache.find(FileState(1, inode, 7, 1, 1)) in (None, PRINT) for inode in range(2000))
    keep(cache)
    assert cache.find(STATE) == PRINT
    cache.close()


def test_one_of_another_version_is_thrown_away(path: Path) -> None:
    cache = DigestCache(path)
    keep(cache)
    cache.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    cache = DigestCache(path)
    assert cache.find(STATE) is None
    keep(cache)
    assert cache.find(STATE) == PRINT
    cache.close()


def test_without_a_place_to_write_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = DigestCache(tmp_path / "file" / "digests.db")
    keep(cache)
    assert cache.find(STATE) is None
    assert cache.files() == []
    cache.close()


_WRITER = """
import sys, time
from pathlib import Path
from tests.client.test_cache import DigestCache, FileState, PRINT
cache = DigestCache(Path(sys.argv[1]))
for inode in range(1000):
    cache.keep(FileState(int(sys.argv[2]), inode, 7, 1, 1), Path("a"), PRINT, time.time_ns())
    if inode % 50 == 0:
        cache.flush()
cache.close()
"""


def test_processes_write_at_once(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(device)])
        for device in range(3)
    ]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    cache = DigestCache(path)
    for device in range(3):
        for inode in range(1000):
            assert cache.find(FileState(device, inode, 7, 1, 1)) == PRINT
    cache.close()


def test_what_was_not_used_is_forgotten(path: Path) -> None:
    cache = DigestCache(path)
    keep(cache)
    cache.keep_remote("http://h/a", Manifest(DIGEST, format_entry(DIGEST.raw, 7)))
    assert cache.prune(3600) == 0
    assert [(file.path, file.size, file.digest) for file in cache.files()] == [
        (os.fspath(Path("a").absolute()), 7, DIGEST)
    ]
    assert cache.size() > 0
    assert cache.prune(-1) == 2
    assert (cache.find(STATE), cache.find_remote("http://h/a"), cache.files()) == (None, None, [])
    keep(cache)
    cache.clear()
    assert cache.find(STATE) is None
    cache.close()


@pytest.mark.parametrize("time_ns", [-(2**63) - 1, 2**63])
def test_times_that_sqlite_cannot_have_are_in_nobodys_way(path: Path, time_ns: int) -> None:
    cache = DigestCache(path)
    far = FileState(1, 1, 7, time_ns, LONG_AGO)
    keep(cache, far, 2**64)
    keep(cache)
    assert cache.find(far) is None
    assert cache.find_list(far, "") is None
    assert cache.find(STATE) == PRINT
    cache.close()


def test_a_database_of_another_version_that_is_in_use_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA user_version = 99")
    other.execute("CREATE TABLE file (x)")
    other.execute("BEGIN EXCLUSIVE")
    cache = DigestCache(path, busy_seconds=0)
    keep(cache)
    assert cache.find(STATE) is None
    other.execute("COMMIT")
    assert cache.find(STATE) is None
    cache.close()
    assert other.execute("SELECT count(*) FROM file").fetchone() == (0,)
    other.close()
