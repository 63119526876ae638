"""PROPFIND (RFC 4918 §9.1): the properties of a resource, and of those in it.

Long answers are sent in pieces, as the names are read, so their length costs no memory. A late
error breaks the connection off, as the answer must not look complete.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web

from chunkstore.core.dav.locks import Lock, path_of, paths_above
from chunkstore.core.dav.properties import PropertyName, parse_properties
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName, FolderName, ancestors, encode_path
from chunkstore.http.dav.answers import folder_href, folder_location, in_drive
from chunkstore.http.dav.fields import (
    MINIMAL_APPLIED,
    absence_is_left_out,
    minimal_is_preferred,
)
from chunkstore.http.dav.live_properties import Resource
from chunkstore.http.dav.lock_body import format_locks
from chunkstore.http.dav.multistatus import (
    HEAD,
    TAIL,
    XML_TYPE,
)
from chunkstore.http.dav.propfind_body import Wanted, parse_propfind
from chunkstore.http.dav.resources import find_resource
from chunkstore.http.dav.shape import Shape
from chunkstore.http.dav.xml_body import xml_body
from chunkstore.http.message.destination import depth_of
from chunkstore.http.message.negotiation import accepts_gzip
from chunkstore.http.message.request import base_of, drive_root
from chunkstore.http.security.allowed import describe, list_names, readable_in
from chunkstore.http.security.allowed_locks import locks_covering
from chunkstore.http.security.told import quota_of
from chunkstore.store.contract.edits import Name
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.values import File, Listing

_PAGE_SIZE: Final = 1000
# How many names are asked at once for what is kept with them.
_SLICE_SIZE: Final = 256
_LEAST_SLICE_SIZE: Final = 16
# Characters that are sent at once.
_PIECE_SIZE: Final = 256 * 1024
_Entry: TypeAlias = File | FolderName
_Descriptions: TypeAlias = Mapping[Name, Description]
# Locks by their roots.
_Locks: TypeAlias = Mapping[str, Sequence[Lock]]
_NO_HREFS: Final[Mapping[str, str]] = {}
# Shorter answers are not worth it.
_LEAST_COMPRESSED: Final = 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
# As fast as it goes: answers shrink to a twentieth all the same.
_LEVEL: Final = 1


@in_drive
async def find(request: web.Request) -> web.StreamResponse:
    """Answer PROPFIND."""
    depth = depth_of(request, "0", "1", "infinity")
    wanted = await _wanted_by(request)
    found = await find_resource(request)
    headers = folder_location(request, found.name)
    if minimal_is_preferred(request):
        headers.update(MINIMAL_APPLIED)
    if isinstance(found, File):
        return await _respond(request, _of_file(request, found, wanted), headers)
    return await _respond(request, _of_folder(request, found.name, wanted, depth), headers)


async def find_drive(request: web.Request) -> web.StreamResponse:
    """Answer PROPFIND of the server's root, in which there is the drive.

    Windows and others climb to it before they take an address for a drive.
    """
    depth = depth_of(request, "0", "1", "infinity")
    shape = Shape(await _wanted_by(request), is_minimal=absence_is_left_out(request))
    root = drive_root(request.app)
    hrefs = [request.rel_url.raw_path, *([root] if depth != "0" else [])]
    folders = [Resource(href, True, None, None) for href in hrefs]
    text = HEAD + "".join(map(shape.format, folders)) + TAIL
    return web.Response(
        status=HTTPStatus.MULTI_STATUS, text=text, headers={"Content-Type": XML_TYPE}
    )


async def _wanted_by(request: web.Request) -> Wanted:
    async with xml_body(request) as body:
        return parse_propfind(body)


async def _of_file(request: web.Request, file: File, wanted: Wanted) -> AsyncIterator[str]:
    """Yield the answer that tells of one file."""
    shape = Shape(wanted, is_minimal=absence_is_left_out(request))
    page = _Page(request, shape, FolderName(""), [file])
    path: dict[str, str] = {file.name: request.rel_url.raw_path}
    yield HEAD + "".join([text async for text in page.texts(path)]) + TAIL


async def _of_folder(
    request: web.Request, folder: FolderName, wanted: Wanted, depth: str
) -> AsyncIterator[str]:
    """Yield the answer that tells of a folder and what is in it, in pieces."""
    shape = Shape(wanted, is_minimal=absence_is_left_out(request))
    quota = await quota_of(request, folder) if shape.needs_quota else None
    itself = _Page(request, shape, folder, [folder], quota)
    text = HEAD + "".join([piece async for piece in itself.texts()])
    if depth != "0":
        async for entries in _entries_below(request, folder, depth):
            async for piece in _Page(request, shape, folder, entries).texts():
                text += piece
                if len(text) >= _PIECE_SIZE:
                    yield text
                    text = ""
    yield text + TAIL


async def _entries_below(
    request: web.Request, folder: FolderName, depth: str
) -> AsyncIterator[Sequence[_Entry]]:
    """Yield what is in a folder, in order, by pages."""
    after: str | None = None
    last: str = folder
    while True:
        listing = await list_names(
            request,
            folder,
            delimiter="/" if depth == "1" else "",
            after=after,
            limit=_PAGE_SIZE,
            made_folders=depth == "infinity",
        )
        entries = _in_order(listing, last)
        if entries:
            last = _name_of(entries[-1])
        yield entries
        after = listing.next
        if after is None:
            return


def _in_order(listing: Listing, last: str) -> list[_Entry]:
    """Return the entries of a page in order, with the folders that they lie in before them.

    `last` is the entry before them, whose folders have been told of.
    """
    entries: list[_Entry] = []
    both: list[_Entry] = [*listing.files, *listing.folders]
    for entry in sorted(both, key=_name_of):
        name = _name_of(entry)
        if not last.startswith(name[: name.rfind("/", 0, -1) + 1]):
            entries += [above for above in ancestors(FileName(name)) if not last.startswith(above)]
        entries.append(entry)
        last = name
    return entries


def _name_of(entry: _Entry) -> Name:
    return entry.name if isinstance(entry, File) else entry


@dataclass(frozen=True, slots=True)
class _Page:
    """Entries of a folder that are told of together."""

    request: web.Request
    shape: Shape
    folder: FolderName
    entries: Sequence[_Entry]
    quota: tuple[int, int] | None = None

    async def texts(self, hrefs: Mapping[str, str] = _NO_HREFS) -> AsyncIterator[str]:
        """Yield what is told of each; `hrefs` has those that are not below the folder's.

        What clients keep with names, or ask for, can be much for each of them. So little of it is
        held at once, and others get their turn behind each piece.
        """
        may_read = readable_in(self.request, self.folder)
        base, start = folder_href(self.request), len(self.folder)
        told: list[str] = []
        size = 0
        async for entries, described, locks in self._slices():
            for entry in entries:
                name = _name_of(entry)
                href = hrefs.get(name) or base + encode_path(name[start:])
                description = described.get(name)
                if isinstance(entry, File):
                    is_readable = may_read is None or may_read(entry.name)
                    resource = _resource_of(href, entry, description, is_readable)
                else:
                    resource = _folder_of(href, description, self.quota)
                if locks:
                    resource = resource._replace(locks=self._format_locks(locks, name))
                told.append(self.shape.format(resource))
                size += len(told[-1])
                if size >= _PIECE_SIZE:
                    yield "".join(told)
                    told, size = [], 0
                    await asyncio.sleep(0)
        yield "".join(told)

    async def _slices(self) -> AsyncIterator[tuple[Sequence[_Entry], _Descriptions, _Locks]]:
        """Yield the entries with what is kept with each: fewer at once where that is much."""
        start, count = 0, _PAGE_SIZE if not self.shape.needs_dead else _SLICE_SIZE
        while start < len(self.entries):
            entries = self.entries[start : start + count]
            # At the same moment, so that a store may look both up in one go.
            described, locks = await asyncio.gather(self._describe(entries), self._locks(entries))
            yield entries, described, locks
            start += count
            kept = sum(len(each.properties or b"") for each in described.values())
            count = _LEAST_SLICE_SIZE if kept > _PIECE_SIZE else count

    async def _describe(self, entries: Sequence[_Entry]) -> _Descriptions:
        needs_dead = self.shape.needs_dead
        needs_folders = needs_dead or self.shape.needs_times
        names = [
            _name_of(entry)
            for entry in entries
            if (needs_dead if isinstance(entry, File) else needs_folders)
        ]
        return await describe(self.request, names) if names else {}

    async def _locks(self, entries: Sequence[_Entry]) -> _Locks:
        """Return the locks on the entries, by their roots."""
        found: dict[str, list[Lock]] = {}
        if self.shape.needs_locks:
            for lock in await locks_covering(self.request, [_name_of(each) for each in entries]):
                found.setdefault(lock.root, []).append(lock)
        return found

    def _format_locks(self, locks: _Locks, name: Name) -> str:
        root, path = base_of(self.request).path, path_of(name)
        above = (lock for each in paths_above(path) for lock in locks.get(each, ()))
        covering = [lock for lock in above if lock.covers(path)]
        return format_locks(covering, lambda lock: root + encode_path(lock.name))


def _resource_of(
    href: str, file: File, description: Description | None, is_readable: bool
) -> Resource:
    return Resource(
        href,
        False,
        file.created,
        file.modified,
        file.manifest.size,
        file.media_type,
        str(file.manifest.digest) if is_readable else None,
        _dead(description),
    )


def _folder_of(
    href: str, description: Description | None, quota: tuple[int, int] | None
) -> Resource:
    if description is None:
        return Resource(href, True, None, None, quota=quota)
    times = description.created, description.modified
    return Resource(href, True, *times, dead=_dead(description), quota=quota)


def _dead(description: Description | None) -> Mapping[PropertyName, str]:
    if description is None or description.properties is None:
        return {}
    try:
        return parse_properties(description.properties)
    except StoreDamaged:
        # The list goes on without them.
        return {}


async def _respond(
    request: web.Request, pages: AsyncIterator[str], more: Mapping[str, str]
) -> web.StreamResponse:
    """Send the pages of an answer; one that has a single page, at once."""
    # Not `async for`: whether there is a second decides how the first is sent.
    first = await anext(pages)
    second = await anext(pages, None)
    compressor = None
    headers = {
        "Content-Type": XML_TYPE,
        "Vary": "Accept-Encoding, Prefer",
        "Cache-Control": "no-cache",
        **more,
    }
    if accepts_gzip(request) and (second is not None or len(first) >= _LEAST_COMPRESSED):
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        headers["Content-Encoding"] = "gzip"
    body = first.encode()
    if second is None:
        if compressor is not None:
            body = compressor.compress(body) + compressor.flush()
        return web.Response(status=HTTPStatus.MULTI_STATUS, body=body, headers=headers)
    response = web.StreamResponse(status=HTTPStatus.MULTI_STATUS, headers=headers)
    await response.prepare(request)
    page: str | None = second
    while page is not None:
        await response.write(body if compressor is None else compressor.compress(body))
        body = page.encode()
        page = await anext(pages, None)
    await response.write(
        body if compressor is None else compressor.compress(body) + compressor.flush()
    )
    await response.write_eof()
    return response
