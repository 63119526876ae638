"""Resumable uploads into a folder of a drive, by POST to its URL, as rclone begins them.

It is tus from there on: rclone, its vendor being `infinitescale`, sends large files in parts, and
goes on where it was when the network fails. It takes an upload's address for a whole URL.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from chunkstore.core.errors import NotFound
from chunkstore.http.message.problems import MethodNotPossible
from chunkstore.http.message.request import BASE, Base, authority_of, base_of, folder_name_of
from chunkstore.http.resumable import tus
from chunkstore.http.resumable.dialects import answer_header
from chunkstore.http.runtime.senders import scheme_of
from chunkstore.http.security.allowed import folder_exists


async def create(request: web.Request) -> web.StreamResponse:
    """Begin an upload to the folder that the URL names.

    Raises:
        MethodNotPossible: it is another POST. NotFound: there is no such folder.
    """
    if "Tus-Resumable" not in request.headers:
        raise MethodNotPossible("POST begins resumable uploads here, by tus.")
    folder = folder_name_of(request)
    if not await folder_exists(request, folder):
        raise NotFound(f"There is no folder {folder!r}.")
    request[BASE] = Base(base_of(request).path_of(folder), folder)
    response = await tus.create(request)
    authority, location = authority_of(request), answer_header(request, hdrs.LOCATION)
    if authority is not None and location is not None:
        response.headers[hdrs.LOCATION] = f"{scheme_of(request) or 'http'}://{authority}{location}"
    return response
