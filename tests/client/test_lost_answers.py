"""A change that was made, but whose answer was lost, is not told as a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chunkstore.client.errors import ConditionFailed, Missing
from chunkstore.client.filesystem.remote import Remote
from chunkstore.client.names import copy_place, delete_place
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.push_many import push_folder
from chunkstore.client.server.conditions import ABSENT
from chunkstore.client.server.parts import put_part
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.client.settings import Settings
from tests.client.conftest import content_of
from tests.client.test_transport import Scripted, answer, break_off, scripted
from tests.process import ServerProcess


def forwarded(
    server: ServerProcess, handler: BaseHTTPRequestHandler, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes, dict[str, str]]:
    """Return what the server answers to a request: status, body, and fields that a client reads."""
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as connection:
        headers = {name: value for name, value in headers.items() if name != "host"}
        connection.request(handler.command, handler.path, body, headers)
        found = connection.getresponse()
        content = found.read()
    fields = {
        name.replace("-", "_"): value
        for name, value in found.getheaders()
        if name in ("ETag", "Content-Type", "Content-Size", "Location", "Upload-Complete")
    }
    return found.status, content, fields


@contextmanager
def deaf(server: ServerProcess, path: Callable[[str, str], bool]) -> Iterator[Scripted]:
    """Run a proxy that loses the answer to the first request that `path` says."""
    lost: list[str] = []

    def forward(handler: BaseHTTPRequestHandler, number: int) -> None:
        _, _, headers, body = proxy.requests[number]
        status, content, fields = forwarded(server, handler, headers, body)
        if path(handler.command, handler.path) and not lost:
            lost.append(handler.path)
            break_off(handler)
            return
        answer(handler, status, content, **fields)

    with scripted(forward) as proxy:
        yield proxy
    assert lost


@pytest.fixture
def there(remote: Server, folder: RemotePlace) -> str:
    """Return the name of a folder with two files."""
    for name in ("a", "in/b"):
        remote.files.put(folder.name + name, name.encode(), len(name))
    return folder.name


@contextmanager
def told_nothing(server: ServerProcess, *methods: str) -> Iterator[tuple[Session, str]]:
    """Give a session, and the URL of a server that once does not answer a change of names."""
    with (
        deaf(server, lambda method, _: method in methods) as proxy,
        Session(Settings(retries=1), use_cache=False) as session,
    ):
        yield session, f"{proxy.url}files/"


@pytest.mark.parametrize("name", ["a", "in/"])
def test_what_was_deleted_is_gone(
    shared_server: ServerProcess, remote: Server, there: str, name: str
) -> None:
    with told_nothing(shared_server, "DELETE") as (session, url):
        delete_place(session, parse_url(url + there + name), recursive=True)
    assert not remote.files.is_there(there + name)
    with Session(use_cache=False) as session, pytest.raises(Missing):
        delete_place(session, parse_url(f"{shared_server.url}files/{there}{name}"), recursive=True)


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize(("name", "to"), [("a", "c"), ("in/", "out/")])
def test_what_was_copied_or_moved_is_there(
    shared_server: ServerProcess, remote: Server, there: str, name: str, to: str, move: bool
) -> None:
    with told_nothing(shared_server, "POST") as (session, url):
        source, target = (parse_url(url + there + one) for one in (name, to))
        copy_place(session, source, target, move=move, overwrite_file=False)
    assert remote.files.is_there(there + to)
    assert remote.files.is_there(there + name) == (not move)
    # What is there really is still told.
    source, target = (parse_url(f"{shared_server.url}files/{there}{one}") for one in (name, to))
    with Session(use_cache=False) as session, pytest.raises((ConditionFailed, Missing)):
        copy_place(session, source, target, move=move, overwrite_file=False)


def test_a_transaction_of_files_is_made_once(
    shared_server: ServerProcess, remote: Server, there: str
) -> None:
    with (
        deaf(shared_server, lambda _, path: path == "/batch") as proxy,
        Session(Settings(retries=1), use_cache=False) as session,
    ):
        files = Remote(session, parse_url(f"{proxy.url}files/"))
        parts = [put_part(files.server, name.encode()) for name in "xy"]
        files.put_parts(
            [(there + name, part, ABSENT) for name, part in zip("xy", parts, strict=True)]
        )
    assert [content_of(remote, there + name) for name in "xy"] == [b"x", b"y"]


def test_many_files_that_were_replaced_are_no_conflict(
    shared_server: ServerProcess, remote: Server, there: str, tmp_path: Path
) -> None:
    for name in ("a", "in/b", "new"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"another {name}".encode())
    with told_nothing(shared_server, "POST") as (session, url):
        assert push_folder(session, tmp_path, parse_url(url + there)) == []
    for name in ("a", "in/b", "new"):
        assert content_of(remote, there + name) == f"another {name}".encode()
