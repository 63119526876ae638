"""The control socket: commands for the process that has an SQLite database open.

One process writes such a database, so who may do what is changed by that process, when the command
line asks it to: by a socket beside the database, which only the user can connect to that the server
runs as. A request is a line, `{"command": …, "arguments": {…}}`, and so is the answer,
`{"result": …}` or `{"error": …, "kind": …}`; then the connection ends. Behind the line of some
commands comes a content, in frames: each begins with its size in four bytes, and an empty one is
the end. What breaks off before that is no content.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    InvalidRequest,
    Locked,
    NameConflict,
    StoreError,
)

_SUFFIX: Final = "-control"
_PRIVATE_MASK: Final = 0o177
_LONGEST_LINE: Final = 256 * 1024
_LONGEST_FRAME: Final = 1024 * 1024
_FRAME: Final = struct.Struct(">I")
_LONGEST_ANSWER: Final = 256 * 1024 * 1024
_REQUEST_SECONDS: Final = 10.0
# The longest path that the address of a socket has room for, on Linux.
_LONGEST_PATH: Final = 107
# struct ucred of Linux: pid, uid, gid.
_CREDENTIALS: Final = struct.Struct("3i")

# After so long without a byte, a content gives the memory back that others wait for.
_PATIENCE_SECONDS: Final = 1.0
# Errors that whoever asks tells apart.
_KINDS: Final[Mapping[str, Callable[[str], ChunkstoreError]]] = {
    AlreadyExists.__name__: AlreadyExists,
    NameConflict.__name__: NameConflict,
    Locked.__name__: partial(Locked, ()),
}

# A command, its arguments, and the content behind it.
Run = Callable[[str, Mapping[str, Any], AsyncIterator[bytes]], Awaitable[Any]]

_logger = logging.getLogger(__name__)


class NobodyControls(Exception):
    """No server has the database open, or none that takes commands."""


def control_path(database: Path) -> Path:
    """Return where the control socket of a database is."""
    resolved = database.resolve()
    return resolved.with_name(resolved.name + _SUFFIX)


@asynccontextmanager
async def controlled(database: Path, run: Run) -> AsyncIterator[None]:
    """Take commands for the time of the context; the caller has the database to itself.

    Where no socket is possible, a line in the log says so, and nothing else is missing.
    """
    path = await asyncio.to_thread(control_path, database)
    try:
        listening = await asyncio.to_thread(_bind, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        _logger.warning("Commands cannot reach this server by %s: %s.", path, reason)
        yield
        return
    identity = await asyncio.to_thread(_identity, path)
    answering = set[asyncio.Task[None]]()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_answer(reader, writer, run))
        answering.add(task)
        task.add_done_callback(answering.discard)

    server = await asyncio.start_unix_server(connected, sock=listening, limit=_LONGEST_LINE)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            if await asyncio.to_thread(_identity, path) == identity:
                await asyncio.to_thread(path.unlink)
        # What was begun is made, or not at all; nobody waits for a client that says nothing.
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


async def is_controlled(database: Path) -> bool:
    """Whether a server has the database open that takes commands.

    Raises:
        ChunkstoreError: only another user may ask.
    """
    try:
        _, writer = await _connect(database)
    except NobodyControls:
        return False
    writer.close()
    return True


async def ask(
    database: Path,
    command: str,
    arguments: Mapping[str, Any],
    content: AsyncIterable[bytes] | None = None,
) -> Any:  # noqa: ANN401 - JSON
    """Have the server run a command that has the database open, and return its result.

    Raises:
        NobodyControls: there is none.
        ChunkstoreError: what the command fails with, or that only another user may ask.
    """
    reader, writer = await _connect(database)
    answering = asyncio.create_task(reader.readline())
    try:
        writer.write(_to_line({"command": command, "arguments": arguments}))
        await writer.drain()
        if content is not None:
            await _send(content, writer, answering)
        line = await answering
    except OSError as error:
        raise StoreError("The server ended before it answered; look what holds.") from error
    finally:
        answering.cancel()
        writer.close()
    if not line:
        raise StoreError("The server did not answer: it has ended, or you may not ask it.")
    answer = json.loads(line)
    if "error" in answer:
        raise _KINDS.get(answer.get("kind"), ChunkstoreError)(answer["error"])
    return answer["result"]


async def _send(
    content: AsyncIterable[bytes], writer: asyncio.StreamWriter, answering: asyncio.Task[bytes]
) -> None:
    """Send a content, as far as the server wants it, which answers early where it fails."""
    async for piece in content:
        for start in range(0, len(piece), _LONGEST_FRAME):
            await _send_frame(memoryview(piece)[start : start + _LONGEST_FRAME], writer)
        if answering.done():
            return
    await _send_frame(memoryview(b""), writer)


async def _send_frame(frame: memoryview, writer: asyncio.StreamWriter) -> None:
    # Why the server takes no more is in its answer, or there is none.
    with suppress(OSError):
        writer.write(_FRAME.pack(len(frame)))
        writer.write(frame)
        await writer.drain()


async def _connect(database: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the server that has the database open.

    Raises:
        NobodyControls: there is none.
        ChunkstoreError: only another user may ask.
    """
    path = await asyncio.to_thread(control_path, database)
    try:
        with _address_of(path) as address:
            return await asyncio.open_unix_connection(address, limit=_LONGEST_ANSWER)
    except PermissionError as error:
        raise ChunkstoreError(
            f"{path} belongs to the user that the server runs as: be that one, or root."
        ) from error
    except OSError as error:
        raise NobodyControls from error


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, run: Run) -> None:
    try:
        if not _may_ask(writer):
            return
        async with asyncio.timeout(_REQUEST_SECONDS):
            line = await reader.readline()
        async with aclosing(_frames(reader)) as content:
            outcome = await _outcome(line, run, content)
        writer.write(_to_line(outcome))
        await writer.drain()
        # What is not read any more would break off the connection, and the answer with it.
        async with asyncio.timeout(_REQUEST_SECONDS):
            while await reader.read(_LONGEST_LINE):
                pass
    except (OSError, ValueError, TimeoutError) as error:
        _logger.debug("A command was broken off: %s", error)
    finally:
        writer.close()


