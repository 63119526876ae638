"""What the answers of a drive have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from chunkstore.core import errors
from chunkstore.core.names import encode_path
from chunkstore.http.dav.multistatus import XML_TYPE, format_error
from chunkstore.http.dav.xml_reading import ExternalEntities
from chunkstore.http.message.bodies import require_no_body
from chunkstore.http.message.problems import error_response
from chunkstore.http.message.request import drive_root
from chunkstore.store.contract.edits import Name, is_folder_name

CLASSES: Final = "1, 2, 3"
"""The classes of RFC 4918 §18 that a drive is of."""
DRIVE_HEADERS: Final = {
    "DAV": CLASSES,
    # Without it, Windows takes a server for one of FrontPage.
    "MS-Author-Via": "DAV",
}

MTIME_ACCEPTED: Final = {"X-OC-Mtime": "accepted"}
"""What tells rclone and others that a file has the time that they sent."""

# All others are refused with one (§8.4).
_WITH_BODY: Final = frozenset({"LOCK", "POST", "PROPFIND", "PROPPATCH", "PUT"})

# The errors that have a precondition code (RFC 4918 §16, RFC 4331 §6).
_CONDITIONS: Final[dict[type[errors.ChunkstoreError], str]] = {
    ExternalEntities: "no-external-entities",
    errors.Locked: "lock-token-submitted",
    errors.QuotaExceeded: "quota-not-exceeded",
    errors.StoreFull: "sufficient-disk-space",
}


def in_drive(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Handler:
    """Return a handler of requests that have no body but where WebDAV defines one, and whose errors
    have bodies that it defines, where it does.
    """

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method not in _WITH_BODY:
            require_no_body(request)
        try:
            return await handler(request)
        except tuple(_CONDITIONS) as error:
            condition = next(code for kind, code in _CONDITIONS.items() if isinstance(error, kind))
            return error_with_condition(request, error, condition)

    return answer


def error_with_condition(
    request: web.Request, error: errors.ChunkstoreError, condition: str
) -> web.Response:
    """Return the answer to an error whose body names the precondition that does not hold."""
    response = error_response(request, error)
    roots = error.roots if isinstance(error, errors.Locked) else ()
    hrefs = [drive_root(request.app) + encode_path(root) for root in roots]
    response.body = format_error(condition, hrefs)
    response.headers[hdrs.CONTENT_TYPE] = XML_TYPE
    return response


def folder_href(request: web.Request) -> str:
    """Return the address of the folder that the request's URL names.

    It begins as the request spells that path: macOS takes a name that is spelled otherwise, in
    another normal form of Unicode, for one of another folder.
    """
    path = request.rel_url.raw_path
    return path if path.endswith("/") else f"{path}/"


def folder_location(request: web.Request, name: Name) -> dict[str, str]:
    """Return the field that tells a folder's own address, where the request's lacks the slash.

    RFC 4918 §5.2.
    """
    if not is_folder_name(name) or request.rel_url.raw_path.endswith("/"):
        return {}
    return {hdrs.CONTENT_LOCATION: folder_href(request)}


def created(replaced: bool) -> HTTPStatus:
    """Return the status that tells of something new, or in something's place."""
    return HTTPStatus.NO_CONTENT if replaced else HTTPStatus.CREATED
