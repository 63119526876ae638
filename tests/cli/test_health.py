"""`chunkstore health`: its exit status is that of the server it asks."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.process import ServerProcess, run_command, served
from tests.server.certificates import make_pair


def health(server: ServerProcess, *arguments: str, **environment: str) -> tuple[int, str, str]:
    result = run_command(server.folder, "health", *arguments, environment=environment)
    return result.returncode, result.stdout, result.stderr


def test_a_server_that_is_ready(tmp_path: Path) -> None:
    with served(tmp_path, "--base-path", "/store/") as server:
        ok = (0, "ok\n", "")
        assert health(server, server.url) == ok
        assert health(server, server.url.rstrip("/"), "--live") == ok
        assert health(server, "--port", str(server.port), "--base-path", "/store/") == ok
        # As in a container, where server and check have the same environment.
        variables = {"PORT": str(server.port), "BASE_PATH": "store", "HOST": "0.0.0.0"}
        named = {f"CHUNKSTORE_{name}": value for name, value in variables.items()}
        assert health(server, **named) == ok


def test_a_server_that_is_not(tmp_path: Path) -> None:
    with served(tmp_path, "--drain", "1h") as server:
        server.signal(signal.SIGTERM)
        server.wait_for_log("not ready any more")
        assert health(server, server.url) == (1, "", "chunkstore: 503 stopping.\n")
        assert health(server, server.url, "--live") == (0, "ok\n", "")
        assert health(server, f"{server.url}nowhere/")[0] == 1
        server.kill()
        status, _, told = health(server, server.url)
        assert (status, told) == (1, "chunkstore: no answer: Connection refused.\n")


def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with served(tmp_path, "--unix", str(path)) as server:
        assert health(server, "--unix", str(path))[0] == 0
        assert health(server, CHUNKSTORE_UNIX=str(path))[0] == 0
        assert health(server, "--unix", str(tmp_path / "b.sock"))[0] == 1


def test_over_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    with served(tmp_path, *pair.options) as server:
        own = ("--port", str(server.port))
        assert health(server, *own, "--tls-cert", str(pair.chain)) == (0, "ok\n", "")
        # In the environment is the whole of what the server has, its key too.
        assert health(server, *own, CHUNKSTORE_TLS_CERT="x", CHUNKSTORE_TLS_KEY="y")[0] == 0
        status, _, told = health(server, *own)
        wrong = "chunkstore: 400 Bad Request: This port speaks TLS; the URL begins with https://.\n"
        assert (status, told) == (1, wrong)
        # By a URL it is somebody's server, who has to show who it is.
        status, _, told = health(server, server.url)
        assert (status, "self-signed certificate" in told) == (1, True)
        assert health(server, server.url, SSL_CERT_FILE=str(pair.chain))[0] == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "files.example",
        "ftp://a",
        "http://",
        "http://a b/",
        "http://a:0",
        "http://a:x",
        "http://[::1",
    ],
)
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    result = run_command(tmp_path, "health", url)
    assert (result.returncode, result.stdout) == (2, "")
    assert "is not a URL like" in result.stderr


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n{"status": "ok"}',
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000,
        b'HTTP/1.1 503 No\r\n\r\n{"status": "\\u001b[31m\\n", "faults": [1, {}]}',
    ],
)
def test_another_server_is_not_healthy(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer_once, args=(listening, answer))
        answering.start()
        result = run_command(tmp_path, "health", f"http://127.0.0.1:{listening.getsockname()[1]}/")
        answering.join()
    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("chunkstore: ")
    assert "\x1b" not in line


def answer_once(listening: socket.socket, answer: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        try:
            connection.sendall(answer)
        except ConnectionError:
            return


def test_a_server_that_is_silent_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        result = run_command(tmp_path, "health", url, "--timeout", "0.2s")
    assert result.returncode == 1
    assert "timed out" in result.stderr
