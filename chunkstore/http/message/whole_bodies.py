"""Bodies that are short enough to be held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from chunkstore.core.errors import Crowded, TooLarge
from chunkstore.http.message.bodies import read_body
from chunkstore.service.memory import Account

# What a body is given at first, and whenever it has more.
_STEP_SIZE: Final = 16 * 1024


@asynccontextmanager
async def whole_body(
    request: web.Request, memory: Account, most: int, refusal: str
) -> AsyncIterator[bytes]:
    """Read all of a request's body, at most `most` bytes, which are reserved within the context.

    Raises:
        TooLarge: they are more; the message is `refusal`.
        Crowded: the client was slow while others waited for memory.
    """
    if (request.content_length or 0) > most:
        raise TooLarge(refusal)
    body = bytearray()
    reserved = await memory.reserve(_STEP_SIZE, _STEP_SIZE)
    try:
        async for piece in read_body(request):
            body += piece
            if len(body) > most:
                raise TooLarge(refusal)
            # An empty piece stands for a client that makes the server wait.
            if not piece and reserved.wanted:
                raise Crowded
            if len(body) > reserved.size:
                size = len(body) + _STEP_SIZE
                reserved = await memory.reserve(size, size, instead_of=reserved)
        yield bytes(body)
    finally:
        reserved.release()
