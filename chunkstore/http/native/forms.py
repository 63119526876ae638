"""`POST /files/[{dir}/]`: HTML forms, which can send neither PUT nor DELETE."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from chunkstore.core.conditional import (
    CREATE_ONLY,
    UNCONDITIONAL,
    Conditions,
    parse_entity_tags,
)
from chunkstore.core.errors import ChunkstoreError, InvalidRequest, TooLarge
from chunkstore.core.names import FileName, FolderName, decode_path
from chunkstore.core.tasks import retrieve_exception
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.bodies import read_body, require_identity_coding
from chunkstore.http.message.headers import essence_of, parse_media_type, parse_parameters
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.problems import Busy, UnsupportedMedia, error_response
from chunkstore.http.message.request import base_of, folder_name_of, path_of, service_of
from chunkstore.http.native.buttons import press
from chunkstore.http.native.edit_lines import require_condition
from chunkstore.http.security.allowed import names_of
from chunkstore.http.security.told import described
from chunkstore.http.security.visits import page_after
from chunkstore.service.ingest import Receiver
from chunkstore.service.representations import Json
from chunkstore.service.resumable.append import run_to_end
from chunkstore.service.service import Service
from chunkstore.store.contract.edits import Put

MAX_FILES: Final = 1000
# Fields beside the files: an `if_match` for each, `overwrite`, inputs that were left empty.
_MAX_FIELDS: Final = 1000
_PART_MEMORY: Final = 8 * 1024
_MAX_FIELD_SIZE: Final = 8 * 1024
# Of one part. RFC 7578 has three header fields, one of which holds a file name.
_MAX_HEADERS: Final = 8
_MAX_HEADER_SIZE: Final = 4 * 1024
# Bytes outside of parts: before the first, behind the last, or of a head that does not end.
_MAX_UNUSED_SIZE: Final = 64 * 1024
# RFC 2046 §5.1.1.
_BOUNDARY: Final = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]", re.ASCII)
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# The alternatives within quotes exclude each other, or a hostile header could take exponential
# time. The last quote always closes, even behind a backslash: browsers do not escape backslashes.
_QUOTED: Final = r'"(?P<quoted>(?:[^"\\]|\\(?!")|\\"(?!\Z)|\\(?="\Z))*)"'
_TOKEN: Final = r'(?P<token>[^";\s]+)'
_PARAMETER: Final = re.compile(
    rf";[ \t]*(?P<key>[\w*]+)=(?:{_QUOTED}|{_TOKEN})", re.ASCII | re.DOTALL
)
# How many files of one form are stored at once.
_MOST_FLUSHES: Final = 8
_IF_MATCH: Final = "If-Match"
_NO: Final = frozenset({b"", b"0", b"f", b"false", b"n", b"no", b"off"})
_UTF_8: Final = "utf-8''"
_UTF_8_NAMES: Final = frozenset({b"utf-8", b"utf8", b"us-ascii"})
_BACKSLASHED: Final = re.compile(r'\\(["\\])')
_ESCAPES: Final = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class PartCount:
    """Counts the files of all forms that have not ended, of which there may be `most`.

    Each takes up to 8 KiB until its form ends, however small it is. Together they may take a
    quarter of the memory for file content, but always enough for one form.
    """

    def __init__(self, memory: int) -> None:
        self.most = max(MAX_FILES, memory // 4 // _PART_MEMORY)
        self._count = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one more within the context.

        Raises:
            Busy: there are `most` already.
        """
        if self._count >= self.most:
            raise Busy("Too many files are in forms at the moment; try again, or use PUT.")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


PARTS: Final = web.AppKey("parts", PartCount)


async def post(request: web.Request) -> web.Response:
    """Store the files of a form, or do what its button is for."""
    folder = folder_name_of(request)
    require_identity_coding(request)
    media_type = essence_of(request)
    if media_type == "multipart/form-data":
        return await _upload(request, folder)
    if media_type == "application/x-www-form-urlencoded":
        return await press(request, folder, await _read_limited(read_body(request)))
    raise UnsupportedMedia("A form is sent as multipart/form-data; PUT takes any media type.")


