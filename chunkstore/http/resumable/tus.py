"""Resumable uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload), at `/uploads`.

`EXTENSIONS` are the extensions that are supported. An upload becomes the file `filename` of its
Upload-Metadata, in the folder `folder`; the answer to the request that completes it has the file's
path in Content-Location.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core.conditional import format_http_date
from chunkstore.core.digest import ContentCheck
from chunkstore.core.errors import ContentMismatch, InvalidRequest, UploadCompleted
from chunkstore.core.names import parse_folder_name
from chunkstore.http.message.bodies import read_body, require_identity_coding, require_no_body
from chunkstore.http.message.headers import essence_of, parse_media_type
from chunkstore.http.message.problems import ChecksumMismatch, UnknownTusVersion, UnsupportedMedia
from chunkstore.http.message.request import base_of, client_of, conditions_of
from chunkstore.http.message.upload_urls import parse_upload_url, upload_path
from chunkstore.http.resumable.dialects import (
    TUS_PATCH,
    file_headers,
    parse_size,
    set_answer_headers,
    upload_id_of,
    while_connected,
)
from chunkstore.http.security.allowed_uploads import uploads_of
from chunkstore.http.security.told import is_dropped, tells_new
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.finish import nothing
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec

VERSION: Final = "1.0.0"
EXTENSIONS: Final = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,"
    "concatenation,concatenation-unfinished"
)
CHECKSUMS: Final = ("sha1", "sha256", "sha512", "md5")
_FINAL: Final = "final;"
_PARTIAL: Final = "partial"
_MAX_PARTS: Final = 1000


def options_headers(uploads: ResumableUploads) -> dict[str, str]:
    """Return the header fields of OPTIONS that advertise tus."""
    limit = uploads.limits.max_size
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        **({} if limit is None else {"Tus-Max-Size": str(limit)}),
    }


def _in_tus(handler: Handler) -> Handler:
    """Refuse other versions of tus, and name this one in every answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        set_answer_headers(request, {"Tus-Resumable": VERSION})
        if request.headers.get("Tus-Resumable") != VERSION:
            set_answer_headers(request, {"Tus-Version": VERSION})
            raise UnknownTusVersion
        return await handler(request)

    return answer


@_in_tus
async def create(request: web.Request) -> web.Response:
    """Create an upload; a body is its first bytes, or all of them."""
    require_identity_coding(request)
    uploads = uploads_of(request)
    spec = _spec_of(request)
    length = _new_length_of(request, spec.kind)
    with_body = essence_of(request) == TUS_PATCH
    if not with_body:
        require_no_body(request)
    elif spec.kind is UploadKind.CONCATENATION:
        raise InvalidRequest("A final upload has no bytes of its own.")
    checks = _checks_of(request) if with_body else []
    upload = await uploads.create(spec, length)
    set_answer_headers(request, {"Location": upload_path(request, upload.id)})
    if with_body:
        upload = await _append(request, upload.id, _upload_request_of(request, 0, checks))
    elif length == 0:
        empty = UploadRequest(0, Ending.AT_LENGTH)
        upload = await uploads.append(upload.id, empty, nothing())
    upload = await _finish(request, upload)
    headers = {**_progress_headers(request, upload)}
    if upload.spec.kind is UploadKind.CONCATENATION:
        headers.pop("Upload-Offset", None)
    return web.Response(status=HTTPStatus.CREATED, headers=headers)


@_in_tus
async def head(request: web.Request) -> web.Response:
    """Answer HEAD and GET of an upload with its offset."""
    work = uploads_of(request).acquire_and_get(upload_id_of(request))
    upload = await while_connected(request, work)
    headers = {**_progress_headers(request, upload), "Cache-Control": "no-store"}
    if upload.spec.metadata:
        headers["Upload-Metadata"] = upload.spec.metadata
    if upload.spec.kind is UploadKind.PART:
        headers["Upload-Concat"] = _PARTIAL
    if upload.spec.kind is UploadKind.CONCATENATION:
        parts = " ".join(upload_path(request, part) for part in upload.spec.parts)
        headers["Upload-Concat"] = _FINAL + parts
        if not upload.complete:
            del headers["Upload-Offset"]
    elif upload.length is None:
        headers["Upload-Defer-Length"] = "1"
    if upload.length is not None:
        headers["Upload-Length"] = str(upload.length)
    return web.Response(headers=headers)


@_in_tus
async def patch(request: web.Request) -> web.Response:
    """Append the body to an upload."""
    if essence_of(request) != TUS_PATCH:
        raise UnsupportedMedia(f"The body of PATCH must be {TUS_PATCH}.")
    require_identity_coding(request)
    if "Upload-Offset" not in request.headers:
        raise InvalidRequest("PATCH requires Upload-Offset.")
    offset = parse_size("Upload-Offset", request.headers["Upload-Offset"])
    upload_request = _upload_request_of(request, offset, _checks_of(request))
    upload = await _append(request, upload_id_of(request), upload_request)
    upload = await _finish(request, upload)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=_progress_headers(request, upload))


