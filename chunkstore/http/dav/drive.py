"""`/dav/`: the store as a drive, by RFC 4918 to the letter. GET, PUT, DELETE, MKCOL and OPTIONS.

What is found under a URL without a slash at its end is the file of that name, or else the folder: a
folder is never redirected to, which many programs take for an error (§5.2).
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import hdrs, web

from chunkstore.core.conditional import format_etag, format_http_date
from chunkstore.core.errors import NameConflict, NotFound, PreconditionFailed
from chunkstore.core.names import ROOT, FileName
from chunkstore.http.dav.answers import (
    DRIVE_HEADERS,
    MTIME_ACCEPTED,
    created,
    folder_location,
    in_drive,
)
from chunkstore.http.message.destination import depth_of
from chunkstore.http.message.file_upload import read_file_upload
from chunkstore.http.message.problems import MethodNotPossible, allowed_methods, error_response
from chunkstore.http.message.request import conditions_of, folder_name_of, name_of
from chunkstore.http.native import files, folders, lists
from chunkstore.http.security.allowed import (
    find_visible,
    folder_exists,
    may_read,
    names_of,
    readable,
    readable_in,
)
from chunkstore.http.security.told import is_dropped
from chunkstore.service.rights import folder_named
from chunkstore.store.contract.edits import Delete, Name, is_folder_name


@in_drive
async def options(request: web.Request) -> web.Response:
    """Answer OPTIONS with what of WebDAV there is (RFC 4918 §10.1).

    The root of the server answers so too, as Windows asks it before it takes an address for a
    drive.
    """
    headers = {**DRIVE_HEADERS, "Allow": allowed_methods(request), "Accept-Ranges": "bytes"}
    return web.Response(headers=headers)


@in_drive
async def get(request: web.Request) -> web.StreamResponse:
    """Answer GET and HEAD: the file, or the list of the folder."""
    name = name_of(request)
    if is_folder_name(name):
        return await _list(request)
    if not may_read(request):
        return await _get_folder(request, FileName(name))
    return await files.send(request, readable(request, FileName(name)), _get_folder)


async def _get_folder(request: web.Request, name: FileName) -> web.StreamResponse:
    """Answer with the folder of a name that no file has."""
    if not await folder_exists(request, folder_named(name)):
        raise NotFound(f"There is nothing of the name {name!r}.")
    return await _list(request)


async def _list(request: web.Request) -> web.StreamResponse:
    response = await lists.get(request)
    response.headers.update(folder_location(request, folder_name_of(request)))
    return response


@in_drive
async def put(request: web.Request) -> web.StreamResponse:
    """Create or replace the file, whole or not at all."""
    name = name_of(request)
    if is_folder_name(name):
        raise _not_possible_for(name)
    incoming = read_file_upload(request)
    try:
        committed = await files.store(request, incoming, strict=True)
    except PreconditionFailed as error:
        return await _refuse_with_etag(request, incoming.name, error)
    except NameConflict as error:
        # Asked only now, as mostly there is none.
        if not await folder_exists(request, folder_named(name)):
            raise
        raise _not_possible_for(name) from error
    headers = {} if incoming.modified is None else MTIME_ACCEPTED
    if is_dropped(request, incoming.name):
        return web.Response(status=HTTPStatus.CREATED, headers=headers)
    validators = committed.file.validators
    headers = {
        **headers,
        "ETag": format_etag(validators.etag),
        hdrs.LAST_MODIFIED: format_http_date(validators.modified),
    }
    return web.Response(status=created(committed.replaced), headers=headers)


def _not_possible_for(name: Name) -> MethodNotPossible:
    """Return what is said to a PUT to a folder's name (§9.7.2)."""
    return MethodNotPossible(f"{folder_named(name) or '/'!r} is a folder's name, not a file's.")


async def _refuse_with_etag(
    request: web.Request, name: FileName, error: PreconditionFailed
) -> web.Response:
    """Answer that a condition does not hold, with what there is instead, for who may read it.

    DAVx5 and others ask for no more then.
    """
    response = error_response(request, error)
    is_readable = readable_in(request, ROOT)
    told = is_readable is None or is_readable(name)
    file = await find_visible(request, name) if told else None
    if file is not None:
        response.headers["ETag"] = format_etag(file.validators.etag)
    return response


@in_drive
async def delete(request: web.Request) -> web.StreamResponse:
    """Delete the file, or the folder with all in it."""
    name, conditions = name_of(request), conditions_of(request)
    if is_folder_name(name):
        depth_of(request, "infinity")
    try:
        await names_of(request).apply([Delete(name, conditions, strict=True)])
    except NotFound:
        folder = folder_named(name)
        if folder == name or not await folder_exists(request, folder):
            raise
        depth_of(request, "infinity")
        await names_of(request).apply([Delete(folder, conditions, strict=True)])
    return web.Response(status=HTTPStatus.NO_CONTENT)


@in_drive
async def make_folder(request: web.Request) -> web.StreamResponse:
    """Answer MKCOL."""
    return await folders.make(request)
