"""Many clients of one process, each of which sends its next request when it has its answer.

One loop over `epoll` on plain sockets: what an answer costs here bounds what can be measured.
`python -m benchmarks.generator` tells what that is, beside wrk.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.load import check, connect
from benchmarks.machine import sync_file

_BUFFER_SIZE: Final = 256 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_CLOSING: Final = b"HTTP/1.0"
_STALL_SECONDS: Final = 120


class Client:
    """One connection, and the requests that go over it. `size` is that of each answer's body.

    With each answer one of `files` is synced, and the time of that is part of the answer's.
    """

    def __init__(
        self,
        port: int,
        requests: Iterator[bytes],
        size: int | None,
        files: Iterator[Path] | None = None,
    ) -> None:
        self.latencies: list[float] = []
        self.socket = connect(port)
        self._port = port
        self._requests = requests
        self._size = size
        self._files = files
        self._received = b""
        self._sent_at = 0.0

    def send(self) -> bool:
        """Send the next request; return whether there was one."""
        request = next(self._requests, None)
        if request is None:
            return False
        self._sent_at = time.perf_counter()
        self._received = b""
        if self.socket.fileno() < 0:
            self.socket = connect(self._port)
        self.socket.sendall(request)
        return True

    def receive(self) -> bool:
        """Take what has come; return whether the answer is whole."""
        piece = self.socket.recv(_BUFFER_SIZE)
        received = self._received = self._received + piece if self._received else piece
        end = received.find(_HEAD_END)
        if end < 0:
            if not piece:
                raise RuntimeError("the connection was closed before an answer")
            return False
        check(received)
        length = len(received) - end - len(_HEAD_END)
        # Of a content whose size is known the head need not be read: it costs more than the rest.
        expected = _length(received, end) if self._size is None else self._size
        if length < expected and piece:
            return False
        if self._files is not None:
            sync_file(next(self._files))
        self.latencies.append(time.perf_counter() - self._sent_at)
        if self._size is not None and length != self._size:
            raise RuntimeError(f"{length} bytes came of {self._size}")
        if not piece or received.startswith(_CLOSING) or b"onnection: close" in received[:end]:
            self.socket.close()
        return True


def _length(received: bytes, end: int) -> float:
    """Return how many bytes follow the head, which ends at `end`.

    That is without end if the end of the connection tells it, or the last chunk, until it has come.
    """
    head = received[:end].lower()
    _, found, rest = head.partition(_LENGTH)
    if found:
        return int(rest.partition(b"\r\n")[0])
    if b"chunked" in head and received.endswith(_LAST_CHUNK):
        return 0
    return 0 if b" 204 " in head[:16] else math.inf


def open_clients(
    port: int, requests: Sequence[bytes], count: int, size: int | None, files: Sequence[Path] = ()
) -> list[Client]:
    """Connect `count` clients, and deal to them the requests, and the files to be synced."""
    return [
        Client(
            port, iter(requests[index::count]), size, iter(files[index::count]) if files else None
        )
        for index in range(count)
    ]


def run(clients: Sequence[Client]) -> list[float]:
    """Run all clients to their ends; return the seconds that each request took."""
    poll = select.epoll()
    waiting: dict[int, Client] = {}
    try:
        for client in clients:
            _go_on(client, poll, waiting)
        while waiting:
            events = poll.poll(_STALL_SECONDS)
            if not events:
                raise RuntimeError(f"no answer within {_STALL_SECONDS} s")
            for descriptor, _ in events:
                client = waiting[descriptor]
                if client.receive():
                    _go_on(client, poll, waiting, descriptor)
    finally:
        poll.close()
        for client in clients:
            client.socket.close()
    return [latency for client in clients for latency in client.latencies]


def _go_on(
    client: Client, poll: select.epoll, waiting: dict[int, Client], descriptor: int = -1
) -> None:
    """Send the client's next request, and wait on its socket, which may be another one now."""
    closed = client.socket.fileno() < 0
    more = client.send()
    if closed or not more:
        waiting.pop(descriptor, None)
    if not more:
        if not closed and descriptor >= 0:
            poll.unregister(descriptor)
        return
    if closed or descriptor < 0:
        waiting[client.socket.fileno()] = client
        poll.register(client.socket.fileno(), select.EPOLLIN)


class SlowReaders:
    """Downloads that each take `rate` bytes a second, for as long as `take` is called."""

    def __init__(self, port: int, request: bytes, count: int, rate: int) -> None:
        self.taken = 0
        self._rate = rate
        self._sockets = [_open_slow(port) for _ in range(count)]
        for connection in self._sockets:
            connection.sendall(request)

    def take(self, seconds: float) -> None:
        """Take what each may have after `seconds` more; what has not come is not waited for."""
        for connection in self._sockets:
            try:
                self.taken += len(connection.recv(max(1, int(self._rate * seconds))))
            except BlockingIOError:
                continue

    def close(self) -> None:
        """Break all of them off."""
        for connection in self._sockets:
            connection.close()


def _open_slow(port: int) -> socket.socket:
    connection = socket.socket()
    # Small, or the kernel would take for the client what it is too slow to take.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.connect(("127.0.0.1", port))
    connection.setblocking(False)
    return connection
