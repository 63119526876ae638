"""https: what a server over TLS is for clients that are right, slow, wrong or many."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.client_limits import Limits
from chunkstore.http import create_app
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.http.runtime.tls import TlsListener
from chunkstore.store.contract.store import Store
from tests.backends import PostgresBackend
from tests.clients.test_nginx import call
from tests.conftest import RandomBytes
from tests.http import raw
from tests.http.steps import wait_until
from tests.process import ServerProcess, run_command, served
from tests.programs import do_without
from tests.server.certificates import Pair, certificate_of, make_pair, shake_hands
from tests.server.test_servers_on_postgres import children

LARGE: Final = 8_000_000
SOON: Final = 0.4
POLL_SECONDS: Final = 0.05
GET: Final = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[ServerProcess]:
    """Return a server for tests that leave its certificate alone."""
    with served(tmp_path_factory.mktemp("tls"), *pair.options) as server:
        yield server


def answer_of(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as answer:
        return answer.read()


# As it should be.


def test_files_go_in_and_come_out(
    server: ServerProcess, pair: Pair, random_bytes: RandomBytes
) -> None:
    content = random_bytes(LARGE)
    connection = http.client.HTTPSConnection(
        "localhost", server.port, context=pair.client_context()
    )
    connection.request("PUT", "/files/large", content)
    assert connection.getresponse().read()
    connection.request("GET", "/files/large")
    assert connection.getresponse().read() == content
    upload = {"Upload-Length": "1", "Upload-Metadata": "filename YQ=="}
    connection.request("POST", "/uploads", headers={"Tus-Resumable": "1.0.0", **upload})
    answer = connection.getresponse()
    # A path, which is of https where the request was.
    assert answer.headers["Location"].startswith("/uploads/")
    connection.close()
    assert server.url.startswith("https://")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_from_1_2_on_is_spoken(
    server: ServerProcess, pair: Pair, version: ssl.TLSVersion
) -> None:
    context = pair.client_context()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with shake_hands(server.port, context) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert connection.selected_alpn_protocol() == "http/1.1"
        connection.sendall(GET)
        assert answer_of(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_older_tls_is_refused(server: ServerProcess, pair: Pair) -> None:
    context = pair.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake_hands(server.port, context)


def test_tls_over_ipv6(tmp_path: Path, pair: Pair) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        do_without("IPv6")
    with served(tmp_path, "--host", "::1", *pair.options) as server:
        assert server.url == f"https://[::1]:{server.port}/"
        with shake_hands(server.port, pair.client_context(), "::1") as connection:
            connection.sendall(GET)
            assert b"200 OK" in answer_of(connection)


# As it should not be.


def test_http_to_the_port_of_https_is_told_so(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(GET)
        head, _, body = answer_of(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    document = json.loads(body)
    assert document["type"] == "urn:chunkstore:problem:tls-required"
    assert "https://" in document["detail"]


def test_what_is_no_tls_ends_and_is_one_line_in_the_log(server: ServerProcess, pair: Pair) -> None:
    for octets in (b"\0", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\x80\x2e\x01" * 30):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            while True:
                try:
                    if not connection.recv(1024):
                        break
                except ConnectionError:
                    break
    with shake_hands(server.port, pair.client_context()) as good:
        good.sendall(GET)
        assert b"200 OK" in answer_of(good)
    log = server.log.read_text()
    assert log.count("A TLS handshake with 127.0.0.1 failed") == 1
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "options",
    [
        ("--tls-cert", "a.crt"),
        ("--tls-key", "a.key"),
        ("--tls-cert", "a.crt", "--tls-key", "a.key", "--unix", "a.sock"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = run_command(tmp_path, "serve", *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--tls-cert" in result.stderr


# Slow ones, and many.


class Tls:
    """A server of this process over TLS, and the port that it has."""

    host: Final = "127.0.0.1"

    def __init__(self, port: int, runner: ProblemRunner) -> None:
        self.port = port
        self.runner = runner


@asynccontextmanager
async def listening(store: Store, pair: Pair, limits: Limits) -> AsyncIterator[Tls]:
    runner = ProblemRunner(create_app(store, limits=limits), auto_decompress=False)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.chain, pair.key)
    bound = socket.create_server(("127.0.0.1", 0))
    listener = TlsListener(runner.connections, bound, lambda: context)
    listener.start(128)
    try:
        yield Tls(bound.getsockname()[1], runner)
    finally:
        await listener.stop()
        await runner.cleanup()


@pytest.mark.parametrize("octets", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_does_not_end_is_ended(
    store: Store, pair: Pair, octets: bytes
) -> None:
    async with (
        listening(store, pair, Limits(head_seconds=SOON)) as server,
        raw.connect(server) as slow,
    ):
        await slow.send(octets)
        assert await slow.receive_rest() == b""


async def test_handshakes_count_as_connections(
    store: Store, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    context = pair.client_context()
    async with listening(store, pair, Limits(head_seconds=SOON, max_connections=2)) as server:
        silent = [await asyncio.open_connection(server.host, server.port) for _ in range(200)]
        # All of them are closed, the most at once, which is one line.
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.transport.abort()
        assert "was refused: all 2 that --max-connections allows are in use" in caplog.text
        assert caplog.text.count("A TLS handshake") == 1
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
        writer.write(GET)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.transport.abort()


async def test_a_connection_too_many_is_told_so_over_tls(store: Store, pair: Pair) -> None:
    context = pair.client_context()
    async with listening(store, pair, Limits(max_connections=1)) as server:
        _, first = await asyncio.open_connection(server.host, server.port, ssl=context)
        first.write(GET.replace(b"close", b"keep-alive"))
        reader, second = await asyncio.open_connection(server.host, server.port, ssl=context)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        for writer in (first, second):
            writer.transport.abort()


async def test_a_reader_that_stops_is_cut_off(
    store: Store, pair: Pair, random_bytes: RandomBytes
) -> None:
    async with listening(store, pair, Limits(idle_seconds=SOON, min_rate=0)) as server:
        context = pair.client_context()
        url = f"https://localhost:{server.port}/files/large"
        await asyncio.to_thread(put, server.port, context, random_bytes(LARGE))
        reader, writer = await asyncio.open_connection(
            server.host, server.port, ssl=context, limit=1024
        )
        writer.write(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")

        async def is_cut_off() -> bool:
            return not server.runner.connections.connections

        await wait_until(is_cut_off)
        writer.transport.abort()


def put(port: int, context: ssl.SSLContext, content: bytes) -> None:
    connection = http.client.HTTPSConnection("localhost", port, context=context)
    connection.request("PUT", "/files/large", content, {"Connection": "close"})
    assert connection.getresponse().status == 201
    connection.close()


# Renewal.


@pytest.fixture
def renewed(tmp_path: Path) -> tuple[Pair, Pair]:
    """Return the pair that a server uses, and its successor."""
    return make_pair(tmp_path, "live"), make_pair(tmp_path, "next")


def wait_for_certificate(port: int, der: bytes) -> None:
    while certificate_of(port) != der:
        time.sleep(POLL_SECONDS)


def test_a_new_pair_is_shown_after_sighup_and_a_wrong_one_never(
    tmp_path: Path, renewed: tuple[Pair, Pair]
) -> None:
    live, new = renewed
    old = live.der
    with served(tmp_path, *live.options) as server, ExitStack() as ends:
        open_before = ends.enter_context(shake_hands(server.port, live.client_context()))
        live.chain.write_bytes(new.chain.read_bytes())
        server.signal(signal.SIGHUP)
        server.wait_for_log("stays in use")
        assert certificate_of(server.port) == old
        live.key.write_bytes(new.key.read_bytes())
        for _ in range(50):
            server.signal(signal.SIGHUP)
        wait_for_certificate(server.port, new.der)
        # A connection that was there goes on.
        open_before.sendall(GET)
        assert b"200 OK" in answer_of(open_before)
        live.key.unlink()
        server.signal(signal.SIGHUP)
        server.wait_for_log("stays in use", times=2)
        assert certificate_of(server.port) == new.der
    assert "Traceback" not in server.log.read_text()


def test_files_that_change_are_shown_without_a_signal(
    tmp_path: Path, renewed: tuple[Pair, Pair]
) -> None:
    live, new = renewed
    with served(tmp_path, *live.options) as server:
        new.copy_over(live)
        wait_for_certificate(server.port, new.der)


@pytest.fixture
async def db(postgres_backend: PostgresBackend) -> str:
    """Return the URL of an empty database."""
    await postgres_backend.clear()
    return postgres_backend.location


def test_every_worker_shows_the_new_pair(
    tmp_path: Path, db: str, renewed: tuple[Pair, Pair]
) -> None:
    live, new = renewed
    options = ("--db", db, "--workers", "2", *live.options)
    with served(tmp_path, *options) as server:
        new.copy_over(live)
        server.signal(signal.SIGHUP)
        server.wait_for_log("was loaded again", times=2)
        assert {certificate_of(server.port) for _ in range(20)} == {new.der}
        # One that takes the place of another has it, too.
        workers = children(server.pid)
        subprocess.run(["kill", "-KILL", str(workers[0])], check=True)
        server.wait_for_log("another takes its place")
        assert {certificate_of(server.port) for _ in range(20)} == {new.der}
        assert server.stop() == 0


def test_without_tls_sighup_ends_the_server_as_ever(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        assert call("GET", f"{server.url}health/live").status == 200
        server.signal(signal.SIGHUP)
        assert server.wait() == -signal.SIGHUP
