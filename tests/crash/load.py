"""Clients that load a server and keep account of what it owes them.

Each client has a folder of its own, so that it alone decides what must be there; what it shares
with the others are chunks and contents. It sends one operation after the other. An operation that
got no answer, or a 5xx, is in doubt: it may have happened, but whole or not at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

import aiohttp

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from tests.crash.operations import (
    CHUNK_SIZE,
    Batch,
    Copy,
    Files,
    Get,
    Move,
    Operation,
    Put,
    PutByList,
)
from tests.crash.pushing import Push, Refused
from tests.process import ServerProcess

_PIECE_SIZE = 16 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=120)

# What the kernel and aiohttp tell when the other side is gone in the middle of something.
BROKEN = (aiohttp.ClientError, ConnectionError)


@dataclass
class Figures:
    """What a test has been through."""

    rounds: int = 0
    kills: int = 0
    operations: int = 0
    acknowledged: int = 0
    refused: int = 0
    broken: int = 0

    def __str__(self) -> str:
        counts = {name.replace("_", " "): count for name, count in vars(self).items() if count}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    body: bytes


async def require_problem(response: aiohttp.ClientResponse) -> None:
    """Check that a response is a 5xx, and a problem document."""
    assert response.status >= HTTPStatus.INTERNAL_SERVER_ERROR, response
    assert response.content_type == "application/problem+json", response
    assert json.loads(await response.read())["status"] == response.status


class Moments:
    """Counts what happens on the wire; `reached` is set at the given one."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.reached = asyncio.Event()

    def tick(self) -> None:
        """Count one: a piece of a body is about to be sent, or an answer has come."""
        self._left -= 1
        if self._left <= 0:
            self.reached.set()


@dataclass
class Client:
    """One client: what its folder holds, and the operation in doubt if there is one."""

    folder: str
    figures: Figures
    files: Files = field(default_factory=dict)
    doubt: Operation | None = None

    async def perform(
        self, session: aiohttp.ClientSession, operation: Operation, tick: Callable[[], None]
    ) -> None:
        """Do one operation and check the answer.

        Raises:
            aiohttp.ClientError, ConnectionError: there was none.
        """
        self.doubt = operation
        self.figures.operations += 1
        try:
            answer = await self._send(session, operation, tick)
        except BROKEN:
            self.figures.broken += 1
            raise
        tick()
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.figures.refused += 1
            return
        self._acknowledge(operation, answer)

    def _acknowledge(self, operation: Operation, answer: Answer) -> None:
        assert answer.status == operation.status(self.files), (operation, answer)
        if isinstance(operation, Get) and answer.status == HTTPStatus.OK:
            assert answer.body == self.files[operation.name], operation.name
        self.figures.acknowledged += 1
        self.files, self.doubt = operation.applied(self.files), None

    async def _send(
        self, session: aiohttp.ClientSession, operation: Operation, tick: Callable[[], None]
    ) -> Answer:
        if isinstance(operation, Batch):
            return await self._send_batch(session, operation, tick)
        if isinstance(operation, PutByList):
            return await self._put_by_list(session, operation, tick)
        headers = {}
        body = None
        if isinstance(operation, Put):
            headers["Content-Length"] = str(len(operation.content))
            body = _pieces(operation.content, tick)
        if isinstance(operation, Copy | Move):
            headers["Destination"] = f"/files/{self.folder}/{operation.target}"
        path = f"files/{self.folder}/{operation.name}"
        return await _ask(session, operation.method, path, headers, body)

    async def _put_by_list(
        self, session: aiohttp.ClientSession, put: PutByList, tick: Callable[[], None]
    ) -> Answer:
        content = put.content
        chunks = [
            Chunk.of(content[start : start + CHUNK_SIZE])
            for start in range(0, len(content), CHUNK_SIZE)
        ]
        path = f"{self.folder}/{put.name}"
        try:
            return Answer(*await Push(session, path, chunks, partial(_pieces, tick=tick)).run())
        except Refused as refused:
            return Answer(refused.status, refused.body)

    async def _send_batch(
        self, session: aiohttp.ClientSession, batch: Batch, tick: Callable[[], None]
    ) -> Answer:
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Concat": "partial",
            "Upload-Length": str(len(batch.content)),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(batch.content)),
        }
        async with session.post(
            "uploads", headers=headers, data=_pieces(batch.content, tick)
        ) as response:
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                await require_problem(response)
                return Answer(response.status, b"")
            assert response.status == HTTPStatus.CREATED, await response.text()
            upload = response.headers["Location"]
        name, target = f"{self.folder}/{batch.name}", f"{self.folder}/{batch.target}"
        edits = (
            {"edit": "put", "name": name, "upload": upload},
            {"edit": "copy", "source": name, "target": target},
        )
        body = "".join(json.dumps(edit) + "\n" for edit in edits)
        return await _ask(session, "POST", "batch", {"Content-Type": "application/jsonl"}, body)

    async def verify(self, session: aiohttp.ClientSession) -> None:
        """Check that the folder holds what was acknowledged, byte for byte, and nothing else.

        An operation in doubt may have happened; from here on it has, or has not.
        """
        found = await read_folder(session, self.folder)
        possible = [self.files]
        if self.doubt is not None:
            possible.append(self.doubt.applied(self.files))
        if found not in possible:
            expected = " or ".join(_described(files) for files in possible)
            raise AssertionError(f"{self.folder}/ holds {_described(found)}, not {expected}")
        self.files, self.doubt = found, None


async def _ask(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: str | AsyncIterator[bytes] | None,
) -> Answer:
    async with session.request(method, path, headers=headers, data=body) as response:
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await require_problem(response)
        return Answer(response.status, await response.read())


async def read_folder(session: aiohttp.ClientSession, folder: str) -> Files:
    """Return every file of a folder; check what the list and the ETag say of it."""
    async with session.get(f"files/{folder}/", params={"delimiter": ""}) as response:
        if response.status == HTTPStatus.NOT_FOUND:
            return {}
        assert response.status == HTTPStatus.OK, await response.text()
        listed = (await response.json())["files"]
    files = {}
    for entry in listed:
        async with session.get(f"files/{entry['name']}") as response:
            content = await response.read()
            assert response.status == HTTPStatus.OK, content
            digest = response.headers["ETag"].strip('"')
        assert (entry["size"], entry["digest"]) == (len(content), digest)
        assert digest == str(Digest.of(content))
        files[entry["name"].removeprefix(f"{folder}/")] = content
    return files


@asynccontextmanager
async def session_with(server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """Offer a session whose requests have a connection each.

    On a connection that is used again, aiohttp repeats what got no answer.
    """
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(
        server.url, connector=connector, timeout=_TIMEOUT, headers={"Accept": "application/json"}
    ) as session:
        yield session


async def verify_all(session: aiohttp.ClientSession, clients: list[Client]) -> None:
    """Check every client's folder."""
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.verify(session))


async def _pieces(content: bytes, tick: Callable[[], None]) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE_SIZE):
        tick()
        yield content[start : start + _PIECE_SIZE]


def _described(files: Files) -> str:
    return str(
        {name: f"{len(content)}:{Digest.of(content)!s:.8}" for name, content in files.items()}
    )
