"""`/files/{dir}/`: folders, as RFC 4918 §9.3, §9.6, §9.8 and §9.9 have collections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from aiohttp import web

from chunkstore.core.conditional import UNTAGGED
from chunkstore.core.errors import AlreadyExists, Forbidden, NameConflict, NotFound
from chunkstore.core.names import ROOT, FolderName
from chunkstore.http.message.bodies import require_no_body
from chunkstore.http.message.destination import depth_of, folder_destination_of, overwrite_of
from chunkstore.http.message.problems import MethodNotPossible
from chunkstore.http.message.request import conditions_of, folder_name_of, path_of, store_of


async def make(request: web.Request) -> web.Response:
    """Answer MKCOL: make an empty folder."""
    require_no_body(request)
    name = folder_name_of(request)
    try:
        await store_of(request).make_folder(name)
    except AlreadyExists as error:
        # RFC 4918 §9.3.1: only where nothing is yet.
        raise MethodNotPossible(str(error)) from error
    except NotFound as error:
        raise NameConflict(str(error)) from error
    location = path_of(request.app, name)
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})


async def delete(request: web.Request) -> web.Response:
    """Remove a folder with all that is in it."""
    require_no_body(request)
    depth_of(request, "infinity")
    conditions_of(request).require(UNTAGGED)
    await store_of(request).delete_folder(_below_root(folder_name_of(request)))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def copy_or_move(request: web.Request) -> web.Response:
    """Copy or rename a folder with all that is in it; COPY with `Depth: 0` leaves that out."""
    require_no_body(request)
    transfer = _transfer_of(request)
    conditions_of(request).require(UNTAGGED)
    target = _below_root(folder_destination_of(request))
    replaced = await transfer(
        _below_root(folder_name_of(request)), target, overwrite=overwrite_of(request)
    )
    if replaced:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    location = path_of(request.app, target)
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})


def _transfer_of(request: web.Request) -> Callable[..., Awaitable[bool]]:
    store = store_of(request)
    if request.method == "MOVE":
        depth_of(request, "infinity")
        return store.move_folder
    depth = depth_of(request, "0", "infinity")
    return partial(store.copy_folder, with_members=depth == "infinity")


def _below_root(name: FolderName) -> FolderName:
    if name == ROOT:
        raise Forbidden("The root folder can be neither deleted nor copied nor moved.")
    return name
