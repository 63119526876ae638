"""Requests as bytes on a socket, and answers as the standard library reads them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import parse_headers
from typing import Any, Final, Protocol

_PATIENCE_SECONDS: Final = 20
_NO_CONTENT: Final = frozenset({204, 304})


class Server(Protocol):
    """Where to connect to; a TestClient is one."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, interim or final."""

    status: int
    headers: Message
    body: bytes
    version: str = "HTTP/1.1"

    def json(self) -> Any:  # noqa: ANN401 - it is what the server sent
        """Return the body as the JSON it must be."""
        return json.loads(self.body)


class Connection:
    """A connection on which every byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, octets: bytes) -> None:
        """Send the bytes."""
        self._writer.write(octets)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._writer.drain()

    def finish_sending(self) -> None:
        """Say that no more bytes will come, and stay to read (a half-closed connection)."""
        self._writer.write_eof()

    async def receive(self, method: str = "GET") -> Answer:
        """Return the next answer, which is to a request of `method`.

        Raises:
            asyncio.IncompleteReadError: the connection ends before the answer does.
        """
        async with asyncio.timeout(_PATIENCE_SECONDS):
            head = io.BytesIO(await self._reader.readuntil(b"\r\n\r\n"))
            version, status, *_ = head.readline().decode().split(" ")
            assert version in ("HTTP/1.1", "HTTP/1.0")
            headers = parse_headers(head)
            body = await self._body(int(status), headers, method)
            return Answer(int(status), headers, body, version)

    async def receive_some(self, size: int) -> bytes:
        """Return the next `size` bytes, whatever they are."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._reader.readexactly(size)

    async def receive_rest(self) -> bytes:
        """Return all bytes until the server closes the connection."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._reader.read()

    async def _body(self, status: int, headers: Message, method: str) -> bytes:
        if method == "HEAD" or status < 200 or status in _NO_CONTENT:
            return b""
        if headers["Transfer-Encoding"] == "chunked":
            return await self._chunked()
        if headers["Content-Length"] is None:
            return await self._reader.read()
        return await self._reader.readexactly(int(headers["Content-Length"]))

    async def _chunked(self) -> bytes:
        body = b""
        while size := int((await self._reader.readline()).decode(), 16):
            body += await self._reader.readexactly(size)
            assert await self._reader.readexactly(2) == b"\r\n"
        assert await self._reader.readexactly(2) == b"\r\n"
        return body


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Connection]:
    """Connect, and break the connection off when the context ends."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request(
    method: str,
    target: str | bytes,
    *headers: str | bytes,
    body: bytes = b"",
    version: str = "1.1",
    host: str | None = "test",
) -> bytes:
    """Return a request with exactly these header lines behind Host; `body` brings its own."""
    lines = [f"{method} ".encode() + _octets(target) + f" HTTP/{version}".encode()]
    if host is not None:
        lines.append(f"Host: {host}".encode())
    lines += map(_octets, headers)
    return b"\r\n".join([*lines, b"", body])


async def ask(server: Server, octets: bytes, method: str = "GET") -> Answer:
    """Send the bytes on a connection of their own and return the first answer."""
    async with connect(server) as connection:
        await connection.send(octets)
        return await connection.receive(method)


def chunked(*pieces: bytes) -> bytes:
    """Return the pieces in the chunked transfer coding (RFC 9112 §7.1), without the end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


LAST_CHUNK: Final = b"0\r\n\r\n"


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
