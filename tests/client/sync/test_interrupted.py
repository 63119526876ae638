"""A sync that ends in the middle, by whatever: the next one goes on, and nothing is half there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chunkstore.client.errors import Missing
from tests.client.sync.folders import Folders, environment_in
from tests.process import COMMAND, ServerProcess, clean_environment, run_command, served

LARGE = random.Random(3).randbytes(3_000_000)
TREE = {
    **{f"d{number % 5}/{number}": LARGE[number : number + 9000] for number in range(150)},
    "large": LARGE,
}
OLD = {name: b"old" for name in TREE if name < "d2/"}


@contextmanager
def begun(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a slow sync until it has transferred something, and not all."""
    process = subprocess.Popen(
        [*COMMAND, "sync", *arguments, "--json", "--bwlimit", "1M", "--retries", "0"],
        cwd=folder,
        env={**clean_environment(), **environment_in(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told.get("transferred") or told["type"] == "file":
            break
    assert process.poll() is None
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def sync_again(folder: Path, *arguments: str) -> str:
    result = run_command(folder, "sync", *arguments, environment=environment_in(folder))
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_was_ended_goes_on(
    folders: Folders, tmp_path: Path, up: bool, number: signal.Signals
) -> None:
    (folders.write if up else folders.put)(TREE)
    (folders.put if up else folders.write)(OLD)
    places = ("root", folders.there.url) if up else (folders.there.url, "root")
    with begun(tmp_path, *places) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, errors) == (130, "")
        assert json.loads(output.splitlines()[-1])["status"] == 130
    else:
        assert process.returncode == -signal.SIGKILL
    half = folders.read_there() if up else folders.read_here()
    whole = {name: content for name, content in half.items() if not name.endswith(".part")}
    assert OLD.keys() <= whole.keys()
    assert all(content in (TREE[name], OLD.get(name)) for name, content in whole.items())
    sync_again(tmp_path, *places, "--delete")
    assert folders.read_there() == folders.read_here() == TREE


def test_a_server_that_was_killed_goes_on(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with served(tmp_path / "server") as server, Folders(server.url, "x/", tmp_path) as folders:
        folders.write(TREE)
        port = server.port
        with begun(tmp_path, "root", folders.there.url) as process:
            server.kill()
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 5
        assert json.loads(output.splitlines()[-1])["status"] == 5
        with served(tmp_path / "server", port=port):
            assert folders.read_there().items() <= TREE.items()
            sync_again(tmp_path, "root", folders.there.url)
            assert folders.read_there() == TREE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_of_an_atomic_sync_that_was_ended_readers_see_nothing(
    folders: Folders, tmp_path: Path, server: ServerProcess, number: signal.Signals
) -> None:
    folders.put({"old": b"1"})
    folders.write(TREE)
    places = ("root", folders.there.url, "--atomic", "--delete")
    with begun(tmp_path, *places) as process:
        process.send_signal(number)
        process.communicate(timeout=60)
    assert folders.read_there() == {"old": b"1"}
    assert sync_again(tmp_path, *places) == ""
    assert folders.read_there() == TREE
    above = folders.name.removesuffix("folder/")
    # What was killed could not delete its copy; the next one of this user has.
    assert list(folders.server.files.list(above).folders) == [folders.name]
    # That of another one may be in use.
    other = f"{above}.folder.syncing-01234567/"
    folders.server.files.put(f"{other}a", b"", 0)
    folders.write({**TREE, "new": b"2"})
    assert other in sync_again(tmp_path, *places)
    assert list(folders.server.files.list(above).folders) == [other, folders.name]
    folders.server.files.delete(other)


def test_what_is_not_there_at_first_is_not_half_there(folders: Folders, tmp_path: Path) -> None:
    folders.write(TREE)
    with begun(tmp_path, "root", folders.there.url, "--atomic") as process:
        process.kill()
        process.communicate(timeout=60)
    with pytest.raises(Missing):
        folders.server.files.list(folders.name)
