"""What is all new here comes in one request from a server that is near."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chunkstore.client.errors import ClientError, Stopped
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.pull_file import pull_file
from chunkstore.client.server.server import Server
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from tests.client.conftest import MakeSession, Recorder
from tests.client.test_transport import answer, scripted
from tests.process import ServerProcess

CHUNK = DEFAULT_CHUNK_SIZE
SIZE = 100 * CHUNK + 5


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def source(remote: Server, folder: RemotePlace, content: bytes) -> RemotePlace:
    remote.files.put(f"{folder.name}a", content, len(content))
    return folder.joined("a")


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any server count as near, however busy this machine is."""
    monkeypatch.setattr("chunkstore.client.transport._NEAR_SECONDS", 60.0)


def requests_of(server: ServerProcess, since: int) -> list[str]:
    """Return what was asked for in the server's log: the first part of each path."""
    lines = server.log.read_text()[since:].splitlines()
    return [line.split('"')[1].split("/")[1] for line in lines if '"GET /' in line]


def test_new_content_comes_in_one_request(
    shared_server: ServerProcess, make_session: MakeSession, source: RemotePlace, tmp_path: Path,
    content: bytes,
) -> None:  # fmt: skip
    began = len(shared_server.log.read_text())
    with make_session() as session:
        pulled = pull_file(session, source, tmp_path / "b")
    assert (pulled.moved, pulled.digest) == (SIZE, Digest.of(content))
    assert (tmp_path / "b").read_bytes() == content
    # A sample tells whether chunks are kept compressed.
    assert requests_of(shared_server, began)[-2:] == ["packs", "files"]


def test_what_is_kept_compressed_comes_so(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    content = b"".join(b"%d: a line of text\n" % number for number in range(1_000_000))
    remote.files.put(f"{folder.name}text", content, len(content))
    with make_session() as session:
        pulled = pull_file(session, folder.joined("text"), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert 2 * pulled.wire_size < pulled.size


def test_what_came_of_one_that_was_stopped_is_used(
    make_session: MakeSession, source: RemotePlace, tmp_path: Path, content: bytes
) -> None:
    class Stopping(Recorder):
        left = 50 * CHUNK

        def transferred(self, name: str, size: int, wire_size: int) -> None:
            self.left -= size
            if self.left <= 0:
                raise Stopped

    with make_session(Stopping()) as session, pytest.raises(Stopped):
        pull_file(session, source, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with make_session() as session:
        pulled = pull_file(session, source, tmp_path / "b")
    assert 0 < pulled.moved < SIZE - 40 * CHUNK
    assert (tmp_path / "b").read_bytes() == content


def test_a_byte_that_was_changed_on_the_way_is_fetched_again(
    shared_server: ServerProcess, make_session: MakeSession, source: RemotePlace, tmp_path: Path,
    content: bytes,
) -> None:  # fmt: skip
    def forward(handler: BaseHTTPRequestHandler, _: int) -> None:
        with closing(HTTPConnection(urlsplit(shared_server.url).netloc)) as connection:
            connection.request("GET", handler.path)
            found = connection.getresponse()
            body = found.read()
        if handler.path.startswith("/files/"):
            body = body[:-1] + bytes([body[-1] ^ 1])
        fields = {
            name.replace("-", "_"): value
            for name, value in found.getheaders()
            if name in ("ETag", "Content-Type", "Content-Size", "Last-Modified")
        }
        answer(handler, found.status, body, **fields)

    with scripted(forward) as server, make_session() as session:
        place = parse_url(f"{server.url}files/{source.name}")
        pulled = pull_file(session, place, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    # All, then one chunk.
    assert pulled.moved == 5


@pytest.mark.parametrize("synced_at_once", [CHUNK, 10 * SIZE], ids=["as it comes", "at its end"])
def test_what_a_disk_has_not_synced_is_neither_the_file_nor_gone_on_with(
    make_session: MakeSession, source: RemotePlace, tmp_path: Path, content: bytes,
    monkeypatch: pytest.MonkeyPatch, synced_at_once: int,
) -> None:  # fmt: skip
    # Linux tells an error once: later syncs of the file succeed, and what is lost is read back.
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]
    real = os.fsync

    def sync(file: int) -> None:
        if failures:
            raise failures.pop()
        real(file)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr("chunkstore.client.receiving._SYNCED_AT_ONCE", synced_at_once)
    folder = tmp_path / "to"
    folder.mkdir()
    with make_session() as session:
        with pytest.raises(ClientError, match="Input/output error"):
            pull_file(session, source, folder / "b")
        assert not list(folder.iterdir())
        assert pull_file(session, source, folder / "b").moved == SIZE
    assert (folder / "b").read_bytes() == content
