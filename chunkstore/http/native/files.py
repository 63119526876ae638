"""`/files/{name}`: one file by RFC 9110; COPY and MOVE by RFC 4918 §9.8 and §9.9."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias

from aiohttp import hdrs, web
from multidict import istr

from chunkstore.core.conditional import (
    UNCONDITIONAL,
    Outcome,
    Validators,
    format_etag,
    format_http_date,
    if_range_holds,
)
from chunkstore.core.errors import InvalidName, NotFound, PreconditionFailed, TooLarge
from chunkstore.core.names import FileName, FolderName
from chunkstore.core.ranges import ByteRange, parse_range
from chunkstore.http.message.bodies import (
    read_body,
    require_no_body,
    send_content,
    send_multipart,
)
from chunkstore.http.message.destination import file_destination_of, overwrite_of
from chunkstore.http.message.file_upload import FileUpload, modified_of, read_file_upload
from chunkstore.http.message.headers import format_disposition
from chunkstore.http.message.request import (
    conditions_of,
    file_name_of,
    path_of,
    redirect_to_folder,
    service_of,
)
from chunkstore.http.native import folders
from chunkstore.http.runtime.exchange import FileResponse
from chunkstore.http.security.allowed import (
    Readable,
    folder_exists,
    may_read,
    names_of,
    open_file,
    readable,
)
from chunkstore.http.security.told import stored_response
from chunkstore.http.security.visits import check_shown, count_use
from chunkstore.service.hot_files import HotFiles
from chunkstore.service.room import NO_BOUND
from chunkstore.store.contract.edits import Copy, Delete, Move
from chunkstore.store.contract.values import Committed, File

# Bodies up to this size are sent before an answer could stop them.
_SENT_AT_ONCE: Final = 64 * 1024
# Files up to this size are loaded with their row and sent with the head of the answer. They are not
# counted in the memory budget, as the other buffers of a connection are not.
_INLINE: Final = 16 * 1024
# As RFC 9110 §8.8.3 spells it; aiohttp has `Etag`.
_ETAG: Final = istr("ETag")


class Prepared(NamedTuple):
    """A file as it was looked up, with what answers to GET and HEAD need of it each time.

    `headers` are those of an answer with content.
    """

    file: File
    validators: Validators
    headers: Mapping[str, str]

    @classmethod
    def of(cls, file: File) -> Prepared:
        """Return a file, prepared."""
        validators = file.validators
        headers = _validator_headers(validators)
        headers[hdrs.ACCEPT_RANGES] = "bytes"
        headers[hdrs.CONTENT_TYPE] = file.media_type
        headers[hdrs.CONTENT_DISPOSITION] = format_disposition(file.name, file.media_type)
        return cls(file, validators, headers)


Absent: TypeAlias = Callable[[web.Request, FileName], Awaitable[web.StreamResponse]]

HOT_FILES: Final[web.AppKey[HotFiles[Prepared]]] = web.AppKey("hot_files")


async def get(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD."""
    if not may_read(request):
        folder = FolderName(f"{file_name_of(request)}/")
        if await folder_exists(request, folder):
            return redirect_to_folder(request, folder)
    return await send(request, readable(request))


async def send(
    request: web.Request, name: Readable, absent: Absent | None = None
) -> web.StreamResponse:
    """Answer GET and HEAD of the file `name`, wherever the URL leads.

    Where there is none, `absent` answers, or else the folder of that name is redirected to.
    """
    hot_files = request.app[HOT_FILES]
    prepared = hot_files.find(name)
    # A part is read from the store, which takes a file that is pinned.
    if prepared is not None and "Range" not in request.headers:
        return await _answer(request, prepared)
    with hot_files.looking_up(name) as lookup:
        async with open_file(request, name, inline=_INLINE) as file:
            if file is None:
                return await (absent or _redirect_to_folder_named)(request, name)
            prepared = Prepared.of(file)
            if file.content is not None:
                lookup.keep(prepared, len(file.content))
            return await _answer(request, prepared)


async def _answer(request: web.Request, prepared: Prepared) -> web.StreamResponse:
    file = prepared.file
    check_shown(request, file.name, file)
    outcome = conditions_of(request).evaluate(prepared.validators)
    if outcome is Outcome.FAILED:
        raise PreconditionFailed
    if outcome is Outcome.NOT_MODIFIED:
        headers = _validator_headers(prepared.validators)
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    # An answer copies its header fields.
    if request.method == "HEAD":
        # Range is defined for GET only (RFC 9110 §14.2).
        response = web.StreamResponse(headers=prepared.headers)
        response.content_length = file.size
        return response
    if file.content is not None and "Range" not in request.headers:
        await count_use(request, from_start=True)
        return web.Response(body=file.content, headers=prepared.headers)
    return await _send(request, FileResponse(headers=prepared.headers), file)