async def _upload(request: web.Request, folder: FolderName) -> web.Response:
    """Store every file of the form, all in one transaction; or tell the first that failed."""
    service = service_of(request)
    async with AsyncExitStack() as receivers:
        puts = await _receive_files(request, folder, service, receivers)
        if not puts:
            raise InvalidRequest("The form has no file in it.")
        try:
            committed = await names_of(request).apply(puts)
        except ChunkstoreError as error:
            if error.edit is None:
                raise
            return error_response(request, error, {"edit": error.edit})
    stored = [described(request, put.name, one) for put, one in zip(puts, committed, strict=True)]
    return _respond(request, folder, stored, created=any(not one.replaced for one in committed))


async def _receive_files(
    request: web.Request, folder: FolderName, service: Service, receivers: AsyncExitStack
) -> list[Put]:
    base, fields = base_of(request), _Fields()
    files: list[_ReceivedFile] = []
    async with aclosing(_events(request)) as events, _Flushing() as flushing:
        async for part in events:
            assert isinstance(part, MultipartSegment)
            head = _read_head(part)
            field, filename = _parse_disposition(head["Content-Disposition"])
            if filename is None:
                fields.take(field, await _read_limited(_pieces(events)))
            elif not filename:
                # A file input that was left empty.
                fields.conditions_of_next()
                await _read_limited(_pieces(events))
            else:
                if len(files) == MAX_FILES:
                    raise TooLarge(f"A form can have {MAX_FILES} files.")
                name = base.file(base.told(folder) + filename)
                media_type = _media_type_of(head, name)
                receivers.enter_context(request.app[PARTS].one_more())
                room = await names_of(request).room(name)
                receiving = service.receiving(name=name, room=room)
                receiver = await receivers.enter_async_context(receiving)
                await receiver.receive(_pieces(events))
                await flushing.begin(receiver)
                conditions = fields.conditions_of_next()
                files.append(_ReceivedFile(receiver, name, media_type, conditions))
            # One piece can hold hundreds of parts, and other requests wait for the event loop.
            await asyncio.sleep(0)
        await flushing.settle()
    return [file.put() for file in files]


def _media_type_of(head: Mapping[str, str], name: FileName) -> str:
    media_type = parse_media_type(head.get("Content-Type"), name)
    if media_type.lower().startswith("multipart/mixed"):
        # An obsolete way to send several files in one field (RFC 7578 §4.3).
        raise InvalidRequest("multipart/mixed in a form is not supported.")
    return media_type


class _Fields:
    """What the fields of a form say of the files behind them, which replace none by default.

    `overwrite` lets all of them replace others, unless it is a no. `if_match` has the next one
    replace the content that has this ETag, and no other, whatever `overwrite` says.
    """

    def __init__(self) -> None:
        self._of_all = CREATE_ONLY
        self._of_next: Conditions | None = None

    def take(self, name: str | None, value: bytes) -> None:
        """Take a field.

        Raises:
            InvalidRequest: its value cannot be what it is for.
        """
        match name:
            case "overwrite":
                self._of_all = CREATE_ONLY if value.strip().lower() in _NO else UNCONDITIONAL
            case "if_match":
                if self._of_next is not None:
                    raise InvalidRequest("Two fields `if_match` stand before one file.")
                field = value.decode("latin-1").strip()
                require_condition(_IF_MATCH, field)
                self._of_next = Conditions(if_match=parse_entity_tags(_IF_MATCH, [field]))
            case "_charset_":
                _require_utf8(value)

    def conditions_of_next(self) -> Conditions:
        """Return the conditions of the file that comes now."""
        conditions, self._of_next = self._of_next, None
        return self._of_all if conditions is None else conditions


@dataclass(frozen=True, slots=True)
class _ReceivedFile:
    """A file of a form whose bytes have come."""

    receiver: Receiver
    name: FileName
    media_type: str
    conditions: Conditions

    def put(self) -> Put:
        """Return the edit that makes it, once all of it is stored."""
        return self.receiver.put(self.name, self.media_type, self.conditions)


class _Flushing:
    """Stores what receivers have while the next files come, so that one transaction stores several.

    As a context it ends when nothing of that is under way.
    """

    def __init__(self) -> None:
        self._under_way: deque[asyncio.Task[None]] = deque()

    async def begin(self, receiver: Receiver) -> None:
        """Begin to store what a receiver has; raise what another failed with."""
        if len(self._under_way) >= _MOST_FLUSHES:
            await self._take()
        self._under_way.append(asyncio.create_task(receiver.flush()))

    async def settle(self) -> None:
        """Wait until all is stored; raise what one failed with."""
        while self._under_way:
            await self._take()

    async def _take(self) -> None:
        await asyncio.shield(self._under_way[0])
        self._under_way.popleft()

    async def __aenter__(self) -> _Flushing:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._under_way:
            # Receivers are closed after that, and each has one caller at a time.
            await run_to_end(_end_of(self._under_way))


