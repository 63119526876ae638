"""Which protocol a request is of, where several share a path and a method.

`/files/{name}` takes PUT by the server's own protocol and by the IETF's draft of resumable uploads;
`/uploads` belongs to that draft, to tus, and to lists of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.chunks import uploads as chunk_uploads
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.problems import MethodNotPossible, allowed_methods
from chunkstore.http.message.request import UPLOADS
from chunkstore.http.native import files
from chunkstore.http.resumable import ietf, tus
from chunkstore.http.resumable.dialects import TUS_PATCH

_OVERRIDABLE: Final = frozenset({"HEAD", "PATCH", "DELETE"})


async def put_file(request: web.Request) -> web.Response:
    """Answer PUT of a file: a resumable upload where the client asks for one."""
    if ietf.is_wanted(request):
        return await ietf.create(request)
    if "Upload-Complete" in request.headers:
        ietf.set_limit_headers(request)
    return await files.put(request)


async def create_upload(request: web.Request) -> web.StreamResponse:
    """Answer POST of `/uploads`, by which only tus begins uploads."""
    if not speaks_tus(request):
        raise InvalidRequest(
            "Only tus begins uploads here; send PUT with Upload-Complete to a file."
        )
    return await tus.create(request)


def speaks_tus(request: web.Request) -> bool:
    """Whether a request about uploads is one of tus, else it is one of the IETF's draft.

    Where nothing tells, a new upload is taken for one of tus, whose answer says what it lacks.
    """
    headers = request.headers
    if "Tus-Resumable" in headers or essence_of(request) == TUS_PATCH:
        return True
    marks = {"Upload-Draft-Interop-Version", "Upload-Complete"}
    return request.method == "POST" and not any(mark in headers for mark in marks)


async def append_to_upload(request: web.Request) -> web.StreamResponse:
    """Answer PATCH of an upload: its bytes by tus or the draft, or a list of chunks."""
    if chunk_uploads.is_list(request):
        return await chunk_uploads.patch(request)
    return await (tus.patch if speaks_tus(request) else ietf.patch)(request)


def by_protocol(*, tus: Handler, ietf: Handler) -> Handler:
    """Return a handler that passes a request to that of the protocol it is of."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (tus if speaks_tus(request) else ietf)(request)

    return answer


def method_override(handlers: Mapping[str, Handler]) -> Handler:
    """Return a handler of POST that answers as that of the method in X-HTTP-Method-Override."""

    async def answer(request: web.Request) -> web.StreamResponse:
        method = request.headers.get("X-HTTP-Method-Override", "").strip().upper()
        if method not in _OVERRIDABLE:
            raise MethodNotPossible("POST is supported here only with X-HTTP-Method-Override.")
        return await handlers[method](request)

    return answer


async def options(request: web.Request) -> web.Response:
    """Answer OPTIONS with the methods that are possible (RFC 9110 §9.3.7)."""
    return web.Response(headers=_options_headers(request))


async def file_options(request: web.Request) -> web.Response:
    """Answer OPTIONS of a file, which can be uploaded by the IETF's draft too."""
    headers = {**_options_headers(request), **ietf.options_headers(request.app[UPLOADS])}
    return web.Response(headers=headers)


async def upload_options(request: web.Request) -> web.Response:
    """Answer OPTIONS of uploads, with what both protocols tell there."""
    uploads = request.app[UPLOADS]
    headers = {
        "Allow": allowed_methods(request),
        **tus.options_headers(uploads),
        **ietf.options_headers(uploads),
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


def _options_headers(request: web.Request) -> dict[str, str]:
    return {"Allow": allowed_methods(request), "Accept-Ranges": "bytes"}