@_in_tus
async def delete(request: web.Request) -> web.Response:
    """Cancel an upload; if it is complete, its file stays."""
    require_no_body(request)
    await uploads_of(request).delete(upload_id_of(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _append(
    request: web.Request, upload_id: str, upload_request: UploadRequest
) -> ResumableUpload:
    body: AsyncIterable[bytes] = read_body(request)
    try:
        return await uploads_of(request).append(upload_id, upload_request, body)
    except ContentMismatch as error:
        raise ChecksumMismatch from error
    except UploadCompleted:
        upload = await uploads_of(request).acquire_and_get(upload_id)
        # An empty PATCH at the end comes from a client that lost the last answer.
        if upload_request.offset != upload.offset or request.content_length:
            raise
        return upload


async def _finish(request: web.Request, upload: ResumableUpload) -> ResumableUpload:
    """Finish an upload that is whole, or a concatenation whose parts may be."""
    uploads = uploads_of(request)
    if upload.whole or upload.spec.kind is UploadKind.CONCATENATION:
        committed = await while_connected(request, uploads.finish(upload.id))
        target = upload.spec.target
        is_told = target is not None and not is_dropped(request, target) and tells_new(request)
        if committed is not None and is_told:
            set_answer_headers(request, {"Upload-New-Size": str(committed.new_size)})
        return await uploads.get(upload.id)
    return upload


def _progress_headers(request: web.Request, upload: ResumableUpload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_http_date(upload.expires),
        **file_headers(request, upload),
    }


def _upload_request_of(
    request: web.Request, offset: int, checks: list[ContentCheck]
) -> UploadRequest:
    length = request.headers.get("Upload-Length")
    return UploadRequest(
        offset=offset,
        ending=Ending.AT_LENGTH,
        length=None if length is None else parse_size("Upload-Length", length),
        size=request.content_length,
        checks=checks,
        client=client_of(request),
    )


def _new_length_of(request: web.Request, kind: UploadKind) -> int | None:
    """Return the length of a new upload, None where a later request tells it."""
    length = request.headers.get("Upload-Length")
    deferred = request.headers.get("Upload-Defer-Length")
    if kind is UploadKind.CONCATENATION:
        if length is not None or deferred is not None:
            raise InvalidRequest("The length of a final upload is that of its parts.")
        return None
    if (length is None) == (deferred is None):
        raise InvalidRequest("Either Upload-Length or Upload-Defer-Length is required.")
    if deferred is not None and deferred.strip() != "1":
        raise InvalidRequest("Upload-Defer-Length can only be 1.")
    return None if length is None else parse_size("Upload-Length", length)


def _checks_of(request: web.Request) -> list[ContentCheck]:
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return []
    algorithm, _, encoded = header.strip().partition(" ")
    if algorithm not in CHECKSUMS:
        raise InvalidRequest(f"Upload-Checksum can be {', '.join(CHECKSUMS)} here.")
    return [ContentCheck(algorithm, _decode("Upload-Checksum", encoded.strip()))]


def _spec_of(request: web.Request) -> UploadSpec:
    header = request.headers.get("Upload-Metadata", "")
    metadata = parse_metadata(header)
    concat = request.headers.get("Upload-Concat", "").strip()
    if concat == _PARTIAL:
        return UploadSpec(UploadKind.PART, None, "", metadata=header)
    folder = parse_folder_name(metadata.get("folder", ""))
    name = base_of(request).file(folder + (metadata.get("filename") or metadata.get("name") or ""))
    kind, parts = UploadKind.FILE, []
    if concat:
        kind, parts = UploadKind.CONCATENATION, _parts_of(request, concat)
    return UploadSpec(
        kind=kind,
        target=name,
        media_type=parse_media_type(metadata.get("filetype") or metadata.get("type"), name),
        conditions=conditions_of(request),
        metadata=header,
        parts=parts,
    )


def _parts_of(request: web.Request, concat: str) -> list[str]:
    """Return the ids of the partial uploads that Upload-Concat lists, as URLs or paths."""
    urls = concat.removeprefix(_FINAL).split()
    if not concat.startswith(_FINAL) or not urls:
        raise InvalidRequest("Upload-Concat is `partial`, or `final;` and the URLs of the parts.")
    parts = [parse_upload_url(request.app, url) for url in urls]
    if len(parts) > _MAX_PARTS:
        raise InvalidRequest(f"An upload can have {_MAX_PARTS} parts at most.")
    if len(set(parts)) < len(parts):
        raise InvalidRequest("Upload-Concat lists a part twice.")
    return parts


def parse_metadata(header: str) -> dict[str, str]:
    """Return the keys and values of Upload-Metadata; a key without a value has an empty one.

    Raises:
        InvalidRequest: it breaks the grammar.
    """
    metadata: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else []:
        key, _, encoded = pair.strip().partition(" ")
        if not key or not key.isascii() or key in metadata:
            raise InvalidRequest("Each key of Upload-Metadata is ASCII and unique.")
        try:
            metadata[key] = _decode("Upload-Metadata", encoded.strip()).decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{key!r} in Upload-Metadata is not UTF-8.") from error
    return metadata


def _decode(field: str, encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except ValueError as error:  # also for what is not ASCII
        raise InvalidRequest(f"{field} is not in Base64.") from error
