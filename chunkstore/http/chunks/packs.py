"""`/packs/{name}`: chunks of a file, as they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import hdrs, web

from chunkstore.core.chunk_lists import TEXT
from chunkstore.core.conditional import Outcome, format_etag
from chunkstore.core.errors import InvalidRequest, NotFound, PreconditionFailed
from chunkstore.core.packs import PACK
from chunkstore.core.ranges import ByteRange, parse_spans
from chunkstore.http.chunks.lists import form_of
from chunkstore.http.chunks.sending import WindowSender
from chunkstore.http.message.request import conditions_of, service_of
from chunkstore.http.message.whole_bodies import whole_body
from chunkstore.http.runtime.exchange import FileResponse
from chunkstore.http.security.allowed import open_file, readable
from chunkstore.service.chunks.kept import KeptReader
from chunkstore.service.resumable.packs import MAX_DIGESTS
from chunkstore.store.contract.values import File

# So long is a range with its separator, of the largest offsets that there can be.
_LONGEST_RANGE: Final = 40
_MAX_BODY: Final = MAX_DIGESTS * _LONGEST_RANGE


async def get(request: web.Request) -> web.StreamResponse:
    """Answer with the chunks that have a byte in one of the ranges of the query."""
    ranges = request.query.get("ranges")
    if ranges is None:
        raise InvalidRequest("The query is ?ranges=FIRST-LAST,FIRST-LAST, in bytes.")
    return await _answer(request, ranges)


async def post(request: web.Request) -> web.StreamResponse:
    """Answer likewise, with the ranges in the body."""
    form_of(request, (TEXT,))
    return await _answer(request, await _read_text(request))


async def _answer(request: web.Request, text: str) -> web.StreamResponse:
    name = readable(request)
    async with open_file(request, name) as file:
        if file is None:
            raise NotFound(f"There is no file {name!r}.")
        if conditions_of(request).evaluate(file.validators) is Outcome.FAILED:
            raise PreconditionFailed
        try:
            # Elsewhere, because there can be many.
            ranges = await asyncio.to_thread(parse_spans, text, file.size, MAX_DIGESTS)
        except ValueError as error:
            raise InvalidRequest(f"The ranges are malformed: {error}.") from error
        return await _send(request, file, ranges)


async def _send(
    request: web.Request, file: File, ranges: Sequence[ByteRange]
) -> web.StreamResponse:
    service = service_of(request)
    reader = KeptReader(service.store.chunks, service.download_memory, file.manifest, ranges)
    response = FileResponse(
        headers={
            hdrs.CONTENT_TYPE: PACK,
            "ETag": format_etag(file.etag),
            hdrs.CACHE_CONTROL: "no-store",
        }
    )
    if request.method == "HEAD":
        return response
    return await WindowSender(request, response).send(reader)


async def _read_text(request: web.Request) -> str:
    """Read the ranges of the body, whose bytes are reserved until they have come.

    Raises:
        TooLarge: they are more than there may be. Crowded: the client was slow while others waited.
        InvalidRequest: they are not in ASCII.
    """
    refusal = f"There can be {MAX_DIGESTS} ranges."
    memory = service_of(request).upload_memory
    async with whole_body(request, memory, _MAX_BODY, refusal) as body:
        try:
            return body.decode("ascii")
        except UnicodeDecodeError as error:
            raise InvalidRequest("The ranges are malformed: they are not in ASCII.") from error
