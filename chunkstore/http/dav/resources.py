"""What a URL of a drive leads to: the file of that name, or else the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from chunkstore.core.dav.locks import Lock
from chunkstore.core.errors import NotFound
from chunkstore.core.names import FileName, FolderName, parent
from chunkstore.http.message.request import name_of
from chunkstore.http.security.allowed import describe, find_visible, folder_exists, lists_all
from chunkstore.http.security.allowed_locks import locks_covering
from chunkstore.service.rights import folder_named
from chunkstore.store.contract.edits import Name, is_folder_name
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.values import File, Folder


async def find_resource(request: web.Request) -> File | Folder:
    """Return what the request's URL leads to.

    Raises:
        NotFound: there is nothing that the request may see.
    """
    name = name_of(request)
    file = await _find_file(request, name)
    if file is not None:
        return file
    folder = folder_named(name)
    if not await folder_exists(request, folder):
        raise _not_found(name)
    return Folder(folder)


@dataclass(frozen=True, slots=True)
class Found:
    """What a request's URL leads to, with what is kept with it and the locks that may cover it.

    Files are `described` only if they have properties.
    """

    entry: File | FolderName
    described: Mapping[Name, Description]
    locks: Sequence[Lock]


async def find_described(request: web.Request, *, with_dead: bool, with_locks: bool) -> Found:
    """Return what the request's URL leads to, as `find_resource`, and what is kept with it.

    All is asked for at the same moment, so that a store may look it up in one go; but not where the
    request may not see all that there may be, as it must not take time for what is hidden.
    """
    name = name_of(request)
    folder = folder_named(name)
    file: File | None
    if lists_all(request, parent(folder)):
        described_names = [folder, name] if with_dead and name != folder else [folder]
        file, described, locks = await asyncio.gather(
            _find_file(request, name),
            describe(request, described_names),
            locks_covering(request, [name] if with_locks else []),
        )
        if file is None and folder not in described:
            raise _not_found(name)
        return Found(folder if file is None else file, described, locks)
    found = await find_resource(request)
    described, locks = await asyncio.gather(
        describe(request, [found.name] if with_dead or isinstance(found, Folder) else []),
        locks_covering(request, [name] if with_locks else []),
    )
    return Found(found.name if isinstance(found, Folder) else found, described, locks)


async def _find_file(request: web.Request, name: Name) -> File | None:
    return None if is_folder_name(name) else await find_visible(request, FileName(name))


def _not_found(name: Name) -> NotFound:
    return NotFound(f"There is nothing of the name {name!r}.")
