"""What is new from its start on is sent as bytes, to a server that is near."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chunkstore.client import cache
from chunkstore.client.errors import Stopped
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.push_file import push_file
from chunkstore.client.server.server import Server
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.digest import Digest
from tests.client.conftest import MakeSession, Recorder, content_of
from tests.documents.nginx import free_port, nginx
from tests.process import ServerProcess

CHUNK = DEFAULT_CHUNK_SIZE
COUNT = 150


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(COUNT * CHUNK + 5))
    return path


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any server count as near, however busy this machine is."""
    monkeypatch.setattr("chunkstore.client.transport._NEAR_SECONDS", 60.0)


@pytest.fixture
def target(folder: RemotePlace) -> RemotePlace:
    return folder.joined("a")


def requests_of(server: ServerProcess, since: int = 0) -> list[str]:
    """Return the methods of the requests about uploads in the server's log."""
    lines = server.log.read_text()[since:].splitlines()
    return [line.split('"')[1].split(" ")[0] for line in lines if " /uploads/" in line]


def test_new_content_goes_in_one_request(
    remote: Server, shared_server: ServerProcess, make_session: MakeSession, target: RemotePlace,
    path: Path,
) -> None:  # fmt: skip
    began = len(shared_server.log.read_text())
    with make_session() as session:
        pushed = push_file(session, path, target)
    assert pushed.moved == pushed.size == path.stat().st_size
    assert pushed.digest == Digest.of(path.read_bytes())
    assert content_of(remote, target.name) == path.read_bytes()
    # The bytes, and the end.
    assert requests_of(shared_server, began) == ["PATCH", "PATCH"]


@pytest.mark.parametrize("known", [90, COUNT])
def test_from_what_is_known_on_only_what_is_missing_is_sent(
    remote: Server, shared_server: ServerProcess, make_session: MakeSession, folder: RemotePlace,
    target: RemotePlace, path: Path, known: int,
) -> None:  # fmt: skip
    content = path.read_bytes()
    chunk = content[known * CHUNK : (known + 1) * CHUNK]
    remote.files.put(f"{folder.name}other", chunk, len(chunk))
    began = len(shared_server.log.read_text())
    with make_session() as session:
        pushed = push_file(session, path, target)
    assert pushed.moved == len(content) - len(chunk)
    assert content_of(remote, target.name) == content
    assert requests_of(shared_server, began).count("PATCH") == 2
    assert ("POST" in requests_of(shared_server, began)) == (known < COUNT)


def test_one_that_was_stopped_goes_on(
    remote: Server, make_session: MakeSession, target: RemotePlace, path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # The file was made just now.
    monkeypatch.setattr(cache, "RACY_NANOSECONDS", 0)

    class Stopping(Recorder):
        left = 100 * CHUNK

        def transferred(self, name: str, size: int, wire_size: int) -> None:
            self.left -= size
            if self.left <= 0:
                raise Stopped

    with make_session(Stopping()) as session, pytest.raises(Stopped):
        push_file(session, path, target)
    assert remote.files.find(target.name) is None
    with make_session() as session:
        pushed = push_file(session, path, target)
        assert list(session.state.iterdir()) == []
    assert 0 < pushed.moved < pushed.size
    assert content_of(remote, target.name) == path.read_bytes()


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_where_long_bodies_are_refused_packs_are_sent(
    remote: Server, shared_server: ServerProcess, make_session: MakeSession, target: RemotePlace,
    path: Path, tmp_path: Path, buffering: str,
) -> None:  # fmt: skip
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    block = f"""server {{
        listen 127.0.0.1:{port};
        client_max_body_size 20m;
        proxy_http_version 1.1;
        proxy_request_buffering {buffering};
        location / {{
            proxy_pass {shared_server.url};
            proxy_set_header Host $http_host;
        }}
    }}"""
    with nginx(folder, block, port), make_session() as session:
        place = parse_url(f"http://127.0.0.1:{port}/files/{target.name}")
        push_file(session, path, place)
    assert content_of(remote, target.name) == path.read_bytes()
