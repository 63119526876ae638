"""Servers that know nothing of chunks: an older one of ours, and one that is not of our making."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from chunkstore.client.errors import ConditionFailed, Missing, SourceChanged
from chunkstore.client.options import PushOptions
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.pull_file import pull_file
from chunkstore.client.push_file import push_file, push_pipe
from chunkstore.client.push_many import Outgoing, push_files
from chunkstore.client.server.conditions import ABSENT, ANYTHING
from chunkstore.client.verify import cat
from tests.client.conftest import MakeSession, Recorder, content_of
from tests.client.test_lost_answers import forwarded
from tests.client.test_transport import answer, scripted
from tests.documents.nginx import free_port, nginx
from tests.process import ServerProcess

# As a server was before it knew of chunks: nothing is there at their URLs.
_OLDER = """
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{ proxy_pass http://127.0.0.1:{target}; proxy_request_buffering off;
        proxy_http_version 1.1; }}
    location ~ ^/(chunks|manifests|packs) {{ return 404; }}
}}
"""
_FOREIGN = """
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    root {root};
    location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
}}
"""
SIZES = [0, 5, (2 << 20) + 1, (17 << 20) + 3]


@pytest.fixture(scope="module")
def older(shared_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    servers = _OLDER.format(port=port, target=shared_server.port)
    with nginx(tmp_path_factory.mktemp("older"), servers, port):
        yield f"http://127.0.0.1:{port}/files/"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    root = tmp_path_factory.mktemp("root")
    with nginx(tmp_path_factory.mktemp("foreign"), _FOREIGN.format(port=port, root=root), port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(params=["older", "foreign"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a folder that only this test has."""
    return f"{request.getfixturevalue(request.param)}{os.urandom(4).hex()}/"


@pytest.fixture
def old_folder(older: str) -> RemotePlace:
    return parse_url(f"{older}{os.urandom(4).hex()}/")


@pytest.mark.parametrize("size", SIZES)
def test_a_file_goes_and_comes_back(
    make_session: MakeSession, folder: str, tmp_path: Path, size: int
) -> None:
    path, target = tmp_path / "a", tmp_path / "b"
    path.write_bytes(os.urandom(size))
    place = parse_url(f"{folder}a")
    with make_session() as session:
        assert session.server(place).abilities is None
        pushed = push_file(session, path, place)
        assert (pushed.size, pushed.moved) == (size, size)
        pulled = pull_file(session, place, target)
        assert (pulled.size, pulled.moved) == (size, size)
        assert target.read_bytes() == path.read_bytes()
        path.write_bytes(os.urandom(size))
        push_file(session, path, place)
        pull_file(session, place, target)
        assert target.read_bytes() == path.read_bytes()
        out = io.BytesIO()
        cat(session, place, out)
        assert out.getvalue() == path.read_bytes()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("size", SIZES)
def test_what_comes_by_a_pipe(
    make_session: MakeSession, folder: str, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    place = parse_url(f"{folder}a")
    with make_session() as session:
        assert push_pipe(session, io.BytesIO(content), place).size == size
        pull_file(session, place, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


def test_what_is_not_there(make_session: MakeSession, folder: str, tmp_path: Path) -> None:
    with make_session() as session, pytest.raises(Missing):
        pull_file(session, parse_url(f"{folder}none"), tmp_path / "a")


@pytest.mark.parametrize("size", [5, 17 << 20])
def test_an_older_server_of_ours_is_held_to_conditions(
    make_session: MakeSession, old_folder: RemotePlace, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))
    with make_session() as session:
        files = session.server(old_folder).files
        place = old_folder.joined("a")
        files.put(place.name, b"theirs", 6)
        with pytest.raises(ConditionFailed):
            push_file(session, path, place, PushOptions(ABSENT))
        push_file(session, path, place, PushOptions(ANYTHING))
        again = push_file(session, path, place)
        assert (again.unchanged, again.moved) == (True, 0)
        found = files.find(place.name)
        assert found is not None
        assert found.size == size


def test_a_server_whose_forms_know_no_conditions_is_held_to_them(
    shared_server: ServerProcess, make_session: MakeSession, old_folder: RemotePlace,
    tmp_path: Path,
) -> None:  # fmt: skip
    def forward(handler: BaseHTTPRequestHandler, number: int) -> None:
        # To a server it is a field of which it knows nothing, and its errors name no file.
        _, _, headers, body = proxy.requests[number]
        body = body.replace(b'name="if_match"', b'name="unknown_"')
        status, content, fields = forwarded(shared_server, handler, headers, body)
        answer(handler, status, content.replace(b'"edit"', b'"none"'), **fields)

    outgoing = []
    with scripted(forward) as proxy, make_session() as session:
        place = parse_url(f"{proxy.url}files/{old_folder.name}")
        files = session.server(place).files
        for name in ("a", "b", "c", "d"):
            (tmp_path / name).write_bytes(name.encode())
            known = None
            if name != "d":
                files.put(place.name + name, b"old", 3)
                known = files.find(place.name + name)
            outgoing.append(Outgoing(tmp_path / name, name, known))
        files.put(f"{place.name}b", b"theirs", 6)
        [failure] = push_files(session, place, outgoing, relative=True)
        assert (failure.name, type(failure.error)) == ("b", ConditionFailed)
        found = {name: content_of(session.server(place), place.name + name) for name in "abcd"}
    assert found == {"a": b"a", "b": b"theirs", "c": b"c", "d": b"d"}


def test_a_broken_pull_goes_on_by_range(
    make_session: MakeSession, old_folder: RemotePlace, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    target = tmp_path / "a"
    with make_session() as session:
        files = session.server(old_folder).files
        files.put(f"{old_folder.name}a", content, len(content))
        found = files.find(f"{old_folder.name}a")
        assert found is not None
        (tmp_path / f".a.{str(found.digest)[:8]}.part").write_bytes(content[:1_000_000])
        pulled = pull_file(session, old_folder.joined("a"), target)
    assert target.read_bytes() == content
    assert pulled.moved == len(content) - 1_000_000


def test_a_broken_part_is_fetched_anew(
    make_session: MakeSession, old_folder: RemotePlace, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    with make_session() as session:
        files = session.server(old_folder).files
        files.put(f"{old_folder.name}a", content, len(content))
        found = files.find(f"{old_folder.name}a")
        assert found is not None
        (tmp_path / f".a.{str(found.digest)[:8]}.part").write_bytes(os.urandom(1000))
        pull_file(session, old_folder.joined("a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize("size", [2 << 20, 17 << 20])
def test_a_source_that_changes_replaces_nothing(
    make_session: MakeSession, old_folder: RemotePlace, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))

    class Changing(Recorder):
        def transferred(self, name: str, size: int, wire_size: int) -> None:
            with path.open("ab") as file:
                file.write(b"more")

    with make_session(Changing()) as session:
        with pytest.raises(SourceChanged):
            push_file(session, path, old_folder.joined("a"))
        assert session.server(old_folder).files.find(f"{old_folder.name}a") is None
