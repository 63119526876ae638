"""What both protocols of resumable uploads share: the URLs of uploads, and parts of the answers.

An upload belongs to neither: a client may begin it by one and go on by the other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

from aiohttp import web

from chunkstore.core.conditional import format_etag
from chunkstore.core.errors import InvalidRequest, TooLarge
from chunkstore.http.message.request import path_of, raw_remainder
from chunkstore.http.message.upload_urls import parse_upload_id
from chunkstore.http.security.told import is_dropped
from chunkstore.store.contract.resumable import ResumableUpload

T = TypeVar("T")

# How long a request waits for an upload to become its file, which can take long to read.
FINISH_SECONDS: Final = web.AppKey("finish_seconds", float)

TUS_PATCH: Final = "application/offset+octet-stream"
PARTIAL_UPLOAD: Final = "application/partial-upload"

_ANSWER_HEADERS: Final = web.RequestKey("answer_headers", dict[str, str])

_NUMBER: Final = re.compile("[0-9]{1,30}", re.ASCII)
_MOST: Final = 2**63 - 1
# How often a long request checks that its client is still connected.
_CHECK_SECONDS: Final = 0.5


def upload_id_of(request: web.Request) -> str:
    """Return the upload that the URL names.

    Raises:
        NotFound: it is not an id of uploads.
    """
    return parse_upload_id(raw_remainder(request))


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled when the client disconnects.

    A handler that reads no body does not learn of that otherwise.

    Raises:
        ConnectionAbortedError: the client has disconnected.
    """
    task = asyncio.create_task(work)
    try:
        while True:
            await asyncio.wait({task}, timeout=_CHECK_SECONDS)
            if task.done():
                return task.result()
            if request.transport is None or request.transport.is_closing():
                raise ConnectionAbortedError("the client disconnected")
    finally:
        task.cancel()


async def finished_in_time(request: web.Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, None if it takes longer than a client waits for an answer.

    What `work` waits for goes on. Raises as `while_connected`.
    """
    timeout = asyncio.timeout(request.app[FINISH_SECONDS])
    try:
        async with timeout:
            return await while_connected(request, work)
    except TimeoutError:
        if not timeout.expired():
            raise
        return None


def file_headers(request: web.Request, upload: ResumableUpload) -> dict[str, str]:
    """Return the header fields for the file that a complete upload has become."""
    target = upload.spec.target
    if upload.digest is None or target is None or is_dropped(request, target):
        return {}
    return {
        "Content-Location": path_of(request, target),
        "ETag": format_etag(str(upload.digest)),
    }


def set_answer_headers(request: web.Request, headers: Mapping[str, str]) -> None:
    """Have the answer to the request carry header fields, also if it will be an error."""
    request.setdefault(_ANSWER_HEADERS, {}).update(headers)


def answer_header(request: web.Request, name: str) -> str | None:
    """Return what was set so for a header field of the answer, None for nothing."""
    value: str | None = request.get(_ANSWER_HEADERS, {}).get(name)
    return value


def add_request_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the fields that were set so to an answer that is about to leave."""
    if _ANSWER_HEADERS in request:
        for name, value in request[_ANSWER_HEADERS].items():
            response.headers.setdefault(name, value)


def parse_size(field: str, text: str) -> int:
    """Return the number of bytes in a header field.

    Raises:
        InvalidRequest: it is not a number; TooLarge: no store could hold so many bytes.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise InvalidRequest(f"{field} is not a number of bytes.")
    size = int(text)
    if size > _MOST:
        raise TooLarge(f"{field} is larger than any file can be.")
    return size
