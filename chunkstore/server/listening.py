"""Where the server listens: an address and a port, a Unix socket, or what systemd listens on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.hosts import parse_local_address
from chunkstore.server.config import Address, ServeConfig
from chunkstore.server.systemd import inherited_sockets

BACKLOG: Final = 1024
# The system lacks a version of IP, or has no address of it.
_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


class CannotListen(ChunkstoreError):
    """The server cannot listen there."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Sockets that are bound, and do not listen yet: `listen` would let clients wait in vain.

    Processes that are forked share them.
    """

    sockets: tuple[socket.socket, ...]

    def url(self, scheme: str, base_path: str) -> str:
        """Return the URL by which a client of this machine reaches the first socket."""
        first = self.sockets[0]
        if is_unix(first):
            return f"unix:{first.getsockname()}"
        host, port = first.getsockname()[:2]
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{base_path}"

    @property
    def beyond_loopback(self) -> str | None:
        """An address and port by which other machines may come; None if there is none."""
        for each in self.sockets:
            if not is_unix(each):
                host, port = each.getsockname()[:2]
                address = parse_local_address(host)
                if address is None or isinstance(address, str) or not address.is_loopback:
                    return f"{host} port {port}"
        return None


def is_unix(listening: socket.socket) -> bool:
    """Whether the socket is one of the file system."""
    return listening.family == socket.AF_UNIX


@contextmanager
def bound(config: ServeConfig) -> Iterator[Listening]:
    """Bind what the configuration says, and remove it when the context ends.

    The sockets of an activation by systemd take the place of all that.

    Raises:
        CannotListen: it cannot be listened on.
    """
    try:
        inherited = inherited_sockets()
    except ValueError as error:
        raise CannotListen(f"{error}.") from error
    if inherited or config.unix is None:
        sockets = inherited or _bind_address(config)
        try:
            yield Listening(sockets)
        finally:
            _close(sockets)
        return
    listening, identity = _bind_path(config.unix, config.unix_mode)
    try:
        yield Listening((listening,))
    finally:
        _close((listening,))
        # Another server may have taken the path over.
        with suppress(OSError):
            if _identity(config.unix) == identity:
                config.unix.unlink()


@contextmanager
def bound_metrics(where: Address) -> Iterator[socket.socket]:
    """Bind the address at which metrics are shown, for the time of the context.

    Raises:
        CannotListen: it cannot be listened on.
    """
    host, port = where
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = _bind(family, address)
    except OSError as error:
        raise CannotListen(
            f"Metrics cannot be shown on {host} port {port}: {error.strerror or error}."
            " Give another --metrics."
        ) from error
    with closing(listening):
        yield listening


def _close(sockets: tuple[socket.socket, ...]) -> None:
    for each in sockets:
        each.close()


def _bind_address(config: ServeConfig) -> tuple[socket.socket, ...]:
    """Bind all addresses that the host has; with port 0, the same free one of each."""
    sockets: list[socket.socket] = []
    port, missing = config.port, None
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bind(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
                continue
            port = sockets[0].getsockname()[1]
        if not sockets and missing is not None:
            raise missing
    except OSError as error:
        _close(tuple(sockets))
        raise cannot_listen(error, config) from error
    return tuple(sockets)


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last connections still linger can be taken at once.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def _bind_path(path: Path, mode: int) -> tuple[socket.socket, tuple[int, int]]:
    """Bind a Unix socket, in the place of one that a killed server has left.

    Raises:
        CannotListen: something else is there, or the path is not possible.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # It has that mode from the first moment; a chmod could follow a link put in its place.
        before = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        return listening, _identity(path)
    except OSError as error:
        listening.close()
        # One that is too long has no number.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(f"Listening on {path} is not possible: {reason}.") from error
    except BaseException:
        listening.close()
        raise


def _remove_stale(path: Path) -> None:
    """Remove a socket on which nobody listens."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise CannotListen(f"{path} is there already, and is no socket; give another --unix.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A server whose queue is full keeps no other from finding out.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise CannotListen(f"Another server listens on {path}; give another --unix.")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def cannot_listen(error: OSError, config: ServeConfig) -> CannotListen:
    """Return the error that says why it is not possible, and what to do."""
    where = str(config.unix) if config.unix is not None else f"{config.host} port {config.port}"
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"{where} is in use; choose another with --port, or 0 for a free one.")
    reason = error.strerror or str(error)
    if error.errno is not None and error.errno > 0:
        # Else it is about a name that is not found. asyncio has a text of its own in `strerror`.
        reason = os.strerror(error.errno)
    advice = {
        errno.EACCES: "Choose a --port from 1024 on.",
        errno.EADDRNOTAVAIL: "Choose a --host that is an address of this machine.",
    }.get(error.errno or 0, "")
    return CannotListen(f"Listening on {where} is not possible: {reason}. {advice}".rstrip())
