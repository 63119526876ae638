"""`/nx/…/v1/cache/{hash}`: the remote cache of Nx, whose entries are files below the folder `nx/`.

Of a PUT, Nx takes 200 for success, and 409 for an entry that is there already; 201, which a new
file is answered with elsewhere (RFC 9110 §9.3.4), is a failure to it, and it sends all again. Its
specification wants entries that never change: a build that may write cannot replace what others
use. Nothing below `/nx/` leads out of `nx/`, so that one rule of a proxy covers it.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.errors import NameConflict, PreconditionFailed
from chunkstore.http.message.file_upload import read_file_upload
from chunkstore.http.native import files
from chunkstore.http.security.allowed import readable
from chunkstore.http.security.needs import nx_name_of


async def get(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD of an entry."""
    return await files.send(request, readable(request, nx_name_of(request)))


async def put(request: web.Request) -> web.Response:
    """Store an entry that is not there yet.

    Raises:
        NameConflict: it is there; nothing has changed.
    """
    incoming = read_file_upload(request)
    incoming = replace(incoming, name=nx_name_of(request), conditions=CREATE_ONLY)
    try:
        await files.store(request, incoming)
    except PreconditionFailed as error:
        raise NameConflict(
            "The cache has this entry already, and entries do not change."
        ) from error
    return web.Response(status=HTTPStatus.OK)
