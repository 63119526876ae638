"""Requests against a server that misbehaves: retries, credentials, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chunkstore.client.bandwidth import Bandwidth, TokenBucket
from chunkstore.client.errors import (
    ChunksMissing,
    ClientError,
    ConditionFailed,
    InvalidPlace,
    Mismatch,
    Missing,
    NotTrusted,
    Refused,
    ServerAway,
    Stopped,
)
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.chunks import resolve
from chunkstore.client.server.files import FormFile
from chunkstore.client.server.server import Server
from chunkstore.client.settings import Settings
from chunkstore.core.digest import Digest
from tests.process import served
from tests.server.certificates import make_pair

Script = Callable[[BaseHTTPRequestHandler, int], None]
DIGEST = Digest.of(b"")


class Scripted:
    """A server that answers its requests, counted from 0, as a script says."""

    def __init__(self, script: Script) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with lock:
                    number = len(outer.requests)
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    outer.requests.append((self.command, self.path, headers, body))
                script(self, number)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_MOVE = _answer

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    found = Scripted(script)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if status != 204:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def break_off(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int) -> None:
    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number < 2:
            answer(handler, status, Retry_After="0")
        else:
            answer(handler, 201, ETag=f'"{DIGEST}"')

    with scripted(script) as server, Server(server.url, Settings()) as client:
        assert client.files.put("a", b"body", 4).digest == DIGEST
    assert [request[3] for request in server.requests] == [b"body"] * 3


def test_a_lost_connection_is_tried_again() -> None:
    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        break_off(handler) if number < 1 else answer(handler, 201)

    with scripted(script) as server, Server(server.url, Settings()) as client:
        client.files.put("a", b"body", 4)
    assert [request[3] for request in server.requests] == [b"body"] * 2


def test_after_some_times_the_server_is_away() -> None:
    assert Settings().retries == 5

    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(handler, 503, Retry_After="0")

    with scripted(script) as server, Server(server.url, Settings(retries=1)) as client:
        with pytest.raises(ServerAway):
            client.files.find("a")
        assert len(server.requests) == 2


def test_nobody_there() -> None:
    with (
        Server("http://127.0.0.1:1/", Settings(retries=0)) as client,
        pytest.raises(ServerAway, match=r"http://127\.0\.0\.1:1 cannot be reached: .*refused"),
    ):
        client.files.find("a")


def test_that_nobody_is_there_is_told_soon() -> None:
    told: list[str] = []
    with Server("http://127.0.0.1:1/", Settings(retries=100)) as client:
        client.transport.warn = told.append
        for _ in range(2):
            with pytest.raises(ServerAway):
                client.files.find("a")
    assert told == ["http://127.0.0.1:1 cannot be reached: Connection refused. Trying again."]


def test_a_certificate_that_nobody_trusts_is_told_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        served(tmp_path, *make_pair(tmp_path).options) as server,
        Server(server.url, Settings()) as client,
    ):
        client.transport.warn = told.append
        with pytest.raises(NotTrusted, match=r"verify failed.*SSL_CERT_FILE") as raised:
            client.files.find("a")
        # What speaks no TLS proves as little.
        plain = scripted(lambda handler, _: answer(handler, 200))
        with (
            plain as other,
            Server(other.url.replace("http:", "https:"), Settings()) as client,
            pytest.raises(NotTrusted),
        ):
            client.files.find("a")
    assert raised.value.exit_status == 8
    assert told == []


@pytest.mark.parametrize(
    ("status", "problem", "error"),
    [
        (404, "not-found", Missing),
        (410, "upload-expired", Missing),
        (412, "precondition-failed", ConditionFailed),
        (400, "content-mismatch", Mismatch),
        (400, "digest-mismatch", Mismatch),
        (409, "name-conflict", Refused),
        (409, "chunks-missing", ChunksMissing),
        (507, "store-full", Refused),
        (500, "internal-error", Refused),
    ],
)
def test_errors_say_what_the_server_says(
    status: int, problem: str, error: type[ClientError]
) -> None:
    document = (
        f'{{"type": "urn:chunkstore:problem:{problem}", "detail": "So it is.",'
        f' "missing": 1, "first": ["{DIGEST}"]}}'
    )

    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(handler, status, document.encode(), Content_Type="application/problem+json")

    with scripted(script) as server, Server(server.url, Settings(retries=0)) as client:
        with pytest.raises(error, match=r"^So it is\.$") as raised:
            client.files.put("a", b"", 0)
        if isinstance(raised.value, Refused):
            assert (raised.value.status, raised.value.problem) == (status, problem)
        if isinstance(raised.value, ChunksMissing):
            assert raised.value.first == [DIGEST]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"detail": 1}', b"{" * 100_000])
def test_errors_without_a_document_have_words_too(body: bytes) -> None:
    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(handler, 418, body, Content_Type="application/json")

    with (
        scripted(script) as server,
        Server(server.url, Settings()) as client,
        pytest.raises(Refused, match="418"),
    ):
        client.files.put("a", b"", 0)


def authorization(url: str, settings: Settings, server: Scripted) -> str | None:
    with Server(url, settings) as client:
        client.files.find("a")
    return server.requests[-1][2].get("authorization")


def test_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret\n")
    netrc.chmod(0o600)
    with scripted(lambda handler, _: answer(handler, 404)) as server:
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        assert authorization(server.url, Settings(), server) is None
        monkeypatch.setenv("NETRC", str(netrc))
        assert authorization(server.url, Settings(), server) == "Basic YWxpY2U6c2VjcmV0"
        with_token = Settings(token="t")
        assert authorization(server.url, with_token, server) == "Bearer t"
        of_another = Settings(url="http://elsewhere.example/", token="t")
        assert authorization(server.url, of_another, server) == "Basic YWxpY2U6c2VjcmV0"
        with_login = server.url.replace("//", "//bob:p%40ss@")
        assert authorization(with_login, with_token, server) == "Basic Ym9iOnBAc3M="


@pytest.mark.parametrize("location", ["", "http://evil.example/uploads/x", "//evil.example/x"])
def test_an_upload_is_on_the_server_that_was_asked(location: str) -> None:
    with pytest.raises(Refused):
        resolve("http://host:8080/base/", location)


@pytest.mark.parametrize(
    "location",
    # The last are as a proxy passes them on that takes /base off.
    [
        "/base/uploads/x",
        "http://host:8080/base/uploads/x",
        "/uploads/x",
        "http://host:8080/uploads/x",
    ],
)
def test_an_upload_may_have_a_path_or_a_url(location: str) -> None:
    assert resolve("http://host:8080/base/", location) == "http://host:8080/base/uploads/x"


def test_a_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda handler, _: answer(handler, 200, b"x", ETag='"e"')) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with Server("http://files.example/", Settings()) as client:
            assert client.files.find("a") is not None
        assert proxy.requests[0][1] == "http://files.example/files/a"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Server(proxy.url, Settings()) as client:
            assert client.files.find("a") is not None
        assert proxy.requests[1][1] == "/files/a"


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0", Bandwidth()),
        ("10M", Bandwidth(10 << 20, 10 << 20)),
        ("1MiB:2kb", Bandwidth(1 << 20, 2000)),
        ("0:1M", Bandwidth(None, 1 << 20)),
    ],
)
def test_limits_of_bandwidth(text: str, rates: Bandwidth) -> None:
    assert Bandwidth.parse(text) == rates


@pytest.mark.parametrize("text", ["", "x", "1:2:3", "-1", "1M:"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Bandwidth.parse(text)


def test_threads_share_a_limit() -> None:
    rate = 10 << 20
    bucket = TokenBucket(rate)
    began = time.monotonic()

    def take() -> None:
        for _ in range(20):
            bucket.take(64 * 1024)

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A quarter of a second's worth may pass at once.
    assert time.monotonic() - began >= 100 * 64 * 1024 / rate - 0.3


def test_bodies_are_limited_both_ways() -> None:
    body = bytes(512 * 1024)
    settings = Settings(bandwidth=Bandwidth(1 << 20, 1 << 20))
    with (
        scripted(lambda handler, _: answer(handler, 200, body)) as server,
        Server(server.url, settings) as client,
    ):
        began = time.monotonic()
        client.files.put("a", body, len(body))
        assert time.monotonic() - began >= 2 * (0.5 - 0.3)
    assert server.requests[0][3] == body


def test_what_is_stopped_fails_soon() -> None:
    settings = Settings(bandwidth=Bandwidth(1, 1))
    with scripted(lambda handler, _: answer(handler, 200)) as server:
        client = Server(server.url, settings)
        stopper = threading.Timer(0.05, client.transport.stop)
        stopper.start()
        with pytest.raises(Stopped):
            client.files.put("a", bytes(100_000), 100_000)
        stopper.join()
        client.close()


def test_a_folder_is_no_file(remote: Server, folder: RemotePlace) -> None:
    remote.files.put(f"{folder.name}a/b", b"b", 1)
    assert remote.files.find(f"{folder.name}a") is None
    with pytest.raises(Missing):
        remote.files.get(f"{folder.name}a")


@pytest.mark.parametrize("token", ["SECRET\nX: y", "SECRET€", "SECRET\0"])
def test_a_token_that_cannot_be_sent_is_not_told(token: str) -> None:
    with (
        scripted(lambda handler, _: answer(handler, 200)) as server,
        Server(server.url, Settings(token=token)) as found,
        pytest.raises(InvalidPlace) as raised,
    ):
        found.files.find("a")
    assert "SECRET" not in str(raised.value)
    assert server.requests == []


def test_the_end_of_the_line_is_no_part_of_a_token() -> None:
    assert Settings.from_environment({"CHUNKSTORE_TOKEN": "a\r\n"}).token == "a"


def test_a_media_type_adds_no_other_fields() -> None:
    media_type = "a/b\r\nX: y"
    with (
        scripted(lambda handler, _: answer(handler, 200)) as server,
        Server(server.url, Settings()) as found,
    ):
        with pytest.raises(InvalidPlace):
            found.files.put("a", b"", 0, media_type=media_type)
        with pytest.raises(InvalidPlace):
            found.files.post_form("", [FormFile("a", b"", media_type)], overwrite=True)
    assert server.requests == []


def test_a_time_to_wait_that_cannot_be_read_is_none() -> None:
    def script(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(handler, 200 if number else 503, Retry_After="soon", ETag=f'"{DIGEST}"')

    with scripted(script) as server, Server(server.url, Settings()) as found:
        assert found.files.has("a", DIGEST)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_content_goes_nowhere_else(status: int) -> None:
    with scripted(lambda handler, _: answer(handler, 200)) as other:

        def redirect(handler: BaseHTTPRequestHandler, _: int) -> None:
            answer(handler, status, Location=f"{other.url}files/a")

        with scripted(redirect) as server, Server(server.url, Settings()) as found:
            with pytest.raises(Refused, match=f"redirects to {other.url}files/a"):
                found.files.put("a", b"a" * 100, 100)
            with pytest.raises(Refused):
                found.files.delete("a")
    assert other.requests == []


def test_a_token_does_not_follow_to_another_server() -> None:
    with scripted(lambda handler, _: answer(handler, 200, ETag=f'"{DIGEST}"')) as other:

        def redirect(handler: BaseHTTPRequestHandler, _: int) -> None:
            answer(handler, 307, Location=f"{other.url}files/a")

        with scripted(redirect) as server, Server(server.url, Settings(token="SECRET")) as found:
            assert found.files.has("a", DIGEST)
    assert server.requests[0][2]["authorization"] == "Bearer SECRET"
    assert "authorization" not in other.requests[0][2]
