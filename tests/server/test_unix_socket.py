"""Listening on a Unix socket: who may connect, and what lies in its place."""

from __future__ import annotations

import http.client
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.backends import PostgresBackend
from tests.process import run_command, served
from tests.server.test_servers_on_postgres import children


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a path."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def get(path: Path, target: str = "/health/live", **headers: str) -> http.client.HTTPResponse:
    connection = UnixConnection(path)
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_requests_are_answered_and_the_path_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, "--unix", str(path)) as server:
        assert server.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert get(path).status == 200
        assert get(path, "/files/", Host="evil.example").status == 421
        assert server.stop() == 0
        assert 'unix "GET /health/live HTTP/1.1" 200' in server.log.read_text()
    assert not path.exists()


def test_who_connects_to_it_is_trusted_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    told = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "evil.example"}
    with served(tmp_path, "--unix", str(path), "--trusted-proxy", "unix") as server:
        assert get(path, **told).status == 421
        server.wait_for_log('198.51.100.7 "GET')
    with served(tmp_path, "--unix", str(path), "--trusted-proxy", "127.0.0.1"):
        assert get(path, **told).status == 200


def test_the_mode_is_as_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, "--unix", str(path), "--unix-mode", "0606"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o606


def test_what_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, "--unix", str(path)) as server:
        server.kill()
    assert path.is_socket()
    with served(tmp_path, "--unix", str(path)):
        assert get(path).status == 200


def test_another_server_and_other_files_are_left_alone(tmp_path: Path) -> None:
    path, file = tmp_path / "a.sock", tmp_path / "file"
    file.write_text("kept")
    (tmp_path / "link").symlink_to(file)
    with served(tmp_path, "--unix", str(path)):
        for there, says in (
            (path, "Another server listens on"),
            (file, "is no socket"),
            (tmp_path / "link", "is no socket"),
            (tmp_path / ("x" * 120), "path too long"),
            (tmp_path / "nowhere" / "a.sock", "No such file or directory"),
        ):
            result = run_command(tmp_path, "serve", "--db", "other.db", "--unix", str(there))
            assert (result.returncode, result.stdout) == (1, "")
            [line] = result.stderr.splitlines()
            assert says in line
        assert get(path).status == 200
    assert file.read_text() == "kept"
    assert not (tmp_path / "other.db").exists()


def test_a_successor_keeps_the_path_that_it_took_over(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    (tmp_path / "new").mkdir()
    with served(tmp_path, "--unix", str(path)) as old:
        path.unlink()
        with served(tmp_path / "new", "--unix", str(path)):
            assert old.stop() == 0
            assert get(path).status == 200
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    result = run_command(tmp_path, "serve", "--unix", str(folder / "a.sock"))
    assert "Permission denied" in result.stderr


@pytest.fixture
async def db(postgres_backend: PostgresBackend) -> str:
    """Return the URL of an empty database."""
    await postgres_backend.clear()
    return postgres_backend.location


def test_workers_share_it(tmp_path: Path, db: str) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, "--db", db, "--workers", "2", "--unix", str(path)) as server:
        assert len(children(server.pid)) == 2
        assert {get(path).status for _ in range(20)} == {200}
        assert server.stop() == 0
    assert not path.exists()