async def _frames(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield a content, and an empty piece whenever none has come for a while.

    Raises:
        InvalidRequest: it breaks off, or is malformed.
    """
    reading: asyncio.Task[bytes] | None = None
    try:
        while True:
            reading = asyncio.create_task(_read_frame(reader))
            while not (await asyncio.wait({reading}, timeout=_PATIENCE_SECONDS))[0]:
                yield b""
            frame = reading.result()
            if not frame:
                return
            yield frame
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    try:
        [size] = _FRAME.unpack(await reader.readexactly(_FRAME.size))
        if size <= _LONGEST_FRAME:
            return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise InvalidRequest("The content broke off.") from error
    raise InvalidRequest("A piece of the content is too large.")


async def _outcome(line: bytes, run: Run, content: AsyncIterator[bytes]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        command, arguments = request["command"], request["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError):
        command = arguments = None
    if not isinstance(command, str) or not isinstance(arguments, dict):
        return {"error": "The request cannot be understood."}
    try:
        return {"result": await run(command, arguments, content)}
    except ChunkstoreError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception:
        _logger.exception("The command %r failed.", command)
        return {"error": "The command failed; the server's log says why."}


def _may_ask(writer: asyncio.StreamWriter) -> bool:
    """Whether it is this user or root that asks, where the system tells.

    Elsewhere the socket's mode alone keeps others out.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    transport = writer.get_extra_info("socket")
    # A duplicate, because uvloop's socket objects lack methods.
    with socket.socket(fileno=os.dup(transport.fileno())) as peer:
        credentials = peer.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return user in (0, os.geteuid())


def _bind(path: Path) -> socket.socket:
    """Bind the socket, in the place of one that a killed server has left.

    Raises:
        OSError: that is not possible; also if what is there is no socket.
    """
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(_PRIVATE_MASK)
    try:
        with _address_of(path) as address:
            listening.bind(address)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


@contextmanager
def _address_of(path: Path) -> Iterator[str]:
    """Return an address of a path, however long that is."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _to_line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
