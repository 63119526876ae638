"""Bodies that are short enough to be held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from chunkstore.core.errors import Crowded, InvalidRequest, TooLarge
from chunkstore.http.message.bodies import read_body
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.problems import UnsupportedMedia
from chunkstore.service.memory import Account

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_SHORT_SIZE: Final = 8 * 1024
_MAX_FIELDS: Final = 8
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


async def short_body(request: web.Request, what: str) -> bytes:
    """Read all of a request's body, which has so few bytes that none are reserved.

    Raises:
        TooLarge: it has more than 8 KiB; the message says so of `what`.
    """
    body = bytearray()
    async for piece in read_body(request):
        body += piece
        if len(body) > _MAX_SHORT_SIZE:
            raise TooLarge(f"{what} can have {_MAX_SHORT_SIZE} bytes.")
    return bytes(body)


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a short form, each once.

    Raises:
        UnsupportedMedia: it is none.
        TooLarge: it is longer.
        InvalidRequest: it is malformed.
    """
    if essence_of(request) != _FORM:
        raise UnsupportedMedia(f"The form is sent as {_FORM}.")
    body = await short_body(request, "The form")
    try:
        fields = parse_qs(body.decode(), errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequest("The form is malformed.") from error
    return {name: values[0] for name, values in fields.items()}
