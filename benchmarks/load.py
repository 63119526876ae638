"""Large contents over one plain socket, cheap enough to leave the machine to the server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import dialects
from benchmarks.dialects import CHUNKSTORE, Dialect

_BUFFER_SIZE: Final = 1024 * 1024
_TIMEOUT_SECONDS: Final = 600
_HEAD_END: Final = b"\r\n\r\n"
_HEAD_SIZE: Final = 64 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waited:
    """Seconds from a request to the first byte of its content, and to the last."""

    first: float
    last: float


def connect(port: int) -> socket.socket:
    """Return a connection to a server on this machine."""
    connection = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def upload(port: int, name: str, source: Path, dialect: Dialect = CHUNKSTORE) -> None:
    """Put the file at `source` as `name` and return when the server has answered."""
    before, after = dialect.put(name, source.stat().st_size, keep_alive=False)
    with connect(port) as connection, source.open("rb") as content:
        connection.sendall(before)
        connection.sendfile(content)
        connection.sendall(after)
        with connection.makefile("rb") as answer:
            check(answer.readline())
            answer.read()


def download(
    port: int,
    name: str,
    size: int,
    take: Callable[[memoryview], object] | None = None,
    dialect: Dialect = CHUNKSTORE,
) -> str:
    """Get `name`, give its bytes to `take` or throw them away, and return its ETag.

    `size` is what must come.
    """
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    with connect(port) as connection:
        connection.sendall(dialect.get(name, keep_alive=False))
        head, first = _receive_head(connection, buffer)
        received = _take(first, take)
        while length := connection.recv_into(buffer):
            received += _take(buffer[:length], take)
    if received != size:
        raise RuntimeError(f"{received} bytes came of {size}")
    return head.partition(b'ETag: "')[2].partition(b'"')[0].decode()


def _take(piece: memoryview, take: Callable[[memoryview], object] | None) -> int:
    if take is not None:
        take(piece)
    return len(piece)


def _receive_head(connection: socket.socket, buffer: memoryview) -> tuple[bytes, memoryview]:
    """Return the head of an answer, and what came behind it."""
    received = 0
    while length := connection.recv_into(buffer[received:]):
        received += length
        head, end, _ = bytes(buffer[:received]).partition(_HEAD_END)
        if end:
            check(head)
            return head, buffer[len(head) + len(end) : received]
    raise RuntimeError("the connection was closed before an answer")


def read_ranges(
    port: int, name: str, starts: Sequence[int], size: int, source: Path, dialect: Dialect
) -> list[Waited]:
    """Get `size` bytes of `name` from each of `starts`, one after another on one connection.

    Each is compared with the file at `source`, outside of the time that is returned.
    """
    waits = []
    with connect(port) as connection, source.open("rb") as content:
        for start in starts:
            waited, body = exchange(connection, dialect.get(name, start, start + size), size)
            waits.append(waited)
            content.seek(start)
            if body != content.read(size):
                raise RuntimeError(f"{name} from {start} on came back different")
    return waits


def exchange(connection: socket.socket, request: bytes, size: int) -> tuple[Waited, memoryview]:
    """Send a request that is answered by `size` bytes; return how long they took, and them."""
    buffer = memoryview(bytearray(size + _HEAD_SIZE))
    begun = time.perf_counter()
    connection.sendall(request)
    head, body = _receive_head(connection, buffer)
    start = received = len(head) + len(_HEAD_END)
    received += len(body)
    first = time.perf_counter() if body else 0.0
    while received < start + size:
        length = connection.recv_into(buffer[received:])
        first = first or time.perf_counter()
        if not length:
            raise RuntimeError("the connection was closed within an answer")
        received += length
    return Waited(first - begun, time.perf_counter() - begun), buffer[start:received]


def fetch(port: int, request: bytes) -> bytes:
    """Send a request that closes the connection; return the answer's body, as it came."""
    with connect(port) as connection:
        connection.sendall(request)
        with connection.makefile("rb", _BUFFER_SIZE) as answer:
            received: bytes = answer.read()
    head, _, body = received.partition(_HEAD_END)
    check(head)
    return body


def put_form(port: int, folder: str, contents: Sequence[tuple[str, bytes]]) -> None:
    """Put many small files into a folder of chunkstore, in one transaction: a form does that."""
    pieces = [dialects.form_part("file", name) + content for name, content in contents]
    body = b"\r\n".join(pieces) + dialects.form_end()
    path = CHUNKSTORE.file.format(name=f"{folder}/")
    with connect(port) as connection:
        connection.sendall(dialects.form_head(path, len(body), keep_alive=False) + body)
        with connection.makefile("rb") as answer:
            check(answer.readline())
            answer.read()


def batches(items: Sequence[T], size: int = 1000) -> Iterator[Sequence[T]]:
    """Cut a sequence into runs, of as many as fit one form."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def check(answer: bytes) -> None:
    """Raise unless the answer that begins like this is a success."""
    if not answer.startswith((b"HTTP/1.1 20", b"HTTP/1.0 20")):
        raise RuntimeError(answer[:500].decode(errors="replace"))
