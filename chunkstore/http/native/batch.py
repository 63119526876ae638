"""`POST /batch`: several edits of names in one transaction, all of them or none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from chunkstore.core.conditional import CONDITION_FIELDS
from chunkstore.core.digest import ContentCheck
from chunkstore.core.errors import (
    ChunkstoreError,
    InvalidRequest,
    NameConflict,
    NotFound,
)
from chunkstore.core.media_types import guess_media_type
from chunkstore.http.message.bodies import require_identity_coding
from chunkstore.http.message.headers import essence_of, parse_digests
from chunkstore.http.message.problems import UnsupportedMedia, error_response
from chunkstore.http.message.request import service_of
from chunkstore.http.message.upload_urls import parse_upload_url
from chunkstore.http.message.whole_bodies import whole_body
from chunkstore.http.native.edit_lines import PutUpload, RequestedEdit, parse_edits, placed
from chunkstore.http.security.allowed import names_of
from chunkstore.http.security.allowed_uploads import uploads_of
from chunkstore.http.security.told import refuse_dropping, tells_new
from chunkstore.service.representations import applied_to_json
from chunkstore.service.service import Service
from chunkstore.store.contract.edits import Edit, Put
from chunkstore.store.contract.values import Applied

JSON_LINES: Final = "application/jsonl"
_MEDIA_TYPES: Final = (JSON_LINES, "application/x-ndjson")
_MAX_SIZE: Final = 1024 * 1024


async def post(request: web.Request) -> web.Response:
    """Make the edits of the body; answer with a line for each, or with the first that failed."""
    require_identity_coding(request)
    if essence_of(request) not in _MEDIA_TYPES:
        raise UnsupportedMedia(f"A batch is sent as {JSON_LINES}, an edit on each line.")
    if any(field in request.headers for field in CONDITION_FIELDS):
        raise InvalidRequest("Conditions of a batch are members of its edits.")
    service = service_of(request)
    try:
        applied = await _apply(request, service, await _read_edits(request, service))
    except ChunkstoreError as error:
        if error.edit is None:
            raise
        return error_response(request, _of_batch(error), {"edit": error.edit})
    lines = [
        json.dumps(applied_to_json(one, tells_new=tells_new(request))) + "\n" for one in applied
    ]
    return web.Response(text="".join(lines), content_type=JSON_LINES)


async def _read_edits(request: web.Request, service: Service) -> Sequence[RequestedEdit]:
    """Read the body, whose bytes are reserved until they are parsed.

    Nothing is reserved after that: what is put may have to be read, which waits for memory.
    """
    digests = parse_digests(request.headers.getall("Content-Digest", []))
    checks = [ContentCheck(*digest) for digest in digests.items()]
    refusal = f"A batch can have {_MAX_SIZE} bytes."
    async with whole_body(request, service.upload_memory, _MAX_SIZE, refusal) as body:
        # Elsewhere, because a line can hold much to parse.
        return await asyncio.to_thread(_parse, body, checks)


def _parse(body: bytes, checks: Sequence[ContentCheck]) -> Sequence[RequestedEdit]:
    for check in checks:
        check.update(body)
        check.verify()
    return parse_edits(body)


async def _apply(
    request: web.Request, service: Service, requested: Sequence[RequestedEdit]
) -> Sequence[Applied]:
    edits = []
    for place, one in enumerate(requested):
        with placed(place):
            edits.append(await _to_edit(request, one) if isinstance(one, PutUpload) else one)
    return await names_of(request).apply(edits)


async def _to_edit(request: web.Request, put: PutUpload) -> Edit:
    refuse_dropping(request, put.name)
    upload_id = parse_upload_url(request.app, put.upload)
    upload, content = await uploads_of(request).get_whole(upload_id)
    media_type = put.media_type or upload.spec.media_type or guess_media_type(put.name)
    return Put(put.name, content, media_type, put.conditions)


def _of_batch(error: ChunkstoreError) -> ChunkstoreError:
    """Return the error as one of a batch: what does not exist is another thing than its URL."""
    if not isinstance(error, NotFound):
        return error
    conflict = NameConflict(str(error))
    conflict.edit = error.edit
    return conflict
