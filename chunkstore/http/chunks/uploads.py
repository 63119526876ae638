"""`/uploads/{id}` for uploads by lists: packs of chunks, and the list that refers to them.

Uploads begin at `/manifests/{name}`; they are asked for and ended as those of the other protocols.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST, PARSERS
from chunkstore.core.errors import (
    ChunkstoreError,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
    TooLarge,
)
from chunkstore.core.packs import HEAD_SIZE, MAX_PACK_SIZE, PACK
from chunkstore.http.answers.documents import RETRY_AFTER_SECONDS, json_response
from chunkstore.http.chunks.lists import form_of
from chunkstore.http.message.bodies import read_body
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.request import client_of, raw_remainder
from chunkstore.http.message.upload_urls import parse_upload_id
from chunkstore.http.resumable.dialects import (
    file_headers,
    finished_in_time,
    set_answer_headers,
    upload_id_of,
)
from chunkstore.http.resumable.ietf import set_limit_headers
from chunkstore.http.resumable.structured import boolean_of, format_boolean, integer_of
from chunkstore.http.security.allowed_uploads import uploads_of
from chunkstore.http.security.told import stored_response
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.packs import MAX_DIGESTS
from chunkstore.store.contract.values import Committed

_LISTS: Final = (DIGESTS, MANIFEST)
_RAW: Final = "application/octet-stream"
_CHUNKS: Final = "/chunks"


def is_list(request: web.Request) -> bool:
    """Whether the body of a PATCH is a list of chunks, in place of their bytes."""
    return essence_of(request) in _LISTS


async def patch(request: web.Request) -> web.Response:
    """Append the list in the body to the upload's."""
    upload_id = upload_id_of(request)
    parser = PARSERS[form_of(request, _LISTS)]()
    async with _state_on_error(request, upload_id):
        offset = integer_of(request, "Upload-Offset")
        if offset is None:
            raise InvalidRequest("PATCH requires Upload-Offset, the bytes of content so far.")
        complete = boolean_of(request, "Upload-Complete") or False
        appended = UploadRequest(
            offset=offset,
            ending=Ending.WITH_BODY if complete else Ending.LATER,
            length=integer_of(request, "Upload-Length"),
            client=client_of(request),
            parser=parser,
        )
        upload = await uploads_of(request).append(upload_id, appended, read_body(request))
        headers = {"Upload-Offset": str(upload.offset)}
        if upload.whole:
            return await answer_when_finished(request, upload_id, headers)
    set_limit_headers(request, upload)
    headers["Upload-Complete"] = format_boolean(False)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


async def answer_when_finished(
    request: web.Request, upload_id: str, headers: Mapping[str, str]
) -> web.Response:
    """Answer a request that made an upload whole: as PUT does, or 202 if that would take long."""
    uploads = uploads_of(request)
    committed = await finished_in_time(request, _finish(request, upload_id))
    if isinstance(committed, Committed):
        set_answer_headers(request, {**headers, "Upload-Complete": format_boolean(True)})
        upload = await uploads.get(upload_id)
        set_answer_headers(request, file_headers(request, upload))
        assert upload.spec.target is not None
        return stored_response(request, upload.spec.target, committed)
    upload = await uploads.get(upload_id)
    state = {**headers, "Upload-Complete": format_boolean(upload.complete)}
    if upload.complete:
        # Another request finished it.
        state.update(file_headers(request, upload))
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=state)
    state["Retry-After"] = RETRY_AFTER_SECONDS
    return web.Response(status=HTTPStatus.ACCEPTED, headers=state)


async def _finish(request: web.Request, upload_id: str) -> Committed | None:
    return await uploads_of(request).finish(upload_id)


async def post_chunks(request: web.Request) -> web.Response:
    """Have the upload hold the chunks in the body, a pack or one after the other."""
    upload_id = _upload_id_of(request)
    raw = form_of(request, (PACK, _RAW)) == _RAW
    most = MAX_PACK_SIZE if raw else MAX_PACK_SIZE + MAX_DIGESTS * HEAD_SIZE
    if (request.content_length or 0) > most:
        raise TooLarge(f"A pack can have {MAX_PACK_SIZE} bytes of chunks.")
    received = await uploads_of(request).receive_pack(
        upload_id, read_body(request), client_of(request), raw=raw
    )
    set_limit_headers(request)
    return json_response({"received": received})


async def get_chunks(request: web.Request) -> web.StreamResponse:
    """Answer with the digests that the upload has been sent."""
    upload_id = _upload_id_of(request)
    response = web.StreamResponse(headers={"Content-Type": DIGESTS, "Cache-Control": "no-store"})
    async with aclosing(uploads_of(request).iter_held(upload_id)) as pages:
        async for page in pages:
            if not response.prepared:
                await response.prepare(request)
            if request.method == "HEAD":
                break
            await response.write(page)
    return response


def _upload_id_of(request: web.Request) -> str:
    """Return the upload whose chunks the URL names.

    Raises:
        NotFound: it is not an id of uploads, or the path is spelled differently.
    """
    remainder = raw_remainder(request)
    if not remainder.endswith(_CHUNKS):
        raise NotFound("Nothing is here; the path is spelled differently.")
    return parse_upload_id(remainder.removesuffix(_CHUNKS))


@asynccontextmanager
async def _state_on_error(request: web.Request, upload_id: str) -> AsyncIterator[None]:
    """Add the state of the upload to the answer of an error raised within the context."""
    try:
        yield
    except StoreUnavailable:
        raise
    except ChunkstoreError:
        upload = await uploads_of(request).find(upload_id)
        if upload is not None:
            state = {
                "Upload-Offset": str(upload.offset),
                "Upload-Complete": format_boolean(upload.complete),
            }
            set_answer_headers(request, {**state, **file_headers(request, upload)})
        raise
