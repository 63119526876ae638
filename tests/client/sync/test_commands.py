"""The commands sync, ls, cp, mv, rm, remote and cache, as processes with a real server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chunkstore.client.cache import DigestCache, FileState, Fingerprint
from chunkstore.core.digest import Digest
from tests.client.sync.folders import Folders, environment_in
from tests.process import run_command

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, folders: Folders) -> Run:
    """Return what runs a command, with {} in its arguments standing for the folder's URL."""

    def run(*arguments: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        filled = [argument.replace("{}", folders.there.url) for argument in arguments]
        result = run_command(tmp_path, *filled, environment={**environment_in(tmp_path), **more})
        assert result.returncode == status, result.stderr
        return result

    return run


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_sync_tells_what_it_did(folders: Folders, run: Run) -> None:
    folders.write({"a": b"1", "d/b": b"2" * 300_000})
    result = run("sync", "root", "{}")
    assert result.stderr == ""
    assert result.stdout.startswith(
        "Synced 2 files of 293.0 KiB: 293.0 KiB sent, 0 bytes spared, in "
    )
    assert folders.read_there() == folders.read_here()
    (folders.root / "a").unlink()
    result = run("sync", "--delete", "root", "{}")
    assert result.stdout.startswith("Synced 0 files, 1 deleted, 1 unchanged: 0 bytes sent")
    assert run("sync", "-q", "{}", "back").stdout == ""


def test_programs_get_json_lines(folders: Folders, run: Run) -> None:
    folders.write({"a": b"1", "b": b"2"})
    (folders.root / "link").symlink_to("a")
    lines = lines_of(run("sync", "root", "{}", "--json"))
    assert sorted(line["type"] for line in lines if line["type"] != "status") == [
        "exit", "file", "file", "summary", "warning",
    ]  # fmt: skip
    assert lines[-1] == {"type": "exit", "status": 0, "message": None}
    summary = lines[-2]
    assert (summary["files"], summary["transferred"], summary["spared"]) == (2, 2, 0)
    [one, _] = [line for line in lines if line["type"] == "file"]
    assert (one["name"] in "ab", one["size"], one["transferred"]) == (True, 1, 1)


def test_the_exit_status_tells_why_it_failed(folders: Folders, run: Run) -> None:
    (folders.root / "bad\n").touch()
    (folders.root / "good").touch()
    result = run("sync", "root", "{}", status=1)
    assert "bad\\n" in result.stderr or "control character" in result.stderr
    assert "1 failed" in result.stdout
    run("sync", status=2)
    run("sync", "root", "elsewhere", status=2)
    run("sync", "missing", "{}", status=3)
    run("sync", "{}none/", "back", status=3)
    folders.put({"x": b"1"})
    (folders.root / "bad\n").unlink()
    run("sync", "root", "{}", "--delete", "--max-delete", "0", status=4)
    away = run("sync", "root", "http://127.0.0.1:1/files/x", "--retries", "0", "--json", status=5)
    assert lines_of(away)[-1]["status"] == 5


def test_a_plan_is_written_reviewed_and_applied(folders: Folders, run: Run, tmp_path: Path) -> None:
    folders.write({"a": b"1", "b": b"2"})
    folders.put({"old": b"3", "b": b"4"})
    shown = run("sync", "root", "{}", "--delete", "--plan", "plan", "--dry-run").stdout
    assert shown.splitlines() == [
        "put a (1 bytes)",
        "replace b (1 bytes)",
        "delete old (1 bytes)",
        "Would put 2 files (2 bytes), copy 0, delete 1; 0 unchanged.",
    ]
    assert folders.read_there() == {"old": b"3", "b": b"4"}
    plan = tmp_path / "plan"
    steps = [json.loads(line) for line in plan.read_text().splitlines()]
    assert [step.get("step") for step in steps] == [None, "put", "put", "delete"]
    # A person decides to keep it.
    kept = [line for line in plan.read_text().splitlines() if '"delete"' not in line]
    plan.write_text("\n".join(kept))
    run("sync", "--apply", "plan")
    assert folders.read_there() == {"a": b"1", "b": b"2", "old": b"3"}
    assert "is there" in run("sync", "--apply", "plan", status=4).stderr
    plan.write_text("no plan")
    run("sync", "--apply", "plan", status=2)
    run("sync", "--apply", "none", status=2)


def test_the_first_filter_that_matches_decides(folders: Folders, run: Run, tmp_path: Path) -> None:
    folders.write(dict.fromkeys(["a.o", "keep.o", "b.c", "x/c.c"], b"1"))
    (tmp_path / "rules").write_text("/x/\n")

    def names(*options: str, **environment: str) -> list[str]:
        result = run("sync", "root", "{}", "-n", "--json", *options, **environment)
        return sorted(line["name"] for line in lines_of(result) if line["type"] == "step")

    assert names("--include", "keep.o", "--exclude=*.o") == ["b.c", "keep.o", "x/c.c"]
    assert names("--exclude=*.o", "--include", "keep.o") == ["b.c", "x/c.c"]
    assert names("--include", "*.c") == ["b.c", "x/c.c"]
    assert names("--exclude-from", "rules", "--exclude", "b.*") == ["a.o", "keep.o"]
    assert names("--include=c.c", "--exclude-from", "rules") == ["a.o", "b.c", "keep.o", "x/c.c"]
    assert names(CHUNKSTORE_EXCLUDE="*.o /x/") == ["b.c"]
    run("sync", "root", "{}", "--exclude", "[", status=2)
    run("sync", "root", "{}", "--exclude-from", "none", status=2)


def test_names_are_listed(folders: Folders, run: Run) -> None:
    folders.put({"b": b"1", "a/x": b"22", "a/y/z": b"333"})
    assert run("ls", "{}").stdout.splitlines() == ["a/", "b"]
    assert run("ls", "-r", "{}").stdout.splitlines() == ["a/x", "a/y/z", "b"]
    assert run("ls", "{}b").stdout.splitlines() == ["b"]
    assert run("ls", "{}a").stdout.splitlines() == ["x", "y/"]
    [line] = run("ls", "-l", "{}b").stdout.splitlines()
    assert line.split()[:2] == ["1", "bytes"]
    [folder, file] = lines_of(run("ls", "--json", "{}"))
    assert folder == {"type": "folder", "name": "a/"}
    assert (file["name"], file["size"], len(file["digest"])) == ("b", 1, 64)
    run("ls", "{}none", status=3)
    run("ls", "root", status=2)


def test_names_are_copied_moved_and_deleted(folders: Folders, run: Run) -> None:
    folders.put({"a": b"1", "b": b"2", "d/x": b"3", "e/old": b"4"})
    run("cp", "{}a", "{}b", "{}new/")
    run("cp", "{}d", "{}copy")
    run("mv", "{}a", "{}moved")
    assert folders.read_there() == {
        "moved": b"1", "b": b"2", "new/a": b"1", "new/b": b"2",
        "d/x": b"3", "copy/x": b"3", "e/old": b"4",
    }  # fmt: skip
    assert "--replace" in run("mv", "{}d", "{}e", status=4).stderr
    run("mv", "{}d", "{}e", "--replace")
    run("cp", "-n", "{}b", "{}moved", status=4)
    run("cp", "{}b", "{}moved")
    run("cp", "{}none", "{}moved", status=3)
    run("cp", "root", "{}moved", status=2)
    run("cp", "{}a", "{}b", "{}moved", status=2)
    run("rm", "{}new", status=2)
    run("rm", "-r", "{}new", "{}copy/")
    run("rm", "{}b")
    run("rm", "{}b", status=3)
    run("rm", "-f", "{}b")
    assert folders.read_there() == {"moved": b"2", "e/x": b"3"}


def test_servers_have_names(folders: Folders, run: Run) -> None:
    folders.put({"a": b"1"})
    assert run("remote", "ls").stdout == ""
    run("remote", "add", "box", "{}")
    run("remote", "add", "secret", "http://ada:pass@h/")
    assert run("ls", "box:").stdout == "a\n"
    shown = run("remote", "ls").stdout
    assert shown.splitlines() == [f"box     {folders.there.url}", "secret  http://h/"]
    run("remote", "add", "box", "{}", status=4)
    run("remote", "add", "bad name", "{}", status=2)
    run("remote", "add", "other", "ftp://h/", status=2)
    run("remote", "rm", "box")
    run("remote", "rm", "box", status=3)
    run("ls", "box:", status=2)
    assert run("ls", ":", CHUNKSTORE_URL=folders.there.url).stdout == "a\n"


def test_the_digest_cache_is_shown_and_pruned(folders: Folders, run: Run, tmp_path: Path) -> None:
    assert "0 files" in run("cache", "ls").stdout
    cache = DigestCache(tmp_path / "cache/chunkstore/digests.db")
    for name in ("a", "b"):
        folders.write({name: b"1"})
        path = folders.root / name
        # As if it had been read long after it was written.
        later = time.time_ns() + 10**10
        cache.keep(FileState.of(path.stat()), path, Fingerprint(Digest.of(b"1"), 1), later)
    cache.close()
    shown = run("cache", "ls", "--files").stdout
    assert "2 files" in shown
    assert str(folders.root / "a") in shown
    assert run("cache", "prune", "--older-than", "0").stdout == "Forgot 2 files and lists.\n"
    assert "0 files" in run("cache", "ls").stdout
