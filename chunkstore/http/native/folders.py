"""`/files/{dir}/`: folders are collections by RFC 4918 §9.3, §9.6, §9.8 and §9.9."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from chunkstore.core.errors import AlreadyExists, NameConflict, NotFound
from chunkstore.http.message.bodies import require_no_body
from chunkstore.http.message.destination import depth_of, folder_destination_of, overwrite_of
from chunkstore.http.message.problems import MethodNotPossible
from chunkstore.http.message.request import conditions_of, folder_name_of, path_of
from chunkstore.http.security.allowed import names_of
from chunkstore.store.contract.edits import Copy, Delete, MakeFolder, Move


async def make(request: web.Request) -> web.Response:
    """Answer MKCOL: make an empty folder."""
    require_no_body(request)
    name = folder_name_of(request)
    try:
        await names_of(request).apply([MakeFolder(name)])
    except AlreadyExists as error:
        # RFC 4918 §9.3.1: 405 where the name is taken.
        raise MethodNotPossible(str(error)) from error
    except NotFound as error:
        raise NameConflict(str(error)) from error
    location = path_of(request, name)
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})


async def delete(request: web.Request) -> web.Response:
    """Delete a folder with all that is in it."""
    require_no_body(request)
    depth_of(request, "infinity")
    edit = Delete(folder_name_of(request), conditions_of(request))
    await names_of(request).apply([edit])
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def copy_or_move(request: web.Request) -> web.Response:
    """Copy or move a folder with all that is in it; COPY with `Depth: 0` makes an empty one."""
    require_no_body(request)
    edit = _edit_of(request)
    [applied] = await names_of(request).apply([edit])
    if applied.replaced:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    location = path_of(request, edit.target)
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})


def _edit_of(request: web.Request) -> Copy | Move:
    is_move = request.method == "MOVE"
    depth = depth_of(request, "infinity") if is_move else depth_of(request, "0", "infinity")
    source, target = folder_name_of(request), folder_destination_of(request)
    overwrite, conditions = overwrite_of(request), conditions_of(request)
    if is_move:
        return Move(source, target, overwrite, conditions)
    return Copy(source, target, overwrite, conditions, with_members=depth == "infinity")
