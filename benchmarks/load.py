"""A load generator on plain sockets, cheap enough to leave the machine to the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_BUFFER_SIZE: Final = 1024 * 1024


def upload(port: int, name: str, source: Path) -> None:
    """Put the file at `source` as `name` and return when the server has answered."""
    size = source.stat().st_size
    with socket.create_connection(("127.0.0.1", port)) as connection, source.open("rb") as content:
        connection.sendall(_head("PUT", name, size, keep_alive=False))
        connection.sendfile(content)
        with connection.makefile("rb") as answer:
            _check(answer.readline())
            answer.read()


def download(
    port: int, name: str, size: int, take: Callable[[memoryview], object] | None = None
) -> str:
    """Get `name`, give its bytes to `take` or throw them away, and return its ETag.

    `size` is what must come.
    """
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_head("GET", name, 0, keep_alive=False))
        head, _, first = connection.recv(_BUFFER_SIZE).partition(b"\r\n\r\n")
        _check(head)
        received = _take(memoryview(first), take)
        while length := connection.recv_into(buffer):
            received += _take(buffer[:length], take)
    if received != size:
        raise RuntimeError(f"{received} bytes came of {size}")
    return head.partition(b'ETag: "')[2].partition(b'"')[0].decode()


def _take(piece: memoryview, take: Callable[[memoryview], object] | None) -> int:
    if take is not None:
        take(piece)
    return len(piece)


def put_many(port: int, names: Sequence[str], contents: Sequence[bytes], clients: int) -> None:
    """Put each content under its name, over `clients` connections at once."""
    requests = [
        _head("PUT", name, len(content), keep_alive=True) + content
        for name, content in zip(names, contents, strict=True)
    ]
    _run_clients(port, requests, clients)


def get_many(port: int, names: Sequence[str], clients: int) -> None:
    """Get each name, over `clients` connections at once."""
    _run_clients(port, [_head("GET", name, 0, keep_alive=True) for name in names], clients)


def _run_clients(port: int, requests: Sequence[bytes], clients: int) -> None:
    async def run() -> None:
        await asyncio.gather(*(_client(port, requests[index::clients]) for index in range(clients)))

    asyncio.run(run())


async def _client(port: int, requests: Sequence[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            writer.write(request)
            await _read_answer(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    _check(head)
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))


def _head(method: str, name: str, size: int, *, keep_alive: bool) -> bytes:
    connection = "keep-alive" if keep_alive else "close"
    return (
        f"{method} /files/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Connection: {connection}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def _check(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(answer.decode(errors="replace"))
