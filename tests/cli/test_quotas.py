"""`chunkstore quota` and `audit`, as people run them: alone, beside a server, on PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.test_access import PASSWORD, result, run
from tests.cli.test_command_line import fails_with_one_line
from tests.postgres import Cluster
from tests.process import COMMAND, clean_environment, run_command, served


def use(folder: Path, *db: str) -> None:
    """Go through the commands."""
    made = result(folder, "quota", "set", "d", "--size", "10GB", "--files", "3", *db)
    assert made == {
        "folder": "/d/", "max_size": 10**10, "max_files": 3, "size": 0, "files": 0
    }  # fmt: skip
    result(folder, "quota", "set", "/", "--size", "1 MiB", *db)
    shown = run(folder, "quota", "ls", *db)
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["folder", "size", "max_size", "files", "max_files"],
        ["/", "0", "1.0", "MiB", "0", "-"],
        ["/d/", "0", "9.3", "GiB", "0", "3"],
    ]
    assert [quota["folder"] for quota in result(folder, "stats", *db)["quotas"]] == ["/", "/d/"]
    assert "/d/: 0 bytes of 9.3 GiB, 0 files of 3" in run(folder, "stats", *db).stdout
    result(folder, "quota", "remove", "d/", *db)
    # Nothing of that is told before there are accounts.
    assert run(folder, "audit", *db).stdout == ""
    result(folder, "user", "add", "anna", "--admin", *db, text=PASSWORD)
    result(folder, "quota", "set", "/d/e/", "--files", "7", *db)
    lines = run(folder, "audit", "--json", *db).stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["user add", "quota set"]
    [line] = run(folder, "audit", "--name", "d/", "--since", "2020-01-01", *db).stdout.splitlines()
    assert line.endswith("- (command line) quota set /d/e/ files=7")


@contextmanager
def following(folder: Path, *db: str) -> Iterator[subprocess.Popen[str]]:
    """Run `audit --follow` for the time of the context."""
    process = subprocess.Popen(
        [*COMMAND, "audit", "--follow", "--json", *db],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def follow(folder: Path, *db: str) -> None:
    """Follow the log while it grows, until interrupted, and until nobody reads it any more."""
    result(folder, "user", "add", "anna", "--admin", *db, text=PASSWORD)
    with following(folder, *db) as process, following(folder, *db) as unread:
        assert process.stdout is not None
        assert unread.stdout is not None
        unread.stdout.readline()
        unread.stdout.close()
        seen = []
        for number in range(3):
            result(folder, "quota", "set", f"/d{number}", "--files", "7", *db)
            seen.append(json.loads(process.stdout.readline()))
        assert [entry["action"] for entry in seen] == ["user add", "quota set", "quota set"]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        seen += map(json.loads, rest.splitlines())
        assert [entry["name"] for entry in seen[1:]] in (["d0/", "d1/"], ["d0/", "d1/", "d2/"])
        assert errors.strip() == "chunkstore: Interrupted."
        assert process.returncode == 130
        assert unread.wait(timeout=60) == 1
        assert unread.stderr is not None
        assert unread.stderr.read() == ""


def test_quotas_and_the_audit_log_without_a_server(tmp_path: Path) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    use(tmp_path)
    assert "has no quota" in fails_with_one_line(run(tmp_path, "quota", "remove", "d"))
    for wrong in ([], ["--size", "-1"], ["--files", "-1"], ["--size", str(2**63)]):
        assert run(tmp_path, "quota", "set", "d", *wrong).returncode != 0, wrong
    assert run(tmp_path, "quota", "set", "../d", "--size", "1").returncode != 0
    assert "no time like" in fails_with_one_line(run(tmp_path, "audit", "--since", "soon"))


def test_quotas_and_the_audit_log_beside_a_server(tmp_path: Path) -> None:
    with served(tmp_path):
        use(tmp_path)


@pytest.mark.usefixtures("_interrupts_are_not_ignored")
def test_the_audit_log_is_followed_from_server_to_server(tmp_path: Path) -> None:
    with served(tmp_path):
        follow(tmp_path)
        with following(tmp_path) as process:
            assert process.stdout is not None
            names = [json.loads(process.stdout.readline())["name"] for _ in range(4)]
            assert names == ["", "d0/", "d1/", "d2/"]
            # While none runs, and with the next.
    with following(tmp_path) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        result(tmp_path, "quota", "set", "/e", "--files", "7")
        assert json.loads(process.stdout.readline())["name"] == "e/"
        with served(tmp_path):
            result(tmp_path, "quota", "set", "/f", "--files", "7")
            assert json.loads(process.stdout.readline())["name"] == "f/"


@pytest.mark.usefixtures("_interrupts_are_not_ignored")
def test_the_audit_log_is_followed_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create_database("followed")
    assert run_command(tmp_path, "init", "--db", url).returncode == 0
    follow(tmp_path, "--db", url)


def test_to_follow_has_no_end(tmp_path: Path) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    refused = run(tmp_path, "audit", "--follow", "--until", "2026-11-28")
    assert "--follow has no end" in refused.stderr


def test_quotas_and_the_audit_log_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create_database("quotas_and_audit")
    assert run_command(tmp_path, "init", "--db", url).returncode == 0
    use(tmp_path, "--db", url)
