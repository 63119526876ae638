"""Pulling from servers that lie: nothing comes out of it but an error, and that soon."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from chunkstore.client.errors import ClientError, Mismatch, Refused
from chunkstore.client.manifests import format_entry
from chunkstore.client.outcome import Progress
from chunkstore.client.places import parse_url
from chunkstore.client.pull_file import SMALL_SIZE, pull_file
from chunkstore.client.pull_many import pull_folder
from chunkstore.client.reporting import Silent
from chunkstore.client.server.server import Server
from chunkstore.client.settings import DEFAULT_CONNECTIONS, Settings
from chunkstore.client.streaming import ContentStream
from chunkstore.client.sync.staging import staged
from chunkstore.core.digest import Digest
from tests.client.conftest import MakeSession
from tests.client.test_transport import answer, scripted

CHUNK = 256 * 1024
ABILITIES = {
    "version": 1,
    "hash": "blake3",
    "chunking": [f"fixed;size={CHUNK}"],
    "max_chunk_size": CHUNK,
    "max_digests": 16384,
    "max_pack_size": 67108864,
    "codecs": [],
}
JSON = {"Content_Type": "application/json"}
FILE = {
    "name": "ok",
    "size": 1,
    "digest": str(Digest.of(b"x")),
    "modified": "2020-01-01T00:00:00+00:00",
    "media_type": "a/b",
}


def page(after: object = None, count: int = 1, **changes: object) -> bytes:
    files = [{**FILE, **changes}, *({**FILE, "name": f"{number}"} for number in range(1, count))]
    return json.dumps({"files": files, "folders": [], "next": after}).encode()


def endless(handler: BaseHTTPRequestHandler, piece: bytes, **headers: str) -> None:
    handler.send_response(200)
    for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    except OSError:
        handler.close_connection = True


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"files":' + b"[" * 100_000,
        page(size=-1),
        page(size=1.5),
        page(size=float("inf")),
        page(after=5),
        page(after=""),
    ],
)
def test_a_list_that_cannot_be_is_refused(body: bytes) -> None:
    with (
        scripted(lambda handler, _: answer(handler, 200, body, **JSON)) as server,
        Server(server.url, Settings()) as found,
        pytest.raises(Refused),
    ):
        list(found.files.walk())


def test_a_list_that_turns_in_a_circle_ends() -> None:
    with (
        scripted(lambda handler, _: answer(handler, 200, page(after="ok"), **JSON)) as server,
        Server(server.url, Settings()) as found,
        pytest.raises(Refused),
    ):
        list(found.files.walk())
    assert len(server.requests) == 2


def test_json_without_an_end_is_left() -> None:
    with (
        scripted(lambda handler, _: endless(handler, b" " * 65536, **JSON)) as server,
        Server(server.url, Settings()) as found,
        pytest.raises(Mismatch, match="no end"),
    ):
        found.files.list()


@pytest.mark.parametrize("number", [0, -1, 1.5, float("inf"), 2**62, "x", None])
@pytest.mark.parametrize("name", ["max_chunk_size", "max_digests", "max_pack_size"])
def test_abilities_that_cannot_be_are_none(name: str, number: object) -> None:
    body = json.dumps({**ABILITIES, name: number}).encode()
    with (
        scripted(lambda handler, _: answer(handler, 200, body, **JSON)) as server,
        Server(server.url, Settings()) as found,
    ):
        assert found.abilities is None


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_no_file_can_have_is_left_out(
    make_session: MakeSession, tmp_path: Path, time: str
) -> None:
    def script(handler: BaseHTTPRequestHandler, _: int) -> None:
        if "?" in handler.path:
            answer(handler, 200, page(modified=time), **JSON)
        else:
            answer(handler, 200, b"x", ETag=f'"{Digest.of(b"x")}"')

    with scripted(script) as server, make_session() as session:
        for _ in range(2):
            assert pull_folder(session, parse_url(server.url), tmp_path / "to") == []
    assert (tmp_path / "to" / "ok").read_bytes() == b"x"


def test_small_files_without_an_end_are_left(make_session: MakeSession, tmp_path: Path) -> None:
    # More than there are connections: each has to be given back.
    files = 2 * DEFAULT_CONNECTIONS

    def script(handler: BaseHTTPRequestHandler, _: int) -> None:
        if "?" in handler.path:
            answer(handler, 200, page(count=files), **JSON)
        elif handler.command == "HEAD":
            answer(handler, 200, b"x", ETag=f'"{Digest.of(b"x")}"')
        else:
            endless(handler, b"x" * 65536, ETag=f'"{Digest.of(b"x")}"')

    with scripted(script) as server, make_session() as session:
        failures = pull_folder(session, parse_url(server.url), tmp_path / "to")
    assert [type(failure.error) for failure in failures] == files * [Mismatch]
    assert list((tmp_path / "to").iterdir()) == []


def record(content: bytes) -> bytes:
    size = len(content).to_bytes(4)
    return blake3(content).digest() + bytes(4) + size + size + content


CHUNKS = [bytes([number]) * CHUNK for number in range(SMALL_SIZE // CHUNK + 1)]
Pack = Callable[[BaseHTTPRequestHandler], Any]


@pytest.mark.parametrize(
    ("sizes", "pack"),
    [
        # What was asked for, again and again.
        (CHUNK, lambda handler: endless(handler, record(CHUNKS[0]))),
        # What nobody has asked for.
        (CHUNK, lambda handler: endless(handler, record(b"other"))),
        # Chunks that are longer than the list tells.
        (CHUNK - 1, lambda handler: answer(handler, 200, b"".join(map(record, CHUNKS)))),
    ],
)
def test_a_pack_of_other_chunks_than_the_list_has_is_left(
    make_session: MakeSession, tmp_path: Path, sizes: int, pack: Pack
) -> None:
    entries = b"".join(format_entry(blake3(chunk).digest(), sizes) for chunk in CHUNKS)
    etag = Digest.of(b"".join(chunk[:sizes] for chunk in CHUNKS))
    asked = count()

    def script(handler: BaseHTTPRequestHandler, _: int) -> None:
        if handler.path == "/chunks":
            answer(handler, 200, json.dumps(ABILITIES).encode(), **JSON)
        elif handler.path.startswith("/manifests/"):
            answer(handler, 200, entries, ETag=f'"{etag}"')
        else:
            next(asked)
            pack(handler)

    with scripted(script) as server, make_session() as session, pytest.raises(ClientError):
        pull_file(session, parse_url(f"{server.url}files/a"), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert next(asked) <= 3


@pytest.mark.parametrize("offsets", ["0", "01"], ids=["nothing", "back and forth"])
def test_a_server_that_keeps_no_byte_of_a_stream_is_left(offsets: str) -> None:
    def answer_with_offset(handler: BaseHTTPRequestHandler, number: int) -> None:
        while size := int(handler.rfile.readline(), 16):
            handler.rfile.read(size + 2)
        handler.rfile.readline()
        answer(handler, 204, b"", Upload_Offset=offsets[number % len(offsets)])

    content = bytes(1000)
    with scripted(answer_with_offset) as server, Server(server.url, Settings(retries=0)) as found:
        progress = Progress(Silent(), "a", len(content))
        stream = ContentStream(
            found.chunks, f"{found.base}uploads/a", 0, 0,
            lambda offset, size: content[offset : offset + size], progress,
        )  # fmt: skip
        try:
            stream.take(0, len(content))
            with pytest.raises(Mismatch, match="keeps none"):
                stream.settle()
        finally:
            stream.cancel()


def test_a_copy_that_does_not_go_is_given_up(make_session: MakeSession) -> None:
    def succeed(handler: BaseHTTPRequestHandler, _: int) -> None:
        bodies = {"GET": page(), "POST": b"{}\n"}
        found = bodies.get(handler.command)
        answer(handler, 204 if found is None else 200, found or b"", **JSON)

    with scripted(succeed) as server, make_session() as session:
        place = parse_url(f"{server.url}files/a/")
        with pytest.raises(ZeroDivisionError), staged(session, place, "a/"):
            raise ZeroDivisionError
        deleted = [path for method, path, *_ in server.requests if method == "DELETE"]
        # The next run goes on with it.
        with pytest.raises(ClientError, match="again"), staged(session, place, "a/"):
            pass
    assert len(deleted) < 1000
