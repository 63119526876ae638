"""`/manifests/{name}`: the list of a file's chunks, and files made from one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from chunkstore.core.chunk_lists import (
    ENTRY_SIZE,
    MANIFEST,
    TEXT,
    ListEntry,
    format_manifest,
    format_text,
)
from chunkstore.core.chunking import KnownChunk
from chunkstore.core.conditional import (
    Outcome,
    Validators,
    format_etag,
    format_http_date,
    if_range_holds,
)
from chunkstore.core.errors import NotFound, PreconditionFailed
from chunkstore.core.ranges import ByteRange, parse_range
from chunkstore.http.chunks.lists import bases_of, form_of, read_list
from chunkstore.http.chunks.sending import WindowSender
from chunkstore.http.chunks.uploads import answer_when_finished
from chunkstore.http.message.bodies import require_no_body, require_whole_put
from chunkstore.http.message.headers import parse_digests, parse_media_type
from chunkstore.http.message.negotiation import prefers_text
from chunkstore.http.message.request import (
    conditions_of,
    file_name_of,
    service_of,
)
from chunkstore.http.message.upload_urls import upload_path
from chunkstore.http.resumable.dialects import parse_size
from chunkstore.http.resumable.ietf import set_limit_headers
from chunkstore.http.runtime.exchange import FileResponse
from chunkstore.http.security.allowed import open_file, readable
from chunkstore.http.security.allowed_uploads import uploads_of
from chunkstore.http.security.told import stored_response
from chunkstore.service.chunks.entries import ListReader
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec
from chunkstore.store.contract.values import File

_AS_TEXT: Final = "-t"


async def get(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD with the manifest, as entries or as text."""
    name = readable(request)
    async with open_file(request, name) as file:
        if file is None:
            raise NotFound(f"There is no file {name!r}.")
        return await _answer(request, file, as_text=prefers_text(request, MANIFEST))


async def _answer(request: web.Request, file: File, *, as_text: bool) -> web.StreamResponse:
    etag = file.etag + (_AS_TEXT if as_text else "")
    validators = Validators(etag, file.modified)
    headers = {
        "ETag": format_etag(etag),
        hdrs.LAST_MODIFIED: format_http_date(file.modified),
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: "Accept",
    }
    outcome = conditions_of(request).evaluate(validators)
    if outcome is Outcome.FAILED:
        raise PreconditionFailed
    if outcome is Outcome.NOT_MODIFIED:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Size"] = str(file.size)
    headers[hdrs.CONTENT_TYPE] = f"{TEXT}; charset=utf-8" if as_text else MANIFEST
    response = FileResponse(headers=headers)
    response.headers[hdrs.ACCEPT_RANGES] = "none" if as_text else "bytes"
    # How long it is as text is not known before.
    bounds = ByteRange(0, sys.maxsize)
    if not as_text:
        bounds = _bounds_of(request, response, file, validators)
    if request.method == "HEAD":
        return response
    service = service_of(request)
    to_bytes = _to_text if as_text else _to_entries
    memory = service.download_memory
    reader = ListReader(service.store.chunks, memory, file.manifest, to_bytes, bounds)
    return await WindowSender(request, response).send(reader)


def _bounds_of(
    request: web.Request, response: web.StreamResponse, file: File, validators: Validators
) -> ByteRange:
    """Return which bytes of the entries are asked for, and have the answer say so."""
    size = file.chunk_count * ENTRY_SIZE
    response.content_length = size
    # Range is defined for GET only (RFC 9110 §14.2).
    if request.method == "HEAD" or not if_range_holds(request.headers.get("If-Range"), validators):
        return ByteRange(0, size)
    ranges = parse_range(",".join(request.headers.getall("Range", [])), size)
    # Several are more than anybody needs of a list; a server may ignore them (§14.2).
    if ranges is None or len(ranges) > 1:
        return ByteRange(0, size)
    response.set_status(HTTPStatus.PARTIAL_CONTENT)
    response.headers[hdrs.CONTENT_RANGE] = ranges[0].to_header(size)
    response.content_length = len(ranges[0])
    return ranges[0]


def _to_entries(page: Sequence[KnownChunk]) -> bytes:
    return format_manifest((entry.digest, entry.size) for entry in page)


def _to_text(page: Sequence[KnownChunk]) -> bytes:
    return format_text([ListEntry(entry.digest, entry.size) for entry in page])


async def put(request: web.Request) -> web.Response:
    """Make the file from the list in the body, if all chunks are there."""
    require_whole_put(request)
    spec = _spec_of(request)
    entries = await read_list(request, form_of(request))
    made = await uploads_of(request).put_by_list(spec, entries)
    if isinstance(made, ResumableUpload):
        location = {"Location": upload_path(request, made.id)}
        return await answer_when_finished(request, made.id, location)
    assert spec.target is not None
    return stored_response(request, spec.target, made)


async def post(request: web.Request) -> web.Response:
    """Begin an upload of the file, to be sent chunks and then their list."""
    require_no_body(request)
    length = request.headers.get("Upload-Length")
    size = None if length is None else parse_size("Upload-Length", length)
    upload = await uploads_of(request).create(_spec_of(request), size)
    set_limit_headers(request, upload)
    headers = {"Location": upload_path(request, upload.id)}
    return web.Response(status=HTTPStatus.CREATED, headers=headers)


def _spec_of(request: web.Request) -> UploadSpec:
    name = file_name_of(request)
    return UploadSpec(
        kind=UploadKind.FILE,
        target=name,
        media_type=parse_media_type(request.headers.get("File-Type"), name),
        conditions=conditions_of(request),
        checks=parse_digests(request.headers.getall("Repr-Digest", [])),
        bases=bases_of(request),
    )
