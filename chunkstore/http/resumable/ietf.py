"""Resumable uploads as the IETF drafts them: draft-ietf-httpbis-resumable-upload.

A PUT (or POST) of a file with Upload-Complete begins an upload. Interop versions 5 to 9 of the
draft are supported. Interim answers (104, §5), which tell a client of its upload while it still
sends, go only to clients that name their version. Section numbers are those of draft 12.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web

from chunkstore.core.digest import ContentCheck
from chunkstore.core.errors import (
    ChunkstoreError,
    InconsistentLength,
    InvalidRequest,
    StoreUnavailable,
)
from chunkstore.http.answers.documents import RETRY_AFTER_SECONDS
from chunkstore.http.message.bodies import read_body, require_identity_coding, require_no_body
from chunkstore.http.message.file_upload import read_file_upload
from chunkstore.http.message.headers import essence_of, parse_digests
from chunkstore.http.message.problems import UnsupportedMedia
from chunkstore.http.message.request import UPLOADS, client_of
from chunkstore.http.message.upload_urls import upload_path
from chunkstore.http.resumable.dialects import (
    PARTIAL_UPLOAD,
    TUS_PATCH,
    file_headers,
    finished_in_time,
    set_answer_headers,
    upload_id_of,
    while_connected,
)
from chunkstore.http.resumable.structured import boolean_of, format_boolean, integer_of
from chunkstore.http.runtime.exchange import send_interim
from chunkstore.http.security.allowed_uploads import uploads_of
from chunkstore.http.security.told import stored_response
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec

# The draft's own text names 8 still; clients of draft 12 name 9. Nothing breaks between the two.
_VERSIONS: Final = frozenset({5, 6, 7, 8, 9})
# Until then, PATCH needed no media type of its own.
_UNTYPED_VERSION: Final = 5
# Until then, what is `max-age` now was called `expires`.
_EXPIRES_VERSION: Final = 6
_MAX_AGE: Final = {_EXPIRES_VERSION: "expires"}


def is_wanted(request: web.Request) -> bool:
    """Whether a PUT begins a resumable upload (§4.2.2).

    A PUT of the whole file is made resumable only if the client understands interim answers: no
    other would learn the upload's URL in time.
    """
    complete = boolean_of(request, "Upload-Complete")
    return complete is False or (complete is True and _version_of(request) is not None)


def options_headers(uploads: ResumableUploads) -> dict[str, str]:
    """Return the header fields of OPTIONS that advertise resumable uploads (§4.1.4)."""
    return {
        "Accept-Patch": f"{PARTIAL_UPLOAD}, {TUS_PATCH}",
        "Upload-Limit": _format_limits(uploads, uploads.limits.expiry_seconds, None),
    }


async def create(request: web.Request) -> web.Response:
    """Create an upload of a file; the body is its first bytes, or all of them (§4.2)."""
    incoming = read_file_upload(request)
    complete = boolean_of(request, "Upload-Complete")
    if complete is None:
        raise InvalidRequest(
            "A resumable upload requires Upload-Complete; forms are sent to folders."
        )
    spec = UploadSpec(
        kind=UploadKind.FILE,
        target=incoming.name,
        media_type=incoming.media_type,
        conditions=incoming.conditions,
        checks=incoming.whole_digests,
        metadata=request.headers.get("Upload-Metadata", ""),
    )
    upload_request = _upload_request_of(request, 0, incoming.content_checks(), complete=complete)
    set_limit_headers(request)
    upload = await uploads_of(request).create(spec, upload_request.length)
    location = upload_path(request, upload.id)
    set_answer_headers(request, {"Location": location})
    await _send_104(request, {"Location": location, **_limit_headers(request, upload)})
    return await _append(request, upload.id, upload_request, HTTPStatus.CREATED)


async def head(request: web.Request) -> web.Response:
    """Answer HEAD and GET of an upload with its offset (§4.3)."""
    if (
        integer_of(request, "Upload-Offset") is not None
        or boolean_of(request, "Upload-Complete") is not None
    ):
        raise InvalidRequest("Upload-Offset and Upload-Complete are fields of the answer here.")
    upload_id = upload_id_of(request)
    async with _state_on_error(request, upload_id):
        upload = await _acquire(request, upload_id)
    set_limit_headers(request, upload)
    headers = {
        "Upload-Offset": str(upload.offset),
        "Upload-Complete": format_boolean(upload.complete),
        "Cache-Control": "no-store",
        **file_headers(request, upload),
    }
    if upload.length is not None:
        headers["Upload-Length"] = str(upload.length)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


async def _acquire(request: web.Request, upload_id: str) -> ResumableUpload:
    """Return the upload at an offset that holds, complete if it is within some seconds."""
    uploads = uploads_of(request)
    upload = await finished_in_time(request, uploads.acquire_and_get(upload_id))
    if upload is not None:
        return upload
    set_answer_headers(request, {"Retry-After": RETRY_AFTER_SECONDS})
    return await uploads.get(upload_id)


async def patch(request: web.Request) -> web.Response:
    """Append the body to an upload (§4.4)."""
    set_limit_headers(request)
    upload_id = upload_id_of(request)
    async with _state_on_error(request, upload_id):
        upload_request = _read_upload_request(request)
    return await _append(request, upload_id, upload_request, HTTPStatus.NO_CONTENT)


async def delete(request: web.Request) -> web.Response:
    """Cancel an upload (§4.5); if it is complete, its file stays."""
    require_no_body(request)
    await uploads_of(request).delete(upload_id_of(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _read_upload_request(request: web.Request) -> UploadRequest:
    """Read the headers of a PATCH."""
    if essence_of(request) != PARTIAL_UPLOAD and _version_of(request) != _UNTYPED_VERSION:
        set_answer_headers(request, {"Accept-Patch": f"{PARTIAL_UPLOAD}, {TUS_PATCH}"})
        raise UnsupportedMedia(f"The body of PATCH must be {PARTIAL_UPLOAD}.")
    require_identity_coding(request)
    offset, complete = integer_of(request, "Upload-Offset"), boolean_of(request, "Upload-Complete")
    if offset is None or complete is None:
        raise InvalidRequest("PATCH requires Upload-Offset and Upload-Complete.")
    digests = parse_digests(request.headers.getall("Content-Digest", []))
    checks = [ContentCheck(*digest) for digest in digests.items()]
    return _upload_request_of(request, offset, checks, complete=complete)


async def _append(
    request: web.Request, upload_id: str, upload_request: UploadRequest, status: HTTPStatus
) -> web.Response:
    """Append the body and answer with `status`, or as PUT does if the upload is whole (§4.4.2)."""
    uploads = uploads_of(request)
    committed = None
    async with _state_on_error(request, upload_id):
        upload = await uploads.append(upload_id, upload_request, read_body(request))
        if upload.whole:
            committed = await while_connected(request, uploads.finish(upload_id))
    set_answer_headers(request, {"Upload-Offset": str(upload.offset)})
    set_answer_headers(request, {"Upload-Complete": format_boolean(upload.whole)})
    if not upload.whole:
        set_limit_headers(request, upload)
        return web.Response(status=status)
    upload = await uploads.get(upload_id)
    set_answer_headers(request, file_headers(request, upload))
    if committed is None:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    assert upload.spec.target is not None
    return stored_response(request, upload.spec.target, committed)


@asynccontextmanager
async def _state_on_error(request: web.Request, upload_id: str) -> AsyncIterator[None]:
    """Add the state of the upload to the answer of an error raised within the context.

    Upload-Complete is true only if the upload is whole and has failed (§4.1.2): then it is no use
    to go on with it.
    """
    try:
        yield
    except StoreUnavailable:
        set_answer_headers(request, {"Upload-Complete": format_boolean(False)})
        raise
    except ChunkstoreError:
        upload = await uploads_of(request).find(upload_id)
        if upload is not None:
            refused = upload.whole and upload.failure is not None
            set_answer_headers(request, {"Upload-Offset": str(upload.offset)})
            set_answer_headers(request, {"Upload-Complete": format_boolean(refused)})
        raise


def _upload_request_of(
    request: web.Request, offset: int, checks: list[ContentCheck], *, complete: bool
) -> UploadRequest:
    """Return what the request appends; Upload-Length must agree with the body (§4.1.3)."""
    length, size = integer_of(request, "Upload-Length"), request.content_length
    if complete and size is not None:
        if length not in (None, offset + size):
            set_answer_headers(request, {"Upload-Complete": format_boolean(False)})
            raise InconsistentLength("Upload-Length and the end of the body differ.")
        length = offset + size
    return UploadRequest(
        offset=offset,
        ending=Ending.WITH_BODY if complete else Ending.LATER,
        length=length,
        size=size,
        checks=checks,
        on_progress=partial(_send_offset, request),
        voids=True,
        client=client_of(request),
    )


async def _send_offset(request: web.Request, offset: int) -> None:
    await _send_104(request, {"Upload-Offset": str(offset)})


async def _send_104(request: web.Request, headers: dict[str, str]) -> None:
    """Send an interim answer (§5) to a client that understands it."""
    version = _version_of(request)
    if version is None:
        return
    lines = [
        "HTTP/1.1 104 Upload Resumption Supported",
        f"Upload-Draft-Interop-Version: {version}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    with suppress(ConnectionError):
        await send_interim(request, "\r\n".join(lines))


def set_limit_headers(request: web.Request, upload: ResumableUpload | None = None) -> None:
    """Have the answer carry Upload-Limit, of one upload or of any (§4.1.4)."""
    set_answer_headers(request, _limit_headers(request, upload))


def _limit_headers(request: web.Request, upload: ResumableUpload | None) -> dict[str, str]:
    uploads = request.app[UPLOADS]
    seconds = uploads.limits.expiry_seconds
    if upload is not None:
        seconds = max(0.0, (upload.expires - datetime.now(UTC)).total_seconds())
    return {"Upload-Limit": _format_limits(uploads, seconds, _version_of(request))}


def _format_limits(uploads: ResumableUploads, seconds: float, version: int | None) -> str:
    """Return the value of Upload-Limit (§4.1.4) for uploads that expire in `seconds`."""
    members = [f"{_MAX_AGE.get(version or 0, 'max-age')}={int(seconds)}"]
    if uploads.limits.max_size is not None:
        members.insert(0, f"max-size={uploads.limits.max_size}")
    return ", ".join(members)


def _version_of(request: web.Request) -> int | None:
    """Return the interop version in which the client understands interim answers, if any."""
    version = integer_of(request, "Upload-Draft-Interop-Version")
    return version if version in _VERSIONS and request.version >= HttpVersion11 else None
