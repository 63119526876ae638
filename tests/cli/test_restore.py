"""Restoring a backup, as an operator does it after a server was killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.cli.test_command_line import fails_with_one_line, get, put
from tests.conftest import RandomBytes
from tests.crash.disk import small_disk
from tests.process import ServerProcess, run_command, served

WHAT_TO_DO = "chunkstore restore BACKUP"


@contextmanager
def loaded(server: ServerProcess) -> Iterator[threading.Event]:
    """Put files all the time, until the server is gone; the event is set once some are there."""
    some = threading.Event()

    def load() -> None:
        try:
            for number in range(10_000):
                put(server, f"load/{number % 40}", os.urandom(300_000))
                if number == 30:
                    some.set()
        except (URLError, OSError):
            some.set()

    thread = threading.Thread(target=load)
    thread.start()
    yield some
    thread.join()


FILES = {f"kept/{number}": random.Random(number).randbytes(100_000) for number in range(20)}


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the `s.db` of a killed server, its log, and `backup.db` with FILES."""
    folder = tmp_path_factory.mktemp("remains")
    with served(folder, "--db", "s.db") as server:
        for name, content in FILES.items():
            put(server, name, content)
        assert run_command(folder, "backup", "--db", "s.db", "backup.db").returncode == 0
        with loaded(server) as some:
            assert some.wait(60)
            server.kill()
    assert (folder / "s.db-wal").stat().st_size > 1_000_000
    return folder


@pytest.fixture
def folder(remains: Path, tmp_path: Path) -> Path:
    """Return a folder of the test's own with what the killed server left."""
    # A socket that a kill has left cannot be copied, and need not be.
    sockets = shutil.ignore_patterns("*-control")
    return Path(shutil.copytree(remains, tmp_path / "folder", ignore=sockets))


def has_files(folder: Path, *, load: bool) -> None:
    """Assert that `s.db` has FILES, whole, and others only if `load`."""
    shown = run_command(folder, "scrub", "--db", "s.db")
    assert (shown.returncode, shown.stderr) == (0, "")
    with served(folder, "--db", "s.db") as server:
        assert all(get(server, name) == content for name, content in FILES.items())
        folders = json.loads(get(server, "?delimiter=/"))["folders"]
        assert folders == (["kept/", "load/"] if load else ["kept/"])


def test_a_log_left_by_a_kill_does_not_get_into_a_backup(folder: Path) -> None:
    log = (folder / "s.db-wal").read_bytes()
    (folder / "s.db").unlink()
    shutil.copy(folder / "backup.db", folder / "s.db")
    backup = (folder / "s.db").read_bytes()
    for command in (["serve", "--port", "0"], ["stats"], ["scrub"], ["collect"]):
        line = fails_with_one_line(run_command(folder, *command, "--db", "s.db"))
        assert "s.db-wal" in line
        assert WHAT_TO_DO in line
    assert (folder / "s.db-wal").read_bytes() == log
    assert (folder / "s.db").read_bytes() == backup

    shown = run_command(folder, "restore", "--db", "s.db", "backup.db")
    assert (shown.returncode, shown.stderr) == (0, "")
    has_files(folder, load=False)
    shown = run_command(folder, "backup", "--db", "s.db", "backup.db")
    assert shown.stdout == "Copied 0 new chunks, 0 bytes.\n"


def test_what_the_operator_is_told_of_going_on_without_the_log_works(folder: Path) -> None:
    shutil.copy(folder / "backup.db", folder / "s.db")  # into the same inode
    line = fails_with_one_line(run_command(folder, "stats", "--db", "s.db"))
    assert "To go on without the log, remove s.db-wal and s.db-owner" in line
    (folder / "s.db-wal").unlink()
    (folder / "s.db-owner").unlink()
    has_files(folder, load=False)


def test_a_database_and_its_log_belong_together_wherever_they_are_copied(folder: Path) -> None:
    for number, without in enumerate(["", "s.db-owner"]):
        machine = folder / str(number)
        machine.mkdir()
        for name in ("s.db", "s.db-wal", "s.db-owner"):
            if name != without:
                shutil.copy(folder / name, machine)
        assert run_command(machine, "stats", "--db", "s.db").returncode == 0
        has_files(machine, load=True)
    has_files(folder, load=True)


