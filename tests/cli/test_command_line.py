"""The program as its users run it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from blake3 import blake3

import chunkstore
from tests.process import COMMAND, ServerProcess, clean_environment, run_command, served

# Root may open everything, unless it gives that up.
_UNPRIVILEGED = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)


def put(server: ServerProcess, name: str, content: bytes) -> None:
    request = Request(f"{server.url}files/{name}", data=content, method="PUT")
    with urlopen(request) as response:
        assert response.status in (200, 201)


def get(server: ServerProcess, name: str) -> bytes:
    with urlopen(f"{server.url}files/{name}") as response:
        content: bytes = response.read()
        return content


def fails_with_one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("chunkstore: ")
    return line


def test_one_line_tells_where_the_server_listens(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert server.announcement.startswith("Serving chunkstore.db at http://127.0.0.1:")
        assert get(server, "")


def test_content_outlives_the_process(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"content")
        assert server.stop() == 0
    with served(tmp_path, port=server.port) as again:
        assert get(again, "a") == b"content"


def test_content_outlives_a_killed_process(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"content")
        server.kill()
    figures = json.loads(run_command(tmp_path, "stats", "--json").stdout)
    assert figures["files"] == 1
    with served(tmp_path) as again:
        assert get(again, "a") == b"content"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_end_then_closes_the_database(
    tmp_path: Path, number: signal.Signals
) -> None:
    content = os.urandom(1000)
    with served(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"PUT /files/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n")
        raw.sendall(b"Content-Length: 1000\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(content[:500])
        server.signal(number)
        # The log says so once no new connection is accepted.
        server.wait_for_log("Stopping")
        raw.sendall(content[500:])
        assert raw.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert server.wait() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chunkstore.db", "chunkstore.db-lock", "chunkstore.db-reserve", "server.log",
    ]  # fmt: skip
    with served(tmp_path) as again:
        assert get(again, "a") == content


def test_requests_that_do_not_end_are_cut_off(tmp_path: Path) -> None:
    with (
        served(tmp_path, "--shutdown-timeout", "0.1s") as server,
        socket.create_connection(("127.0.0.1", server.port)) as raw,
    ):
        raw.sendall(b"PUT /files/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        raw.sendall(b"not all of it")
        assert get(server, "") == b'{"files": [], "folders": [], "next": null}\n'
        assert server.stop() == 0
    with served(tmp_path) as again:
        assert get(again, "") == b'{"files": [], "folders": [], "next": null}\n'


def test_the_access_log_has_one_line_a_request(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a%20b", b"x")
        get(server, "a%20b")
        assert server.stop() == 0
    lines = [line for line in server.log.read_text().splitlines() if "/files/" in line]
    assert len(lines) == 2
    assert '"PUT /files/a%20b HTTP/1.1" 201' in lines[0]
    assert '"GET /files/a%20b HTTP/1.1" 200' in lines[1]


def test_what_is_no_request_is_answered_with_a_problem(tmp_path: Path) -> None:
    expected = {
        b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n": (501, "unknown-method"),
        b"GET / HTTP/1.1\r\nno header\r\n\r\n": (400, "malformed-request"),
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n": (431, "header-too-large"),
    }
    with served(tmp_path) as server:
        for request, (status, slug) in expected.items():
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                raw.sendall(request)
                head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
            assert int(head.split()[1]) == status
            assert b"Content-Type: application/problem+json" in head
            assert json.loads(body)["type"] == f"urn:chunkstore:problem:{slug}"


def test_connections_over_the_limit_are_refused(tmp_path: Path) -> None:
    with (
        served(tmp_path, "--max-connections", "1") as server,
        socket.create_connection(("127.0.0.1", server.port)) as only,
    ):
        only.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert only.recv(1000).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(HTTPError) as refused:
            get(server, "")
        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"]
        refused.value.close()
        only.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert only.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("option", "octets"),
    [
        ("--head-timeout", b"GET / HTTP/1.1\r\n"),
        (
            "--idle-timeout",
            b"PUT /files/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
        ),
    ],
)
def test_a_slow_request_is_ended(tmp_path: Path, option: str, octets: bytes) -> None:
    with (
        served(tmp_path, option, "200ms") as server,
        socket.create_connection(("127.0.0.1", server.port)) as raw,
    ):
        raw.sendall(octets)
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_download_that_is_not_taken_is_broken_off(tmp_path: Path) -> None:
    with served(tmp_path, "--idle-timeout", "5s") as server:
        put(server, "a", bytes(1 << 23))
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", server.port))
            raw.sendall(b"GET /files/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            server.wait_for_log("stopped reading its answer")


@pytest.mark.parametrize("access_log", ["--access-log", "--no-access-log"])
def test_a_broken_off_request_is_one_line_in_the_log(tmp_path: Path, access_log: str) -> None:
    tus = b"Tus-Resumable: 1.0.0\r\nUpload-Length: 9\r\nUpload-Metadata: filename YQ==\r\n"
    form = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 999\r\n\r\n"
    part = b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nx"
    requests = {
        "PUT /files/cut": b"Content-Length: 9\r\n\r\nx",
        "PUT /files/chunked": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "PUT /files/draft": b"Upload-Complete: ?1\r\nContent-Length: 9\r\n\r\nx",
        "POST /files/form/": form + part,
        "POST /uploads": tus + b"Content-Type: application/offset+octet-stream\r\n"
        b"Content-Length: 9\r\n\r\nx",
        "GET /files/large": b"\r\n",
    }
    with served(tmp_path, access_log, "--scrub-every", "0") as server:
        put(server, "large", bytes(1 << 24))
        for line, rest in requests.items():
            for linger in (0, 1):
                with socket.create_connection(("127.0.0.1", server.port)) as raw:
                    # Reset by the client, and closed in order.
                    reset = struct.pack("ii", linger, 0)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    raw.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\n".encode() + rest)
                    if line.startswith("GET"):
                        raw.recv(1000)
            server.wait_for_log(f"disconnected during {line}: ", times=2)
        assert server.stop() == 0
    lines = [
        line
        for line in server.log.read_text().splitlines()
        if '"PUT /files/large' not in line and "Stopping" not in line
    ]
    assert len(lines) == 2 * len(requests)
    assert all(" INFO " in line and "disconnected during" in line for line in lines)


def test_a_refusal_for_want_of_room_is_one_line_in_the_log(tmp_path: Path) -> None:
    with served(tmp_path, "--no-access-log", "--min-free", "1000PiB") as server:
        with pytest.raises(HTTPError) as refused:
            put(server, "a", b"x")
        assert refused.value.status == 507
        detail = json.load(refused.value)["detail"]
        assert "1000.0 PiB left that --min-free keeps free." in detail
        assert "A collection every 1h frees the space of deleted files, except what was" in detail
        assert "within the last 1h" in detail
        with urlopen(f"{server.url}health/ready") as response:
            told = json.load(response)
        assert (response.status, told["status"]) == (200, "full")
        assert "--min-free" in told["detail"]
        assert server.stop() == 0
    lines = [line for line in server.log.read_text().splitlines() if "Stopping" not in line]
    assert len(lines) == 1
    assert " WARNING PUT /files/a: StoreFull" in lines[0]


def test_settings_come_from_the_environment_too(tmp_path: Path) -> None:
    result = run_command(tmp_path, "stats", environment={"CHUNKSTORE_DB": "other.db"})
    assert "other.db" in fails_with_one_line(result)
    result = run_command(
        tmp_path, "serve", "--chunk-size", "4KiB", environment={"CHUNKSTORE_PORT": "none"}
    )
    assert result.returncode == 2
    assert "CHUNKSTORE_PORT" in result.stderr
    # By the option's own name, whatever the setting is called inside.
    result = run_command(tmp_path, "serve", environment={"CHUNKSTORE_IDLE_TIMEOUT": "5"})
    assert result.returncode == 2
    assert "CHUNKSTORE_IDLE_TIMEOUT: '5' is not a duration like 30s" in result.stderr


def test_stats(tmp_path: Path) -> None:
    with served(tmp_path, "--chunk-size", "4KiB", "--compression", "none") as server:
        put(server, "a", b"x" * 8192)
        put(server, "b", b"x" * 8192)
        shown = run_command(tmp_path, "stats").stdout
        figures = json.loads(run_command(tmp_path, "stats", "--json").stdout)
        with urlopen(f"{server.url}stats") as response:
            # A checkpoint may come between the two.
            assert {**json.load(response), "database_size": 0} == {**figures, "database_size": 0}
    assert "ratio          4.000" in shown
    assert (figures["files"], figures["contents"], figures["chunks"]) == (2, 1, 1)
    assert (figures["logical_size"], figures["unique_size"]) == (16384, 4096)
    assert figures["deduplication"] == 4
    assert figures["versions"]["chunkstore"] == chunkstore.__version__


def test_collect(tmp_path: Path) -> None:
    assert "no such file" in fails_with_one_line(run_command(tmp_path, "collect"))
    with served(tmp_path, "--compression", "none") as server:
        put(server, "a", b"x" * 300_000)
        put(server, "a", b"y")
        shown = run_command(tmp_path, "collect", "--dry-run", "--grace", "0s").stdout
        assert shown == "Would remove 1 content, 2 chunks, 293.0 KiB.\n"
        # The server does it.
        shown = run_command(tmp_path, "collect", "--grace", "0s").stdout
        assert shown == "Removed 1 content, 2 chunks, 293.0 KiB.\n"
        put(server, "a", b"x" * 300_000)
        put(server, "a", b"y")
        (tmp_path / "chunkstore.db-control").unlink()
        line = fails_with_one_line(run_command(tmp_path, "collect", "--grace", "0s"))
        assert "Another process" in line
        assert "A server collects by itself" in line
    shown = run_command(tmp_path, "collect").stdout
    assert shown == "Removed 0 contents, 0 chunks, 0 bytes.\n"
    shown = run_command(tmp_path, "collect", "--grace", "0s").stdout
    assert shown == "Removed 1 content, 2 chunks, 293.0 KiB.\n"
    figures = json.loads(run_command(tmp_path, "stats", "--json").stdout)
    assert (figures["files"], figures["chunks"], figures["stored_size"]) == (1, 1, 1)


def test_a_server_collects_in_the_background(tmp_path: Path) -> None:
    with served(tmp_path, "--collect-every", "50ms", "--grace", "0s") as server:
        put(server, "a", b"x" * 300_000)
        put(server, "a", b"y")
        server.wait_for_log("Collected")
        assert get(server, "a") == b"y"


def test_a_collection_that_fails_is_told_of_and_goes_on(tmp_path: Path) -> None:
    def planted(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute(statement)

    def ended(server: ServerProcess) -> str:
        with urlopen(f"{server.url}health/ready") as response:
            return str(json.load(response)["tasks"]["collect"]["ended"])

    with served(tmp_path, "--collect-every", "50ms", "--grace", "0s") as server:
        planted("CREATE TRIGGER keep BEFORE DELETE ON chunk BEGIN SELECT raise(ABORT, 'no'); END")
        put(server, "a", b"x")
        put(server, "a", b"y")
        server.wait_for_log("no")
        assert ended(server).startswith("failed: ")
        planted("DROP TRIGGER keep")
        server.wait_for_log("Collected")
        server.wait_for_log("The task collect succeeds again.")
        assert ended(server) == "ok"
    assert "Traceback" not in server.log.read_text()
    assert server.log.read_text().count("The task collect failed") == 1


def test_scrub(tmp_path: Path) -> None:
    with served(tmp_path, "--scrub-every", "0") as server:
        put(server, "a", b"x" * 300_000)
        shown = run_command(tmp_path, "scrub")
        assert (shown.returncode, shown.stderr.count("\n")) == (0, 1)
        assert "all whole" in shown.stdout
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        db.execute("UPDATE chunk_data SET bytes = X'00' WHERE id = 1")
    shown = run_command(tmp_path, "scrub")
    assert (shown.returncode, shown.stderr) == (1, "")
    digest = blake3(b"x" * 262_144).hexdigest()
    assert f"chunk {digest} is damaged; it is part of 'a'\n" in shown.stdout
    assert shown.stdout.endswith("1 damaged.\n")
    assert "1 damaged" in run_command(tmp_path, "stats").stdout
    with served(tmp_path) as server:
        put(server, "a", b"x" * 300_000)
    assert run_command(tmp_path, "scrub").returncode == 0


def test_a_server_scrubs_in_the_background(tmp_path: Path) -> None:
    with served(tmp_path, "--scrub-every", "50ms") as server:
        put(server, "a", b"x" * 300_000)
        server.wait_for_log("Scrubbed: 2 chunks")
        with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("UPDATE chunk_data SET bytes = X'00' WHERE id = 1")
        server.wait_for_log("is damaged; it is part of 'a'")
        server.wait_for_log("1 damaged")


def test_a_port_in_use(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        result = run_command(tmp_path, "serve", "--db", "b.db", "--port", str(server.port))
        assert "in use" in fails_with_one_line(result)
        assert not list(tmp_path.glob("b.db*"))


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    fails_with_one_line(run_command(tmp_path, "serve", "--host", "192.0.2.1", "--port", "0"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_created_leaves_nothing_behind(tmp_path: Path) -> None:
    script = 'ulimit -f 4; exec "$@"'
    command = [*COMMAND, "serve", "--port", "0"]
    result = subprocess.run(
        ["bash", "-c", script, "bash", *command],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    fails_with_one_line(result)
    # The lock's file stays: to remove it while another process waits for it would be two locks.
    assert [path.name for path in tmp_path.iterdir()] == ["chunkstore.db-lock"]


def test_a_store_that_another_process_serves(tmp_path: Path) -> None:
    with served(tmp_path):
        line = fails_with_one_line(run_command(tmp_path, "serve", "--port", "0"))
        assert "chunkstore.db: Another process" in line


def test_a_database_that_is_not_ours(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db:
        db.execute("CREATE TABLE theirs (a)")
    for command in (("serve", "--port", "0"), ("stats",)):
        assert "another program" in fails_with_one_line(run_command(tmp_path, *command))
    (tmp_path / "text.db").write_text("text, no database" * 100)
    (tmp_path / "folder").mkdir()
    for command in (("serve", "--port", "0"), ("stats",)):
        for name in ("text.db", "folder"):
            fails_with_one_line(run_command(tmp_path, *command, "--db", name))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chunkstore.db", "folder", "text.db",
    ]  # fmt: skip


def test_a_newer_schema(tmp_path: Path) -> None:
    with served(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db:
        db.execute("PRAGMA user_version = 1000")
    for command in (("serve", "--port", "0"), ("stats",)):
        assert "newer chunkstore" in fails_with_one_line(run_command(tmp_path, *command))


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    for place in ("none/chunkstore.db", "/proc/chunkstore.db"):
        result = run_command(tmp_path, "serve", "--port", "0", "--db", place)
        assert " folder" in fails_with_one_line(result)
    fails_with_one_line(run_command(tmp_path, "stats"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", ["chunkstore.db", "chunkstore.db-lock", "."])
@pytest.mark.parametrize(
    "command",
    [("serve", "--port", "0"), ("stats",), ("scrub",), ("backup", "b.db"), ("restore", "s.db")],
)
def test_what_this_user_may_not_use_is_told_so(
    tmp_path: Path, refused: str, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert run_command(tmp_path, "init", "--db", "s.db").returncode == 0
    assert run_command(folder, "init").returncode == 0
    if refused.endswith("-lock") and command[0] in ("stats", "backup"):
        pytest.skip("reading takes no lock")
    place = folder / refused
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        result = subprocess.run(
            [*_UNPRIVILEGED, *COMMAND, *command, "--db", "folder/chunkstore.db"],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        place.chmod(mode)
    line = fails_with_one_line(result)
    assert "cannot open folder/chunkstore.db: " in line
    assert "Permission denied" in line


def test_the_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("chunkstore")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"chunkstore, version {chunkstore.__version__}"


def test_a_line_of_the_access_log_cannot_be_forged(tmp_path: Path) -> None:
    target = b'/files/a"b\\c'
    agent = b'a" 200 9 "\\ \xc2\x9b31m \xff \xe2\x80\xa8 \xf0\x9f\x98\x80'
    with served(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as raw:
        head = [b"GET %b HTTP/1.1" % target, b"Host: localhost", b"Connection: close"]
        raw.sendall(b"\r\n".join([*head, b"User-Agent: %b" % agent, b"", b""]))
        assert raw.makefile("rb").readline().startswith(b"HTTP/1.1 404")
        server.wait_for_log("31m")
        [line] = [line for line in server.log.read_bytes().splitlines() if b"31m" in line]
    assert line.isascii()
    assert b'"GET /files/a\\"b\\\\c HTTP/1.1" 404 ' in line
    rest, _, request_id = line.rpartition(b" ")
    assert len(request_id) == 16
    assert rest.endswith(b'"a\\" 200 9 \\"\\\\ \\x9b31m \\udcff \\u2028 \\U0001f600"')