async def _send(
    request: web.Request, response: web.StreamResponse, file: File
) -> web.StreamResponse:
    manifest = file.manifest
    service = service_of(request)
    ranges = None
    if if_range_holds(request.headers.get("If-Range"), file.validators):
        ranges = parse_range(",".join(request.headers.getall("Range", [])), manifest.size)
    first = 0 if ranges is None else min(bounds.start for bounds in ranges)
    await count_use(request, from_start=first == 0)
    if ranges is None:
        whole = ByteRange(0, manifest.size)
        return await send_content(request, response, service, manifest, whole)
    response.set_status(HTTPStatus.PARTIAL_CONTENT)
    if len(ranges) > 1:
        return await send_multipart(request, response, service, manifest, ranges, file.media_type)
    response.headers["Content-Range"] = ranges[0].to_header(manifest.size)
    return await send_content(request, response, service, manifest, ranges[0])


async def _redirect_to_folder_named(request: web.Request, name: FileName) -> web.Response:
    check_shown(request, name, None)
    folder = FolderName(name + "/")
    if not await folder_exists(request, folder):
        raise NotFound(f"There is no file {name!r}.")
    return redirect_to_folder(request, folder)


def _validator_headers(validators: Validators) -> dict[str, str]:
    return {
        _ETAG: format_etag(validators.etag),
        hdrs.LAST_MODIFIED: format_http_date(validators.modified),
        hdrs.CACHE_CONTROL: "no-cache",
    }


async def put(request: web.Request) -> web.Response:
    """Create or replace the file, whole or not at all."""
    incoming = read_file_upload(request)
    return stored_response(request, incoming.name, await store(request, incoming))


async def store(request: web.Request, incoming: FileUpload, *, strict: bool = False) -> Committed:
    """Store the request's body as the file that `incoming` describes, whole or not at all."""
    service = service_of(request)
    checks = [*incoming.content_checks(), *incoming.whole_checks()]
    _check_size(request.content_length, service.max_file_size)
    if incoming.conditions != UNCONDITIONAL or _waits_for_answer(request):
        # The edit decides; this spares the client sending a body in vain.
        size = request.content_length
        await names_of(request).check(incoming.name, incoming.conditions, size, strict=strict)
    # Who says how much will come is held to that.
    is_bounded = request.content_length is not None
    room = NO_BOUND if is_bounded else await names_of(request).room(incoming.name)
    async with service.receiving(checks, name=incoming.name, room=room) as receiver:
        await receiver.receive(read_body(request))
        put = receiver.put(incoming.name, incoming.media_type, incoming.conditions)
        put = replace(put, strict=strict, modified=incoming.modified)
        return await names_of(request).put(put)


def _check_size(size: int | None, limit: int | None) -> None:
    if size is not None and limit is not None and size > limit:
        raise TooLarge(f"The file has {size} bytes; this server accepts {limit}.")


def _waits_for_answer(request: web.Request) -> bool:
    """Whether an answer could come before all of the body has been sent."""
    size = request.content_length
    return "Expect" in request.headers or size is None or size > _SENT_AT_ONCE


async def delete(request: web.Request) -> web.Response:
    """Delete the file, or a folder named without its trailing slash (RFC 4918 §5.2)."""
    require_no_body(request)
    try:
        edit = Delete(file_name_of(request), conditions_of(request))
        await names_of(request).apply([edit])
    except NotFound:
        if await _is_folder(request):
            return await folders.delete(request)
        raise
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def copy_or_move(request: web.Request) -> web.Response:
    """Copy or move the file, or a folder named without its trailing slash."""
    require_no_body(request)
    try:
        return await _copy_or_move_file(request)
    except (NotFound, InvalidName):
        # InvalidName: the destination of a folder may have the trailing slash.
        if await _is_folder(request):
            return await folders.copy_or_move(request)
        raise


async def _is_folder(request: web.Request) -> bool:
    folder = FolderName(file_name_of(request) + "/")
    return await folder_exists(request, folder)


async def _copy_or_move_file(request: web.Request) -> web.Response:
    make = Copy if request.method == "COPY" else Move
    target = file_destination_of(request)
    edit = make(
        file_name_of(request),
        target,
        overwrite_of(request),
        conditions_of(request),
        modified=modified_of(request),
    )
    [applied] = await names_of(request).apply([edit])
    if applied.replaced:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    location = path_of(request, target)
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})