async def _end_of(tasks: Collection[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
    for task in tasks:
        retrieve_exception(task)


async def _events(request: web.Request) -> AsyncGenerator[MultipartSegment | bytes | None, None]:
    """Yield each part, followed by the pieces of its content, and None at its end.

    Raises:
        InvalidRequest: the body is not a form; TooLarge: it has too many parts or header fields.
    """
    parser = PushMultipartParser(
        _boundary_of(request),
        max_header_size=_MAX_HEADER_SIZE,
        max_header_count=_MAX_HEADERS,
        max_segment_count=MAX_FILES + _MAX_FIELDS,
    )
    unused = 0
    try:
        async for piece in read_body(request):
            unused += len(piece)
            for event in parser.parse(piece):
                unused = 0
                yield event
            if unused > _MAX_UNUSED_SIZE:
                raise InvalidRequest("The form has too many bytes outside of its parts.")
        parser.close()
    except ParserLimitReached as error:
        raise TooLarge(
            f"A form can have {MAX_FILES + _MAX_FIELDS} parts, each with {_MAX_HEADERS} header"
            f" fields of {_MAX_HEADER_SIZE} bytes."
        ) from error
    except MultipartError as error:
        raise InvalidRequest("The form is malformed.") from error


def _boundary_of(request: web.Request) -> str:
    boundary = parse_parameters(request.headers["Content-Type"]).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("The form's Content-Type has no valid boundary.")
    return boundary


async def _pieces(
    events: AsyncIterator[MultipartSegment | bytes | None],
) -> AsyncIterator[bytes]:
    """Yield the content of the part that `events` has just yielded."""
    async for event in events:
        if event is None:
            return
        assert isinstance(event, bytes)
        yield event


def _read_head(part: MultipartSegment) -> dict[str, str]:
    """Return a part's header fields, whose names the parser has put into their usual case.

    Raises:
        InvalidRequest: a field comes twice, or has a control character.
    """
    fields: dict[str, str] = {}
    for name, value in part.headerlist:
        if name in fields or _CONTROL_CHARACTERS.search(value):
            raise InvalidRequest(f"A part of the form has a malformed {name}.")
        fields[name] = value
    return fields


def _require_utf8(value: bytes) -> None:
    """Refuse a form whose names are not in UTF-8 (RFC 7578 §4.6)."""
    if value.strip().lower() not in _UTF_8_NAMES:
        raise InvalidRequest("A form must be in UTF-8.")


async def _read_limited(pieces: AsyncIterator[bytes]) -> bytes:
    value = b""
    async for piece in pieces:
        value += piece
        if len(value) > _MAX_FIELD_SIZE:
            raise TooLarge(f"A field of the form has more than {_MAX_FIELD_SIZE} bytes.")
    return value


def _parse_disposition(header: str) -> tuple[str | None, str | None]:
    """Return a part's field name and file name, each None where it is absent.

    Browsers percent-encode quotes and line breaks, and nothing else; some clients put a backslash
    in front of quotes and backslashes instead (RFC 7578 §4.2 and its appendix A).
    """
    values: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        quoted = match["quoted"]
        value = match["token"] if quoted is None else _BACKSLASHED.sub(r"\1", quoted)
        values[match["key"].lower()] = value
    filename = values.get("filename")
    extended = values.get("filename*", "")
    if extended.lower().startswith(_UTF_8):
        # RFC 7578 §4.2 forbids filename*, but some clients send it.
        filename = decode_path(extended[len(_UTF_8) :])
    elif filename is not None:
        for escape, character in _ESCAPES.items():
            filename = filename.replace(escape, character)
    return values.get("name"), filename


def _respond(
    request: web.Request, folder: FolderName, stored: Sequence[Json], *, created: bool
) -> web.Response:
    if prefers_html(request):
        location = page_after(request, path_of(request, folder), len(stored))
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})
    return json_response(
        {"files": stored},
        status=HTTPStatus.CREATED if created else HTTPStatus.OK,
    )
