"""Stores and addresses that cannot be used: each is one line that says which, and why."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_command_line import fails_with_one_line
from tests.cli.test_options import refusal
from tests.process import COMMAND, clean_environment, run_command


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "command",
    [
        ("stats", "--db"),
        ("import", ".", "--db"),
        ("copy", "chunkstore.db"),
        ("serve", "--port", "0", "--db"),
        ("serve", "--port", "0", "--workers", "2", "--db"),
    ],
)
def test_a_database_server_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    url = f"postgresql://user:secret@127.0.0.1:{free_port()}/db"
    line = fails_with_one_line(run_command(tmp_path, *command, url))
    assert f"cannot open {url.replace(':secret', '')}: " in line
    assert "cannot be reached" in line


@pytest.mark.parametrize("url", ["postgresql://u:secret@[bad/db", "postgresql://u:secret@[::1/db"])
def test_a_url_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    line = refusal(run_command(tmp_path, "stats", "--db", url))
    assert "--db" in line
    assert "secret" not in line


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    line = fails_with_one_line(run_command(tmp_path, "stats", "--db", "x" * 300))
    assert "File name too long" in line
    assert "Errno" not in line
    line = fails_with_one_line(run_command(tmp_path, "stats", "--db", "a\nb"))
    assert "cannot open a b: There is no such file." in line


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--host", "192.0.2.1"), "Choose a --host that is an address of this machine."),
        (("--host", "no.such.host.invalid"), "is not possible"),
    ],
)
def test_an_address_that_cannot_be_listened_on(
    tmp_path: Path, options: tuple[str, ...], advice: str
) -> None:
    line = fails_with_one_line(run_command(tmp_path, "serve", "--port", "0", *options))
    assert advice in line
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_for_the_system(tmp_path: Path) -> None:
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not limit.exists() or int(limit.read_text()) <= 1:
        pytest.skip("every port is for everybody here")
    rights = ["setpriv", "--bounding-set=-net_bind_service"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*rights, *COMMAND, "serve", "--port", "1"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Choose a --port from 1024 on." in fails_with_one_line(result)
