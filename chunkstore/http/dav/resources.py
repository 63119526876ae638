"""What a URL of a drive leads to: the file of that name, or else the folder."""

from __future__ import annotations

from aiohttp import web

from chunkstore.core.errors import NotFound
from chunkstore.core.names import FileName
from chunkstore.http.message.request import name_of
from chunkstore.http.security.allowed import find_visible, folder_exists
from chunkstore.service.rights import folder_named
from chunkstore.store.contract.edits import is_folder_name
from chunkstore.store.contract.values import File, Folder


async def find_resource(request: web.Request) -> File | Folder:
    """Return what the request's URL leads to.

    Raises:
        NotFound: there is nothing that the request may see.
    """
    name = name_of(request)
    if not is_folder_name(name):
        file = await find_visible(request, FileName(name))
        if file is not None:
            return file
    folder = folder_named(name)
    if not await folder_exists(request, folder):
        raise NotFound(f"There is nothing of the name {name!r}.")
    return Folder(folder)
