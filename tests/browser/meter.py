"""A link to a server that counts the bytes which go over it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

_PIECE_SIZE = 1 << 18


class Meter(ThreadingTCPServer):
    """Passes connections on to `port` of this machine, and counts what is sent there."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = port
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self._sent = 0
        self._lock = threading.Lock()

    def count(self, size: int) -> None:
        """Count what is about to be passed on."""
        with self._lock:
            self._sent += size

    def take(self) -> int:
        """Return the bytes that were sent since this was asked last."""
        with self._lock:
            sent, self._sent = self._sent, 0
            return sent


class _Connection(BaseRequestHandler):
    server: Meter
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as onward:
            back = threading.Thread(target=_pass, args=(onward, self.request), daemon=True)
            back.start()
            _pass(self.request, onward, self.server)
            back.join()


def _pass(source: socket.socket, target: socket.socket, meter: Meter | None = None) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_SIZE):
            if meter is not None:
                meter.count(len(piece))
            target.sendall(piece)
    # Whoever waits for more on the one side or the other hears that there is none.
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def metered(port: int) -> Iterator[Meter]:
    """Return a meter before a server, which listens within the context."""
    with Meter(port) as meter:
        listening = threading.Thread(target=meter.serve_forever, daemon=True)
        listening.start()
        yield meter
        meter.shutdown()
        listening.join()
