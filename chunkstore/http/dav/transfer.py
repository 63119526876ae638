"""COPY and MOVE in a drive (RFC 4918 §9.8, §9.9)."""

from __future__ import annotations

from aiohttp import web

from chunkstore.core.errors import NotFound
from chunkstore.core.names import FileName, FolderName
from chunkstore.http.dav.answers import MTIME_ACCEPTED, created, in_drive
from chunkstore.http.message.destination import depth_of, drive_destination_of, overwrite_of
from chunkstore.http.message.file_upload import modified_of
from chunkstore.http.message.request import base_of, conditions_of, name_of
from chunkstore.http.security.allowed import folder_exists, names_of
from chunkstore.service.rights import folder_named
from chunkstore.store.contract.edits import Copy, Move, is_folder_name


@in_drive
async def copy_or_move(request: web.Request) -> web.StreamResponse:
    """Copy or move a file, or a folder with all in it, in place of whatever is there."""
    name = name_of(request)
    if is_folder_name(name):
        return await _transfer_folder(request, FolderName(name))
    try:
        return await _transfer_file(request, FileName(name))
    except NotFound:
        if not await folder_exists(request, folder_named(name)):
            raise
    return await _transfer_folder(request, folder_named(name))


async def _transfer_file(request: web.Request, source: FileName) -> web.Response:
    # What has no members ignores it (§10.2).
    depth_of(request, "0", "1", "infinity")
    target = base_of(request).file(drive_destination_of(request))
    make = Copy if request.method == "COPY" else Move
    modified = modified_of(request)
    edit = make(
        source,
        target,
        overwrite_of(request),
        conditions_of(request),
        strict=True,
        modified=modified,
    )
    response = await _answer(request, edit)
    if modified is not None:
        response.headers.update(MTIME_ACCEPTED)
    return response


async def _transfer_folder(request: web.Request, source: FolderName) -> web.Response:
    target = base_of(request).folder_named(drive_destination_of(request))
    overwrite, conditions = overwrite_of(request), conditions_of(request)
    if request.method == "MOVE":
        depth_of(request, "infinity")
        return await _answer(request, Move(source, target, overwrite, conditions, strict=True))
    with_members = depth_of(request, "0", "infinity") == "infinity"
    edit = Copy(source, target, overwrite, conditions, with_members=with_members, strict=True)
    return await _answer(request, edit)


async def _answer(request: web.Request, edit: Copy | Move) -> web.Response:
    [applied] = await names_of(request).apply([edit])
    response = web.Response(status=created(applied.replaced))
    if not applied.replaced:
        response.headers["Location"] = base_of(request).path_of(edit.target)
    return response
