"""The client as its users run it: killed in the middle, interrupted, short of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chunkstore.client.options import PushOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_file import push_file
from chunkstore.client.server.server import Server
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from tests.client.conftest import MakeSession, content_of
from tests.process import COMMAND, ServerProcess, clean_environment
from tests.server.test_malloc import heaps_of_threads, require_glibc

CHUNK = DEFAULT_CHUNK_SIZE
# Three packs.
SIZE = 190 * CHUNK
# So that there is a middle, whatever the machine.
SLOWLY = ("--bwlimit", "8MiB", "--connections", "2")
_MEMORY: int = 150 << 20


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder of a user, in which the client keeps what it keeps."""
    home = tmp_path / "home"
    home.mkdir()
    return home


def environment_of(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in clean_environment().items() if "XDG" not in name}
    return {**kept, "HOME": str(home)}


def run(home: Path, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=home,
        env=environment_of(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == status, found.stderr
    return found


@contextmanager
def started(home: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=home,
        env=environment_of(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_push_that_was_killed_goes_on(
    remote: Server, shared_server: ServerProcess, folder: RemotePlace, home: Path
) -> None:
    (home / "a").write_bytes(os.urandom(SIZE))
    url = f"{folder.url}a"
    packs = shared_server.log.read_text().count("POST /uploads/")
    with started(home, "push", "a", url, *SLOWLY) as process:
        shared_server.wait_for_log("POST /uploads/", times=packs + 1)
        process.kill()
    assert remote.files.find(f"{folder.name}a") is None
    found = run(home, "push", "--json", "a", url)
    spared = int(found.stdout.rpartition('"spared": ')[2].partition(",")[0])
    # What was on its way when the client died may have to be sent again.
    assert spared > 0
    assert content_of(remote, f"{folder.name}a") == (home / "a").read_bytes()
    assert list((home / ".local/state/chunkstore/uploads").iterdir()) == []


@contextmanager
def pulling(home: Path, url: str, target: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a slow pull until it has written something, and not all."""
    with started(home, "pull", url, target, *SLOWLY) as process:
        parts = f".{target}.*.part"
        while not any(path.stat().st_blocks * 512 >= 4 * CHUNK for path in home.glob(parts)):
            assert process.poll() is None
            time.sleep(0.01)
        yield process


def test_threads_share_one_heap_that_keeps_what_was_freed(
    remote: Server, folder: RemotePlace, home: Path
) -> None:
    require_glibc()
    remote.files.put(f"{folder.name}a", os.urandom(SIZE), SIZE)
    with pulling(home, f"{folder.url}a", "b") as process:
        assert heaps_of_threads(process.pid) == 0


def test_a_pull_that_was_killed_goes_on(remote: Server, folder: RemotePlace, home: Path) -> None:
    content = os.urandom(SIZE)
    remote.files.put(f"{folder.name}a", content, SIZE)
    url = f"{folder.url}a"
    with pulling(home, url, "b") as process:
        process.kill()
    assert not (home / "b").exists()
    found = run(home, "pull", "--json", url, "b")
    assert int(found.stdout.rpartition('"spared": ')[2].partition(",")[0]) > 0
    assert (home / "b").read_bytes() == content
    assert list(home.glob(".b.*")) == []


def test_an_interrupted_push_says_so_and_goes_on(
    remote: Server, shared_server: ServerProcess, folder: RemotePlace, home: Path
) -> None:
    (home / "a").write_bytes(os.urandom(SIZE))
    url = f"{folder.url}a"
    packs = shared_server.log.read_text().count("POST /uploads/")
    with started(home, "push", "a", url, *SLOWLY) as process:
        shared_server.wait_for_log("POST /uploads/", times=packs + 1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
    assert b"goes on from here" in told
    assert b"Traceback" not in told
    run(home, "push", "a", url)
    assert content_of(remote, f"{folder.name}a") == (home / "a").read_bytes()


def test_ctrl_c_again_and_again_ends_at_once_and_the_next_run_goes_on(
    remote: Server, shared_server: ServerProcess, folder: RemotePlace, home: Path
) -> None:
    (home / "a").write_bytes(os.urandom(SIZE))
    url = f"{folder.url}a"
    packs = shared_server.log.read_text().count("POST /uploads/")
    with started(home, "push", "a", url, *SLOWLY) as process:
        shared_server.wait_for_log("POST /uploads/", times=packs + 1)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
    assert process.returncode == 130, told
    assert b"Traceback" not in told
    run(home, "push", "a", url)
    assert content_of(remote, f"{folder.name}a") == (home / "a").read_bytes()


def test_statuses_say_what_failed(remote: Server, folder: RemotePlace, home: Path) -> None:
    (home / "a").write_bytes(b"a")
    url = folder.url
    run(home, "push", "a", url)
    assert run(home, "cat", f"{url}a").stdout == "a"
    assert "no file" in run(home, "cat", f"{url}none", status=3).stderr
    assert "none" in run(home, "push", "none", url, status=3).stderr
    assert "is here" in run(home, "push", "a", "b", status=2).stderr
    assert (
        "refused"
        in run(home, "push", "a", "http://127.0.0.1:1/", "--retries", "0", status=5).stderr
    )
    folder_url = url.removesuffix("/")
    assert f"{folder_url}/" in run(home, "push", "a", folder_url, status=1).stderr
    assert "ends in /" in run(home, "pull", folder_url, "b", status=3).stderr
    assert "no / at its end" in run(home, "pull", f"{url}a/", "b", status=3).stderr
    assert "by itself" in run(home, "push", ".", ".", url, status=2).stderr
    run(home, "verify", "a", url)
    (home / "a").write_bytes(b"b")
    assert "differs" in run(home, "verify", "a", url, status=6).stderr
    (home / "b").write_bytes(b"b")
    some = run(home, "push", "b", "none", "a", url, status=3)
    assert "none: No such file" in some.stderr
    assert "Pushed 2 files" in some.stdout
    assert content_of(remote, f"{folder.name}b") == b"b"


@pytest.mark.parametrize(
    "arguments", [["cat"], ["ls", "-l"], ["verify", "--json", "a"], ["push", "--json", "a"]]
)
def test_an_output_that_is_full_is_one_line(
    remote: Server, folder: RemotePlace, home: Path, arguments: list[str]
) -> None:
    (home / "a").write_bytes(b"a")
    remote.files.put(f"{folder.name}a", b"a", 1)
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [*COMMAND, *arguments, f"{folder.url}a"],
            cwd=home,
            env=environment_of(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr


def test_an_input_that_is_closed_is_told(folder: RemotePlace, home: Path) -> None:
    found = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "push", "-", f"{folder.url}a"],
        env=environment_of(home),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (2, "chunkstore: Standard input is closed.\n")


@pytest.mark.parametrize("url", ["http://u:SECRET@h:99999/a", "http://u:SECRET@h/a?b"])
def test_a_password_is_not_told(home: Path, url: str) -> None:
    (home / "a").write_bytes(b"a")
    assert "SECRET" not in run(home, "push", "a", url, status=2).stderr


def test_no_name_is_obeyed_by_a_terminal(folder: RemotePlace, home: Path) -> None:
    (home / "a\x1b[2J").write_bytes(b"a")
    told = run(home, "push", "a\x1b[2J", folder.url, status=2).stderr
    assert "\x1b" not in told
    assert r"a\x1b[2J: The name has a control character" in told
    (home / "b").mkdir()
    (home / "b" / "a\x9b2J\n").write_bytes(b"a")
    assert r"b/a\x9b2J\n: " in run(home, "push", "b", folder.url, status=1).stderr


def test_a_pipe_each_way(remote: Server, folder: RemotePlace, home: Path) -> None:
    content = os.urandom(3 * CHUNK)
    url = f"{folder.url}a"
    environment = environment_of(home)
    subprocess.run([*COMMAND, "push", "-", url], input=content, env=environment, check=True)
    pulled = subprocess.run(
        [*COMMAND, "pull", url, "-"], env=environment, check=True, capture_output=True
    )
    assert pulled.stdout == content


def test_the_environment_has_a_server_and_a_token(
    remote: Server, folder: RemotePlace, home: Path
) -> None:
    (home / "a").write_bytes(b"a")
    environment = {**environment_of(home), "CHUNKSTORE_URL": folder.base, "CHUNKSTORE_TOKEN": "t"}
    subprocess.run(
        [*COMMAND, "push", "a", f":{folder.name}"], cwd=home, env=environment, check=True
    )
    assert content_of(remote, f"{folder.name}a") == b"a"


def memory_of(home: Path, *arguments: str | Path) -> int:
    """Return the most memory that a command had, in bytes."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, *COMMAND, *map(str, arguments)],
        cwd=home,
        env=environment_of(home),
        capture_output=True,
        text=True,
        check=True,
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(found.stdout.split()[-1]) * unit


def test_memory_does_not_grow_with_the_file(
    remote: Server, folder: RemotePlace, home: Path
) -> None:
    block = os.urandom(8 << 20)
    with (home / "a").open("wb") as file:
        for number in range(24):
            file.write(number.to_bytes(4, "big") + block[4:])
        file.truncate(2 << 30)
    url = f"{folder.url}a"
    assert memory_of(home, "push", "a", url) <= _MEMORY
    assert memory_of(home, "pull", url, "b", "--no-cache") <= _MEMORY
    run(home, "verify", "b", url)


def test_two_clients_push_the_same_at_once(remote: Server, folder: RemotePlace, home: Path) -> None:
    (home / "a").write_bytes(os.urandom(20 * CHUNK))
    with (
        started(home, "push", "a", folder.url) as one,
        started(home, "push", "a", folder.url) as two,
    ):
        statuses = {one.wait(120), two.wait(120)}
    # The same content is no conflict.
    assert statuses == {0}
    assert content_of(remote, f"{folder.name}a") == (home / "a").read_bytes()


def test_pushed_by_one_process_known_to_the_next(
    remote: Server, folder: RemotePlace, home: Path, make_session: MakeSession
) -> None:
    (home / "a").write_bytes(os.urandom(20 * CHUNK))
    run(home, "push", "a", f"{folder.url}a")
    found = run(home, "push", "--json", "a", f"{folder.url}a")
    assert '"wire_size": 0' in found.stdout
    with make_session() as session:
        pushed = push_file(session, home / "a", folder.joined("b"), PushOptions())
    assert pushed.moved == 0
