"""A file is put as who sends only what is missing, by requests as docs/sync.md has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import accumulate

import aiohttp

from chunkstore.core.chunk_lists import (
    DIGESTS,
    MANIFEST,
    format_digests,
    format_manifest,
    parse_list,
)
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import DEFAULT_COMPRESSION
from chunkstore.core.digest import Digest
from chunkstore.core.packs import PACK, Record

Pieces = Callable[[bytes], AsyncIterator[bytes]]


class Refused(Exception):
    """A request was answered by a 5xx."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Push:
    """Puts the file at `path` in `session`; `pieces` yields a body in pieces."""

    session: aiohttp.ClientSession
    path: str
    chunks: Sequence[Chunk]
    pieces: Pieces

    async def run(self) -> tuple[int, bytes]:
        """Return the status of the last answer, and its body.

        Raises:
            Refused: one was a 5xx.
            aiohttp.ClientError, ConnectionError: there was none.
        """
        _, _, headers = await self._ask("POST", f"manifests/{self.path}", HTTPStatus.CREATED)
        upload = headers["Location"].lstrip("/")
        missing, offset = await self._missing(), 0
        while True:
            new = [chunk for chunk in self.chunks if chunk.digest in missing]
            packs = (self._send(upload, pack) for pack in (new[::2], new[1::2]))
            for outcome in await asyncio.gather(*packs, return_exceptions=True):
                if outcome is not None:
                    raise outcome
            status, body, headers = await self._complete(upload, offset)
            if status != HTTPStatus.CONFLICT:
                return status, body
            # A collection has taken what was known; the entries before that are kept.
            assert b"chunks-missing" in body, body
            missing = {chunk.digest for chunk in self.chunks}
            offset = int(headers["Upload-Offset"])

    async def _missing(self) -> Collection[Digest]:
        digests = format_digests(chunk.digest for chunk in self.chunks)
        told = await self._ask("POST", "chunks/missing", HTTPStatus.OK, DIGESTS, digests)
        return {entry.digest for entry in parse_list(DIGESTS, told[1])}

    async def _send(self, upload: str, chunks: Sequence[Chunk]) -> None:
        records = (
            Record(chunk.digest, chunk.size, DEFAULT_COMPRESSION.encode(chunk.content))
            for chunk in chunks
        )
        pack = b"".join(record.to_bytes() for record in records)
        await self._ask("POST", f"{upload}/chunks", HTTPStatus.OK, PACK, pack)

    async def _complete(self, upload: str, offset: int) -> tuple[int, bytes, Mapping[str, str]]:
        """Send the entries from an offset on, which is one at which a chunk begins."""
        starts = accumulate((chunk.size for chunk in self.chunks), initial=0)
        entries = format_manifest(
            (chunk.digest, chunk.size)
            for start, chunk in zip(starts, self.chunks, strict=False)
            if start >= offset
        )
        fields = {"Upload-Offset": str(offset), "Upload-Complete": "?1"}
        return await self._ask("PATCH", upload, None, MANIFEST, entries, fields)

    async def _ask(
        self,
        method: str,
        path: str,
        expected: HTTPStatus | None,
        media_type: str | None = None,
        body: bytes = b"",
        fields: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a request; return the status, the body and the header fields of the answer."""
        headers = {**(fields or {})}
        if media_type is not None:
            headers |= {"Content-Type": media_type, "Content-Length": str(len(body))}
        data = None if media_type is None else self.pieces(body)
        async with self.session.request(method, path, headers=headers, data=data) as response:
            told = await response.read()
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                assert response.content_type == "application/problem+json", response
                raise Refused(response.status, told)
            assert expected in (None, response.status), (response, told)
            return response.status, told, response.headers
