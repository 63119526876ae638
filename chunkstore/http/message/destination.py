"""The headers of COPY and MOVE (RFC 4918 §10.2, §10.3, §10.6)."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web
from yarl import URL

from chunkstore.core.errors import Forbidden, InvalidName, InvalidRequest
from chunkstore.core.names import FileName, FolderName, decode_path
from chunkstore.http.message.problems import ElsewhereDestination
from chunkstore.http.message.request import base_of, is_this_server

_SCHEMES: Final = ("http", "https")
# A URL with an authority, or its path; neither has a query.
_URL_PATH: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?(/[^?#]*)")
_OVERWRITE: Final = {"T": True, "F": False}


def file_destination_of(request: web.Request) -> FileName:
    """Return the file that the Destination header names.

    Raises:
        InvalidRequest: it is missing or cannot be a file's.
    """
    name = _destination_name(request)
    if name.endswith("/"):
        raise InvalidName("Destination is the new name of the file itself, so it ends in no slash.")
    return base_of(request).file(name)


def folder_destination_of(request: web.Request) -> FolderName:
    """Return the folder that the Destination header names; its trailing `/` is optional.

    Raises:
        InvalidRequest: it is missing or cannot be a folder's.
    """
    return base_of(request).folder_named(_destination_name(request))


def drive_destination_of(request: web.Request) -> str:
    """Return the path in a drive that the Destination header names, with no slash at its end.

    Only the path of a URL matters: programs write `webdav://`, and a proxy may have another scheme,
    host and port than the server behind it.

    Raises:
        InvalidRequest: it is missing or not a URL. ElsewhereDestination: it is not in the drive.
        Forbidden: it is the drive itself.
    """
    header = _only_line(request, "Destination", "").strip()
    if not header:
        raise InvalidRequest("A Destination header is required.")
    path = path_of_url(header)
    if path is None:
        raise InvalidRequest("Destination is not a URL or a path.")
    root = base_of(request).path
    if not f"{path}/".startswith(root):
        raise ElsewhereDestination(f"Destination is not under {root}.")
    name = decode_path(path[len(root) :])
    if not name:
        raise Forbidden("Destination is the root folder, which cannot be replaced.")
    if f"/{name}".endswith("//"):
        raise InvalidName("The name has an empty segment.")
    return name.removesuffix("/")


def path_of_url(text: str) -> str | None:
    """Return the path of a URL of any scheme, host and port, or of a path; None for anything else.

    It is still percent-encoded. What has a query or a fragment is anything else.
    """
    match = _URL_PATH.fullmatch(text.strip())
    return None if match is None else match[1]


def overwrite_of(request: web.Request) -> bool:
    """Whether what is at the destination may be replaced, which is the default.

    Raises:
        InvalidRequest: the header is neither T nor F.
    """
    value = _only_line(request, "Overwrite", "T").strip().upper()
    if value not in _OVERWRITE:
        raise InvalidRequest("Overwrite is T or F.")
    return _OVERWRITE[value]


def depth_of(request: web.Request, *allowed: str) -> str:
    """Return the Depth, which is `infinity` by default.

    Raises:
        InvalidRequest: it is none of those `allowed`.
    """
    depth = _only_line(request, "Depth", "infinity").strip().lower()
    if depth not in allowed:
        raise InvalidRequest(f"Only Depth: {' or '.join(allowed)} is possible here.")
    return depth


def _only_line(request: web.Request, field: str, default: str) -> str:
    """Return the value of a field that may come only once."""
    lines = request.headers.getall(field, [])
    if len(lines) > 1:
        raise InvalidRequest(f"{field} is given more than once.")
    return lines[0] if lines else default


def _destination_name(request: web.Request) -> str:
    header = _only_line(request, "Destination", "")
    if not header:
        raise InvalidRequest("A Destination header is required.")
    try:
        url = URL(header.strip(), encoded=True)
        # yarl parses the authority here only, and raises if its port is not a number.
        host = url.raw_host
    except ValueError as error:
        raise InvalidRequest("Destination is not a URL.") from error
    if (url.scheme or host) and (url.scheme not in _SCHEMES or not host):
        raise InvalidRequest("Destination is a URL of http or https, or a path.")
    if url.absolute and not is_this_server(request, header.strip()):
        raise ElsewhereDestination("Destination is on another server.")
    root = base_of(request).path
    if not url.raw_path.startswith(root) or "?" in header or "#" in header:
        raise InvalidRequest(f"Destination is not under {root}.")
    return decode_path(url.raw_path.removeprefix(root))
