"""The configuration of nginx that docs/operations.md shows, made to run in a folder of tests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.documents.blocks import file_block
from tests.programs import require_program

CONFIGURATION: Final = "/etc/nginx/conf.d/chunkstore.conf"
USER, PASSWORD = "alice", "secret"
HOST: Final = "files.example.org"
_REST: Final = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {servers}
}}
"""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, servers: str, port: int) -> Iterator[None]:
    """Run nginx with these `server` and `upstream` blocks until `port` answers, and on."""
    program = require_program("nginx")
    # Else its workers are of a user who may not enter a folder of tests.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_REST.format(user=user, servers=servers))
    command = [program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    process = subprocess.Popen(command)
    try:
        _wait_for_port(process, port)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("nginx ended")


def shared_settings() -> str:
    """Return what the documents set for all that nginx passes on, wherever it listens."""
    lines = file_block(CONFIGURATION).partition("    location ")[0].splitlines()
    own = re.compile(r"\s*(#|server \{|listen|server_name|ssl_)")
    return "\n".join(line for line in lines if not own.match(line))


@contextmanager
def nginx_before(folder: Path, server_port: int, servers: str = "") -> Iterator[Mapping[str, str]]:
    """Run nginx as the documents configure it, or with other `servers` of theirs, on free ports.

    Yields what commands have to say in the place of what they say there.
    """
    home = folder / "nginx"
    home.mkdir()
    tls, plain = free_port(), free_port()
    _make_certificate(home)
    users = _run("openssl", "passwd", "-apr1", PASSWORD)
    (home / "chunkstore.users").write_text(f"{USER}:{users}")
    servers = servers or file_block(CONFIGURATION)
    for said, meant in {
        "listen 443 ssl": f"listen 127.0.0.1:{tls} ssl",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "127.0.0.1:8080": f"127.0.0.1:{server_port}",
        f"/etc/letsencrypt/live/{HOST}": str(home),
        "/etc/nginx": str(home),
    }.items():
        assert said in servers
        servers = servers.replace(said, meant)
    with nginx(home, servers, tls):
        yield {
            "-u alice": f"-u {USER}:{PASSWORD}",
            f"https://{HOST}": f"--cacert {home}/fullchain.pem --resolve {HOST}:{tls}:127.0.0.1"
            f" https://{HOST}:{tls}",
        }


def _make_certificate(folder: Path) -> None:
    _run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
        "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem"),
    )  # fmt: skip


def _run(*command: str) -> str:
    require_program(command[0])
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
