"""What systemd is told, and what it hands over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.backends import PostgresBackend
from tests.documents.blocks import ROOT
from tests.process import run_command, served
from tests.programs import require_program
from tests.server.certificates import make_pair
from tests.server.test_servers_on_postgres import children
from tests.server.test_unix_socket import get

_PATIENCE_SECONDS = 60
# A beat comes at least every 0.2 seconds.
_SILENCE_SECONDS = 1
DEPLOY = ROOT / "deploy"
# Listens as systemd does, and becomes the program.
ACTIVATE = """
import os, socket, sys
family, address = sys.argv[1:3]
listening = socket.socket(getattr(socket, family), getattr(socket, sys.argv[3]))
listening.bind(address if family == "AF_UNIX" else (address, 0))
if sys.argv[3] == "SOCK_STREAM":
    listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid() + int(sys.argv[4])))
os.execv(sys.argv[5], sys.argv[5:])
"""


class Manager:
    """The socket at which systemd is told how a service is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(_PATIENCE_SECONDS)

    def close(self) -> None:
        self._socket.close()

    def receive(self, name: str, *, but: tuple[str, ...] = ()) -> Mapping[str, str]:
        """Return the next message that assigns `name`; none before may assign one of `but`."""
        while True:
            text = self._socket.recv(4096).decode()
            told = dict(line.split("=", 1) for line in text.splitlines())
            assert not set(told) & set(but)
            if name in told:
                return told

    def wait_for_silence(self) -> None:
        """Wait until nothing has come for several beats."""
        self._socket.settimeout(_SILENCE_SECONDS)
        with suppress(TimeoutError):
            while True:
                self._socket.recv(4096)
        self._socket.settimeout(_PATIENCE_SECONDS)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def under(manager: Manager, **variables: str) -> tuple[str, ...]:
    """Return what runs a program with the variables of a service."""
    told = {"NOTIFY_SOCKET": str(manager.path), **variables}
    return ("env", *(f"{name}={value}" for name, value in told.items()))


def test_readiness_reloads_and_the_end_are_told(tmp_path: Path, manager: Manager) -> None:
    with served(tmp_path, wrapper=under(manager)) as server:
        ready = manager.receive("READY")
        assert ready["STATUS"] == f"Serving at {server.url}"
        assert ready["MAINPID"] == str(server.pid)
        # Without TLS there is nothing to load, and the service goes on.
        for _ in range(2):
            server.signal(signal.SIGHUP)
            assert int(manager.receive("RELOADING")["MONOTONIC_USEC"]) > 0
            assert manager.receive("READY")["READY"] == "1"
        assert server.stop() == 0
        assert manager.receive("STOPPING", but=("WATCHDOG",))["STATUS"]


def test_a_reload_that_fails_ends_too(tmp_path: Path, manager: Manager) -> None:
    pair = make_pair(tmp_path)
    with served(tmp_path, *pair.options, wrapper=under(manager)) as server:
        manager.receive("READY")
        pair.key.unlink()
        server.signal(signal.SIGHUP)
        manager.receive("RELOADING")
        manager.receive("READY")
        server.wait_for_log("stays in use")


def test_the_watchdog_hears_from_a_server_until_it_hangs(tmp_path: Path, manager: Manager) -> None:
    with served(tmp_path, wrapper=under(manager, WATCHDOG_USEC="200000")) as server:
        for _ in range(3):
            manager.receive("WATCHDOG")
        with server.suspended():
            manager.wait_for_silence()
        manager.receive("WATCHDOG")


def test_the_watchdog_of_another_process_does_not_matter(tmp_path: Path, manager: Manager) -> None:
    wrapper = under(manager, WATCHDOG_USEC="1000", WATCHDOG_PID="1")
    with served(tmp_path, wrapper=wrapper) as server:
        server.stop()
        manager.receive("STOPPING", but=("WATCHDOG",))


@pytest.fixture
async def db(postgres_backend: PostgresBackend) -> str:
    """Return the URL of an empty database."""
    await postgres_backend.clear()
    return postgres_backend.location


def test_workers_are_ready_and_alive_together(tmp_path: Path, db: str, manager: Manager) -> None:
    wrapper = under(manager, WATCHDOG_USEC="400000")
    with served(tmp_path, "--db", db, "--workers", "2", wrapper=wrapper) as server:
        assert "by 2 workers" in manager.receive("READY", but=("WATCHDOG",))["STATUS"]
        for _ in range(3):
            manager.receive("WATCHDOG")
        server.signal(signal.SIGHUP)
        manager.receive("RELOADING")
        manager.receive("READY")
        worker = children(server.pid)[1]
        os.kill(worker, signal.SIGSTOP)
        try:
            manager.wait_for_silence()
        finally:
            os.kill(worker, signal.SIGCONT)
        manager.receive("WATCHDOG")
        server.signal(signal.SIGTERM)
        manager.receive("STOPPING")
        assert server.wait() == 0


def test_a_manager_that_does_not_listen_stops_nobody(tmp_path: Path) -> None:
    wrapper = ("env", f"NOTIFY_SOCKET={tmp_path / 'nowhere'}", "WATCHDOG_USEC=x")
    with served(tmp_path, wrapper=wrapper) as server:
        assert server.stop() == 0
        assert "systemd could not be told" in server.log.read_text()


def activated(
    family: str, address: str, *, kind: str = "SOCK_STREAM", pid: int = 0
) -> tuple[str, ...]:
    return (sys.executable, "-c", ACTIVATE, family, address, kind, str(pid))


def test_a_socket_that_is_handed_over_is_served(tmp_path: Path) -> None:
    with served(tmp_path, wrapper=activated("AF_INET", "127.0.0.1")) as server:
        assert server.port != 8080
        with urlopen(f"{server.url}health/live") as answer:
            assert answer.status == 200


def test_a_unix_socket_that_is_handed_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    options = ("--unix", "elsewhere.sock")
    with served(tmp_path, *options, wrapper=activated("AF_UNIX", str(path))) as server:
        assert server.url == f"unix:{path}"
        assert get(path).status == 200
    assert path.exists()
    assert not (tmp_path / "elsewhere.sock").exists()


def test_a_socket_for_another_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, wrapper=activated("AF_UNIX", str(path), pid=1)) as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_what_is_no_socket_that_listens_is_refused(tmp_path: Path) -> None:
    command = [*activated("AF_INET", "127.0.0.1", kind="SOCK_DGRAM")]
    command += [sys.executable, "-m", "chunkstore", "serve"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert "File 3 of LISTEN_FDS is no socket that accepts connections." in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a copy of the units, for this machine."""
    for unit in DEPLOY.glob("chunkstore.*"):
        text = unit.read_text().replace("/usr/local/bin/chunkstore", sys.executable)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_the_units_are_valid_and_hardened(units: Path) -> None:
    analyze = require_program("systemd-analyze")
    names = [str(units / f"chunkstore.{kind}") for kind in ("service", "socket")]
    verified = subprocess.run(
        [analyze, "verify", *names], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    # Of 10.0, which is no protection at all; told in tenths.
    hardened = [analyze, "security", "--offline=true", "--threshold=20", names[0]]
    subprocess.run(hardened, check=True, capture_output=True)


def test_the_service_runs_what_there_is(tmp_path: Path) -> None:
    text = (DEPLOY / "chunkstore.service").read_text()
    assert "ExecStart=/usr/local/bin/chunkstore serve\n" in text
    assert run_command(tmp_path, "serve", "--help").returncode == 0
