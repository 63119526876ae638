"""The store as one request may use it: the only way from handlers to what is in it.

Uploads are in `allowed_uploads`, locks in `allowed_locks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import NewType

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.names import FileName, FolderName
from chunkstore.http.message.request import CHECKSUMS, file_name_of, store_of
from chunkstore.http.security.guards import guard_of
from chunkstore.http.security.rights import READABLE, rights_of
from chunkstore.service.known_chunks import KnownChunks, ScopedChunks
from chunkstore.service.putting import AllowedNames
from chunkstore.service.rights import SEEING
from chunkstore.service.visible_names import VisibleNames
from chunkstore.store.contract.checksums import Sums
from chunkstore.store.contract.edits import Name
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.values import File, Listing

Readable = NewType("Readable", FileName)
"""A file that the request may read."""


def readable(request: web.Request, name: FileName | None = None) -> Readable:
    """Return a file that the request may read, the one that its URL names by default.

    Raises:
        SignInNeeded, NotFound, VerbLacking: it may not.
    """
    if name is None:
        if READABLE in request:
            return Readable(FileName(request[READABLE]))
        name = file_name_of(request)
    rights_of(request).require(Verbs.READ, name)
    return Readable(name)


def may_read(request: web.Request) -> bool:
    """Whether the request may read the file that its URL names."""
    return READABLE in request or rights_of(request).is_open


def open_file(
    request: web.Request, name: Readable, *, inline: int = 0
) -> AbstractAsyncContextManager[File | None]:
    """As `Contents.open`."""
    return store_of(request).contents.open(name, inline=inline)


async def find_file(request: web.Request, name: Readable) -> File | None:
    """As `Names.find`."""
    return await store_of(request).names.find(FileName(name))


def names_of(request: web.Request) -> AllowedNames:
    """Return the edits of names that the request may make."""
    store = store_of(request)
    return AllowedNames(store.names, rights_of(request), store.quotas, guard_of(request))


async def folder_exists(request: web.Request, folder: FolderName) -> bool:
    """Whether there is a folder that the request may know of."""
    names, rights = store_of(request).names, rights_of(request)
    if not rights.is_open:
        visible = VisibleNames(names, rights.access)
        return visible.may_list(folder) and await visible.exists(folder)
    return await names.find(folder) is not None


def lists_all(request: web.Request, folder: FolderName) -> bool:
    """Whether the request may see all that there may be in a folder."""
    rights = rights_of(request)
    return rights.is_open or Verbs.LIST in rights.access.everywhere(folder)


async def list_names(
    request: web.Request,
    prefix: str,
    *,
    delimiter: str,
    after: str | None,
    limit: int,
    made_folders: bool = False,
) -> Listing:
    """As `Names.list`, of what the request may see."""
    names, rights = store_of(request).names, rights_of(request)
    seen = names if rights.is_open else VisibleNames(names, rights.access)
    return await seen.list(
        prefix, delimiter=delimiter, after=after, limit=limit, made_folders=made_folders
    )


async def find_visible(request: web.Request, name: FileName) -> File | None:
    """Return a file that the request may see; what is in it may be another matter."""
    rights = rights_of(request)
    if not rights.access.verbs(name) & SEEING:
        return None
    return await store_of(request).names.find(name)


async def describe(request: web.Request, names: Sequence[Name]) -> Mapping[Name, Description]:
    """Return what is kept with names that the request was told of, as far as it may be told.

    Properties can have anything, so they take `READ`; of what only leads elsewhere nothing is told.
    Files are left out that have none.
    """
    if not names:
        return {}
    rights = rights_of(request)
    described = await store_of(request).properties.describe(names, bare=False)
    if rights.is_open:
        return described
    told: dict[Name, Description] = {}
    for name, description in described.items():
        verbs = rights.access.verbs(name)
        if Verbs.READ in verbs:
            told[name] = description
        elif verbs & SEEING:
            told[name] = replace(description, properties=None)
    return told


async def find_checksums(request: web.Request, files: Sequence[File]) -> Mapping[int, Sums]:
    """Return the checksums of files that the request may read, by the ids of their lists.

    There are none unless the server keeps some.
    """
    checksums = request.app[CHECKSUMS]
    return {} if checksums is None or not files else await checksums.find(files)


def readable_in(request: web.Request, folder: FolderName) -> Callable[[FileName], bool] | None:
    """Return what says which files of a folder the request may read, None if it may all."""
    rights = rights_of(request)
    if rights.is_open:
        return None
    if Verbs.READ in rights.access.everywhere(folder):
        return None
    return rights.access.allowing(Verbs.READ)


def known_chunks(
    request: web.Request, bases: Sequence[FileName], upload_id: str | None = None
) -> KnownChunks:
    """Return the chunks that the request may refer to: all, or those that it may read by a name."""
    store, rights = store_of(request), rights_of(request)
    if rights.reads_all():
        return store.chunks
    read = [base for base in bases if Verbs.READ in rights.access.verbs(base)]
    return ScopedChunks(store, read, upload_id)
