"""Where resumable uploads are: their URLs, and the ids in them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from chunkstore.core.errors import InvalidRequest, NotFound
from chunkstore.http.message.request import base_of

UPLOADS_RESOURCE: Final = "uploads"
UPLOAD_RESOURCE: Final = "upload"
# What secrets.token_urlsafe makes.
_UPLOAD_ID: Final = re.compile(r"[\w-]{1,128}", re.ASCII)


def upload_path(request: web.Request, upload_id: str) -> str:
    """Return the URL path of an upload, as the client of the request is told it."""
    return (base_of(request).uploads or uploads_root(request.app)) + upload_id


def uploads_root(app: web.Application) -> str:
    """Return the path under which all uploads lie, wherever `app` is mounted."""
    canonical: str = app.router.named_resources()[UPLOAD_RESOURCE].canonical
    return canonical.partition("{")[0]


def parse_upload_id(text: str) -> str:
    """Return the id of an upload, which may or may not exist.

    Raises:
        NotFound: no upload can have such an id.
    """
    if not _UPLOAD_ID.fullmatch(text):
        raise NotFound("There is no such upload.")
    return text


def parse_upload_url(app: web.Application, url: str) -> str:
    """Return the id of the upload that an absolute URL or a path leads to.

    Raises:
        InvalidRequest: it is no URL, or does not lie where uploads are.
        NotFound: no upload can have such an id.
    """
    root = uploads_root(app)
    try:
        path = urlsplit(url).path
    except ValueError as error:
        raise InvalidRequest("The URL of an upload is malformed.") from error
    if not path.startswith(root):
        raise InvalidRequest(f"The URL of an upload lies under {root}.")
    return parse_upload_id(path.removeprefix(root))