def test_a_database_that_is_gone_is_missed(folder: Path) -> None:
    (folder / "s.db").unlink()
    line = fails_with_one_line(run_command(folder, "serve", "--port", "0", "--db", "s.db"))
    assert "It is gone, and its log s.db-wal is there" in line
    assert not (folder / "s.db").exists()
    assert run_command(folder, "restore", "--db", "s.db", "backup.db").returncode == 0
    has_files(folder, load=False)


def test_what_a_restore_replaces_is_kept_with_its_log(folder: Path) -> None:
    (folder / "s.db").chmod(0o640)
    shown = run_command(folder, "restore", "--db", "s.db", "backup.db")
    [kept] = [path for path in folder.glob("s.db-before-*") if path.name.endswith("Z")]
    assert f"is kept as {kept};" in shown.stdout
    assert (folder / "s.db").stat().st_mode & 0o777 == 0o640
    has_files(folder, load=False)
    with served(folder, "--db", kept.name) as server:
        assert all(get(server, name) == content for name, content in FILES.items())
        assert get(server, "load/0")
    remains = {path.name.removeprefix(kept.name) for path in folder.glob("s.db*")}
    assert remains == {"", "-lock", "-reserve", "s.db", "s.db-lock", "s.db-reserve"}


def test_restore_is_refused_in_one_line_and_changes_nothing(
    tmp_path: Path, random_bytes: RandomBytes
) -> None:
    with served(tmp_path) as server:
        put(server, "a", random_bytes(600_000))
        assert run_command(tmp_path, "backup", "b.db").returncode == 0
        line = fails_with_one_line(run_command(tmp_path, "restore", "b.db"))
        assert "Another process has the store open" in line
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    before = sorted(tmp_path.iterdir())
    for backup, reason in {
        "none.db": "none.db cannot be opened: There is no such file.",
        ".": " cannot be opened: It is not a file.",
        "text": "text cannot be opened: The file is not a chunkstore database.",
        "chunkstore.db": "The backup is the store itself.",
    }.items():
        assert reason in fails_with_one_line(run_command(tmp_path, "restore", backup))
    line = fails_with_one_line(run_command(tmp_path, "restore", "--db", "postgresql://x/y", "b.db"))
    assert "PostgreSQL has its own means" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("accepted", [False, True])
def test_a_damaged_backup_is_restored_only_if_that_is_accepted(
    tmp_path: Path, random_bytes: RandomBytes, accepted: bool
) -> None:
    content = random_bytes(300_000)
    with served(tmp_path) as server:
        put(server, "a", content)
        put(server, "b", b"whole")
        assert run_command(tmp_path, "backup", "b.db").returncode == 0
    raw = (tmp_path / "b.db").read_bytes()
    place = raw.index(content[1000:1100])
    (tmp_path / "b.db").write_bytes(raw[:place] + b"?" + raw[place + 1 :])
    options = ["--accept-damage"] if accepted else []
    shown = run_command(tmp_path, "restore", "--db", "new.db", *options, "b.db")
    assert "is damaged; it is part of 'a'" in shown.stdout
    if not accepted:
        assert "--accept-damage" in fails_with_one_line(shown)
        assert not list(tmp_path.glob("new.db*[!k]"))
        return
    assert shown.returncode == 0
    with served(tmp_path, "--db", "new.db") as server:
        assert get(server, "b") == b"whole"


def test_a_backup_to_a_full_disk_says_which_is_full(
    tmp_path: Path, random_bytes: RandomBytes
) -> None:
    with served(tmp_path) as server, small_disk(tmp_path / "disk", 16 * 1024 * 1024):
        put(server, "a", random_bytes(20_000_000))
        line = fails_with_one_line(run_command(tmp_path, "backup", "disk/b.db"))
        assert "There is no room for the backup where disk/b.db is." in line
        put(server, "b", b"b")


def test_a_backup_on_a_disk_that_is_mounted_read_only(
    tmp_path: Path, random_bytes: RandomBytes
) -> None:
    content = random_bytes(300_000)
    with small_disk(tmp_path / "disk", 32 * 1024 * 1024) as disk:
        with served(tmp_path) as server:
            put(server, "a", content)
            assert run_command(tmp_path, "backup", "disk/b.db").returncode == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert run_command(tmp_path, "stats", "--db", "disk/b.db").returncode == 0
        shown = run_command(tmp_path, "restore", "--db", "new.db", "disk/b.db")
        assert (shown.returncode, shown.stderr) == (0, "")
    with served(tmp_path, "--db", "new.db") as server:
        assert get(server, "a") == content
