"""`POST /files/[{dir}/]`: what an HTML form can send, which knows neither PUT nor DELETE."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from aiohttp import BadContentDispositionHeader, BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from chunkstore.conditional import CREATE_ONLY, UNCONDITIONAL
from chunkstore.errors import InvalidRequest, TooLarge
from chunkstore.http.context import folder_name_of, path_of, service_of, store_of
from chunkstore.http.errors import UnsupportedMedia
from chunkstore.http.headers import parse_media_type
from chunkstore.http.negotiation import prefers_html
from chunkstore.http.presentation import describe_committed
from chunkstore.http.streaming import BodyWaits, invite_body, read_body, refuse_encoded_body
from chunkstore.names import FolderName, decode_path, parse_file_name
from chunkstore.service import Service
from chunkstore.store.base import Commit, Committed

MAX_PARTS: Final = 1000
_MAX_FIELD_SIZE: Final = 8 * 1024
_PIECE_SIZE: Final = 64 * 1024
_MALFORMED: Final = (
    ValueError,
    AssertionError,
    RuntimeError,
    BadContentDispositionHeader,
    HttpProcessingError,
)
# The alternatives within quotes exclude each other, or a hostile header would take for ever. The
# very last quote closes, also behind a backslash: browsers send backslashes as they are.
_QUOTED: Final = r'"(?P<quoted>(?:[^"\\]|\\(?!")|\\"(?!\Z)|\\(?="\Z))*)"'
_TOKEN: Final = r'(?P<token>[^";\s]+)'
_PARAMETER: Final = re.compile(
    rf";[ \t]*(?P<key>[\w*]+)=(?:{_QUOTED}|{_TOKEN})", re.ASCII | re.DOTALL
)
_NO: Final = frozenset({b"", b"0", b"f", b"false", b"n", b"no", b"off"})
_UTF_8: Final = "utf-8''"
_BACKSLASHED: Final = re.compile(r'\\(["\\])')
_ESCAPES: Final = {"%22": '"', "%0D": "\r", "%0A": "\n"}


async def post(request: web.Request) -> web.Response:
    """Store the files of a form, or carry out the form's `delete`."""
    folder = folder_name_of(request)
    refuse_encoded_body(request)
    if request.content_type == "multipart/form-data":
        return await _upload(request, folder)
    if request.content_type == "application/x-www-form-urlencoded":
        return await _delete(request, folder)
    raise UnsupportedMedia("A form is sent as multipart/form-data; PUT takes anything.")


async def _upload(request: web.Request, folder: FolderName) -> web.Response:
    """Store every file of the form, all in one transaction.

    A field `overwrite` before the files lets them replace others of their name, unless it says no.
    """
    await invite_body(request)
    service = service_of(request)
    async with AsyncExitStack() as receivers:
        commits = await _receive_files(request, folder, service, receivers)
        if not commits:
            raise InvalidRequest("The form has no file in it.")
        committed = await service.store.commit(commits)
    return _respond(request, folder, committed)


async def _receive_files(
    request: web.Request, folder: FolderName, service: Service, receivers: AsyncExitStack
) -> list[Commit]:
    conditions = CREATE_ONLY
    commits: list[Commit] = []
    waits = BodyWaits(request)
    async for part in _parts(request, waits):
        field, filename = _parse_disposition(part.headers.get("Content-Disposition", ""))
        if filename is None:
            value = await _read_limited(_pieces(part, waits))
            if field == "overwrite":
                conditions = CREATE_ONLY if value.strip().lower() in _NO else UNCONDITIONAL
        elif filename:
            name = parse_file_name(folder + filename)
            receiver = await receivers.enter_async_context(service.receiving())
            await receiver.receive(_pieces(part, waits))
            await receiver.flush()
            media_type = parse_media_type(part.headers.get("Content-Type"), name)
            commits.append(receiver.commit(name, media_type, conditions))
    return commits


async def _parts(request: web.Request, waits: BodyWaits) -> AsyncIterator[BodyPartReader]:
    with _malformed_refused():
        reader = await request.multipart()
    for _ in range(MAX_PARTS + 1):
        with _malformed_refused():
            async with waits.waiting():
                part = await reader.next()
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("A form within a form is not taken.")
        yield part
    raise TooLarge(f"A form can have {MAX_PARTS} parts.")


async def _pieces(part: BodyPartReader, waits: BodyWaits) -> AsyncIterator[bytes]:
    while True:
        with _malformed_refused():
            async with waits.waiting():
                piece = await part.read_chunk(_PIECE_SIZE)
        if not piece:
            return
        yield bytes(piece)


@contextmanager
def _malformed_refused() -> Iterator[None]:
    """Turn what aiohttp says of a malformed form, in several ways, into a refusal."""
    try:
        yield
    except _MALFORMED as error:
        raise InvalidRequest("The form is malformed.") from error


async def _read_limited(pieces: AsyncIterator[bytes]) -> bytes:
    value = b""
    async for piece in pieces:
        value += piece
        if len(value) > _MAX_FIELD_SIZE:
            raise TooLarge(f"A field of the form has more than {_MAX_FIELD_SIZE} bytes.")
    return value


def _parse_disposition(header: str) -> tuple[str | None, str | None]:
    """Return a part's field name and file name, each None where it is absent.

    The HTML standard escapes quotes and line breaks in percent, and nothing else; some clients
    put a backslash before quotes and backslashes instead (RFC 7578 §4.2 and its appendix A).
    """
    values: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        quoted = match["quoted"]
        value = match["token"] if quoted is None else _BACKSLASHED.sub(r"\1", quoted)
        values[match["key"].lower()] = value
    filename = values.get("filename")
    extended = values.get("filename*", "")
    if extended.lower().startswith(_UTF_8):
        # RFC 7578 §4.2 forbids this form; some clients send it all the same.
        filename = decode_path(extended[len(_UTF_8) :])
    elif filename is not None:
        for escape, character in _ESCAPES.items():
            filename = filename.replace(escape, character)
    return values.get("name"), filename


async def _delete(request: web.Request, folder: FolderName) -> web.Response:
    """Delete the file that the form names: what its button stands for without a script."""
    try:
        fields = parse_qs(
            (await _read_limited(read_body(request))).decode(),
            errors="strict",
            max_num_fields=MAX_PARTS,
        )
    except ValueError as error:
        raise InvalidRequest("The form is malformed.") from error
    if list(fields) != ["delete"] or len(fields["delete"]) != 1:
        raise InvalidRequest("The form has no field `delete` that names one file.")
    name = parse_file_name(fields["delete"][0])
    if not name.startswith(folder):
        raise InvalidRequest(f"{name!r} does not lie in {folder!r}, where the form was sent.")
    await store_of(request).delete_file(name)
    return _respond(request, folder, [])


def _respond(request: web.Request, folder: FolderName, committed: list[Committed]) -> web.Response:
    if prefers_html(request):
        location = path_of(request.app, folder)
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})
    created = any(not one.replaced for one in committed)
    return web.json_response(
        {"files": [describe_committed(one) for one in committed]},
        status=HTTPStatus.CREATED if created else HTTPStatus.OK,
    )
