"""What systemd and a service tell each other.

The protocols of sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3) are a datagram and some
variables of the environment. These are removed as they are read, so that no other process takes
them for its own.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Final

from chunkstore.server.overseer import Overseer

_FIRST_FILE: Final = 3
# systemd wants to hear twice within its interval.
_BEATS: Final = 2

_logger = logging.getLogger(__name__)


class Systemd(Overseer):
    """systemd as the service manager, at the socket of NOTIFY_SOCKET."""

    reloads = True

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A queue that is full must not stop the server; the next beat comes soon.
        self._socket.setblocking(False)
        # An abstract name begins with a zero byte, which an environment cannot have.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._ready = ""
        self.beat_seconds = watchdog_seconds and watchdog_seconds / _BEATS

    def ready(self, status: str) -> None:
        self._ready = status
        self._tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=Loading the certificate again.")

    def reloaded(self) -> None:
        self._tell("READY=1", f"STATUS={self._ready}")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", f"STATUS={status}")

    def beat(self) -> None:
        self._tell("WATCHDOG=1")

    def _tell(self, *assignments: str) -> None:
        message = "\n".join(" ".join(each.splitlines()) for each in assignments)
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            _logger.warning("systemd could not be told: %s.", error.strerror)


def find_overseer() -> Overseer:
    """Return systemd if it runs this process as a service of Type=notify, else nobody."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    seconds = _watchdog_seconds()
    return Systemd(address, seconds) if address.startswith(("/", "@")) else Overseer()


def _watchdog_seconds() -> float | None:
    usec, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1_000_000


def inherited_sockets() -> tuple[socket.socket, ...]:
    """Return the sockets by which systemd activated this process; none if it did not.

    Raises:
        ValueError: one of them is no stream socket that listens.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return ()
    return tuple(map(_inherited, range(_FIRST_FILE, _FIRST_FILE + int(count))))


def _inherited(number: int) -> socket.socket:
    refusal = f"File {number} of LISTEN_FDS is no socket that accepts connections"
    try:
        found = socket.socket(fileno=number)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ValueError(refusal) from error
    if not listens or found.type != socket.SOCK_STREAM:
        raise ValueError(refusal)
    os.set_inheritable(number, False)
    return found
