"""A store without accounts is served beyond this machine only if the operator says so."""

from __future__ import annotations

import json
import subprocess
import sys
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.backends import PostgresBackend
from tests.cli.test_access import PASSWORD, run
from tests.cli.test_command_line import fails_with_one_line
from tests.process import ServerProcess, clean_environment, run_command, served
from tests.server.test_systemd import activated
from tests.server.test_unix_socket import get

SERVE = (sys.executable, "-m", "chunkstore", "serve", "--port", "0")
EVERYWHERE = ("--host", "0.0.0.0")


def status(server: ServerProcess, method: str = "GET", path: str = "/files/") -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def add_admin(folder: Path, *db: str) -> None:
    made = run(folder, "user", "add", "anna", "--admin", *db, text=PASSWORD)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(
    "command",
    [
        (*SERVE, *EVERYWHERE),
        (*SERVE, "--host", "::"),
        ("env", "CHUNKSTORE_HOST=0.0.0.0", *SERVE),
        (*activated("AF_INET", "0.0.0.0"), *SERVE),
    ],
    ids=["IPv4", "IPv6", "the environment", "systemd"],
)
def test_an_open_store_is_not_served_beyond_this_machine(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    line = fails_with_one_line(result)
    assert "`chunkstore user add NAME --admin`" in line
    assert "--open" in line


def test_with_open_it_is_and_the_log_says_what_that_means(tmp_path: Path) -> None:
    with served(tmp_path, *EVERYWHERE, "--open") as server:
        assert status(server) == HTTPStatus.OK
        assert "can read, replace and delete every file" in server.log.read_text()
    with served(tmp_path, wrapper=("env", "CHUNKSTORE_OPEN=yes", "CHUNKSTORE_HOST=0.0.0.0")):
        pass


def test_on_this_machine_it_is(tmp_path: Path) -> None:
    with served(tmp_path, "--unix", "a.sock"):
        assert get(tmp_path / "a.sock").status == HTTPStatus.OK
    with served(tmp_path, "--host", "localhost") as server:
        assert status(server) == HTTPStatus.OK
        assert "every file" not in server.log.read_text()


def test_a_store_with_an_account_is_served_everywhere_and_not_opened_meanwhile(
    tmp_path: Path,
) -> None:
    add_admin(tmp_path)
    with served(tmp_path, *EVERYWHERE) as server:
        assert status(server) == HTTPStatus.UNAUTHORIZED
        refused = run(tmp_path, "user", "remove", "anna", "--open-store")
        assert "unless it was started with --open" in fails_with_one_line(refused)
        assert [one["name"] for one in accounts(tmp_path)] == ["anna"]
    with served(tmp_path, *EVERYWHERE, "--open") as server:
        assert status(server) == HTTPStatus.UNAUTHORIZED
        assert run(tmp_path, "user", "remove", "anna", "--open-store").returncode == 0
        assert status(server) == HTTPStatus.OK


def accounts(folder: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run(folder, "user", "ls", "--json").stdout)
    return found


def test_the_first_account_is_added_once(tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        done = run(tmp_path, "user", "add", name, "--admin", "--first", text=PASSWORD)
        assert (done.returncode, done.stderr) == (0, "")
    assert [one["name"] for one in accounts(tmp_path)] == ["anna"]


async def test_opened_by_another_process_it_stays_closed_beyond_this_machine(
    tmp_path: Path, postgres_backend: PostgresBackend
) -> None:
    await postgres_backend.clear()
    db = ("--db", postgres_backend.location)
    refused = run_command(tmp_path, "serve", *db, *EVERYWHERE, "--port", "0", "--workers", "2")
    assert "--open" in fails_with_one_line(refused)
    add_admin(tmp_path, *db)
    with served(tmp_path, *db, *EVERYWHERE) as server:
        assert status(server) == HTTPStatus.UNAUTHORIZED
        assert run(tmp_path, "user", "remove", "anna", "--open-store", *db).returncode == 0
        while "nobody is let in" not in server.log.read_text():
            assert status(server) == HTTPStatus.UNAUTHORIZED
        assert status(server) == HTTPStatus.UNAUTHORIZED
        assert status(server, "PUT", "/files/a") == HTTPStatus.UNAUTHORIZED
