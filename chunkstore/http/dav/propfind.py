"""PROPFIND (RFC 4918 §9.1): the properties of a resource, and of those in it.

Long answers are sent in pieces, as the names are read, so their length costs no memory. A late
error breaks the connection off, as the answer must not look complete.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from chunkstore.core.dav.locks import Lock, path_of, paths_above
from chunkstore.core.dav.properties import PropertyName, parse_properties
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName, FolderName, ancestors, encode_path, parent
from chunkstore.core.timestamps import to_microseconds
from chunkstore.http.dav.answers import folder_href, folder_location, in_drive
from chunkstore.http.dav.fields import (
    MINIMAL_APPLIED,
    absence_is_left_out,
    minimal_is_preferred,
)
from chunkstore.http.dav.live_properties import NO_PROPERTIES, Resource, format_checksums
from chunkstore.http.dav.lock_body import format_locks
from chunkstore.http.dav.multistatus import (
    HEAD,
    TAIL,
    XML_TYPE,
)
from chunkstore.http.dav.propfind_body import parse_propfind
from chunkstore.http.dav.resources import Found, find_described
from chunkstore.http.dav.shape import Shape
from chunkstore.http.dav.xml_body import xml_body
from chunkstore.http.dav.xml_reading import escape_text
from chunkstore.http.message.destination import depth_of
from chunkstore.http.message.negotiation import accepts_gzip
from chunkstore.http.message.request import base_of, drive_root
from chunkstore.http.security.allowed import describe, find_checksums, list_names, readable_in
from chunkstore.http.security.allowed_locks import locks_covering
from chunkstore.http.security.told import quota_of
from chunkstore.store.contract.checksums import Sums
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
# Those of contents, by the ids of their lists.
_Checksums: TypeAlias = Mapping[int, Sums]
_NO_CHECKSUMS: Final[_Checksums] = {}
# Locks by their roots.
_Locks: TypeAlias = Mapping[str, Sequence[Lock]]
# Longer bodies are parsed each time, so that those that are kept take little memory.
_LONGEST_KEPT: Final = 4096
# Shorter answers are not worth it.
_LEAST_COMPRESSED: Final = 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
# As fast as it goes: answers shrink to a twentieth all the same.
_LEVEL: Final = 1


@in_drive
async def find(request: web.Request) -> web.StreamResponse:
    """Answer PROPFIND."""
    depth = depth_of(request, "0", "1", "infinity")
    shape = await _shape_for(request)
    found = await find_described(request, with_dead=shape.needs_dead, with_locks=shape.needs_locks)
    entry = found.entry
    headers = folder_location(request, _name_of(entry))
    if minimal_is_preferred(request):
        headers.update(MINIMAL_APPLIED)
    if isinstance(entry, File):
        place = _Place(escape_text(request.rel_url.raw_path), len(entry.name))
        teller = _Teller(request, shape, place, readable_in(request, parent(entry.name)))
        told = teller.tell(found, checksums=await teller.checksums_of([entry]))
        return await _respond(request, _in_one_piece(told), headers)
    place = _Place(escape_text(folder_href(request)), len(entry))
    teller = _Teller(request, shape, place, readable_in(request, entry))
    quota = await quota_of(request, entry) if shape.needs_quota else None
    itself = teller.tell(found, quota=quota)
    if depth == "0":
        return await _respond(request, _in_one_piece(itself), headers)
    return await _respond(request, _in_pieces(teller, entry, itself, depth), headers)


async def find_drive(request: web.Request) -> web.StreamResponse:
    """Answer PROPFIND of the server's root, in which there is the drive.

    Windows and others climb to it before they take an address for a drive.
    """
    depth = depth_of(request, "0", "1", "infinity")
    shape = await _shape_for(request)
    root = drive_root(request.app)
    hrefs = [request.rel_url.raw_path, *([root] if depth != "0" else [])]
    folders = [Resource(escape_text(href), True, None, None) for href in hrefs]
    text = HEAD + "".join(map(shape.format, folders)) + TAIL
    return web.Response(
        status=HTTPStatus.MULTI_STATUS, text=text, headers={"Content-Type": XML_TYPE}
    )


async def _shape_for(request: web.Request) -> Shape:
    """Return how resources are told of that the request's body asks for."""
    is_minimal = absence_is_left_out(request)
    async with xml_body(request) as body:
        if len(body) > _LONGEST_KEPT:
            return Shape(parse_propfind(body), is_minimal=is_minimal)
        return _shape_of(body, is_minimal)


# A program asks for the same each time; what it asks for is a fifth of the work of a small answer.
@lru_cache(maxsize=32)
def _shape_of(body: bytes, is_minimal: bool) -> Shape:
    return Shape(parse_propfind(body), is_minimal=is_minimal)


async def _in_one_piece(text: str) -> AsyncIterator[str]:
    yield HEAD + text + TAIL


async def _in_pieces(
    teller: _Teller, folder: FolderName, itself: str, depth: str
) -> AsyncIterator[str]:
    """Yield the answer that tells of a folder itself and of what is in it."""
    text = HEAD + itself
    async for listing, entries in _entries_below(teller.request, folder, depth):
        async for piece in teller.texts(listing, entries):
            text += piece
            if len(text) >= _PIECE_SIZE:
                yield text
                text = ""
    yield text + TAIL


async def _entries_below(
    request: web.Request, folder: FolderName, depth: str
) -> AsyncIterator[tuple[Listing, Sequence[_Entry]]]:
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
        entries = _in_order(listing) if depth == "1" else _with_folders(listing, last)
        if entries:
            last = _name_of(entries[-1])
        yield listing, entries
        after = listing.next
        if after is None:
            return


def _in_order(listing: Listing) -> Sequence[_Entry]:
    """Return the entries of a page in order."""
    if not listing.folders:
        return listing.files
    return sorted([*listing.files, *listing.folders], key=_name_of)


def _with_folders(listing: Listing, last: str) -> list[_Entry]:
    """Return the entries of a page in order, with the folders that they lie in before them.

    `last` is the entry before them, whose folders have been told of.
    """
    entries: list[_Entry] = []
    for entry in _in_order(listing):
        name = _name_of(entry)
        if not last.startswith(name[: name.rfind("/", 0, -1) + 1]):
            entries += [above for above in ancestors(FileName(name)) if not last.startswith(above)]
        entries.append(entry)
        last = name
    return entries


def _name_of(entry: _Entry) -> Name:
    return entry.name if isinstance(entry, File) else entry


class _Place(NamedTuple):
    """Where names lie: what stands for their first `length` characters in an address, as XML."""

    href: str
    length: int


class _Kept(NamedTuple):
    """What is kept with entries that are told of together."""

    described: _Descriptions
    locks: _Locks
    checksums: _Checksums


@dataclass(frozen=True, slots=True)
class _Teller:
    """Tells of names that lie in one place; `may_read` says of which files the digest too, or all.

    What is told of a name at most once is found with it (`Found`), or asked for by pages.
    """

    request: web.Request
    shape: Shape
    place: _Place
    may_read: Callable[[FileName], bool] | None

    def tell(
        self,
        found: Found,
        *,
        quota: tuple[int, int] | None = None,
        checksums: _Checksums = _NO_CHECKSUMS,
    ) -> str:
        """Return what is told of what the request's URL leads to.

        `quota` is that of a folder, `checksums` are those of a file.
        """
        kept = _Kept(found.described, _by_root(found.locks), checksums)
        resource = self._resource_of(found.entry, kept)
        return self.shape.format(resource if quota is None else resource._replace(quota=quota))

    async def texts(self, listing: Listing, entries: Sequence[_Entry]) -> AsyncIterator[str]:
        """Yield what is told of the entries of a page.

        What clients keep with names, or ask for, can be much for each of them. So little of it is
        held at once, and others get their turn behind each piece.
        """
        told: list[str] = []
        size = 0
        async for members, kept in self._slices(listing, entries):
            for entry in members:
                text = self.shape.format(self._resource_of(entry, kept))
                told.append(text)
                size += len(text)
                if size >= _PIECE_SIZE:
                    yield "".join(told)
                    told, size = [], 0
                    await asyncio.sleep(0)
        yield "".join(told)

    async def checksums_of(self, entries: Sequence[_Entry]) -> _Checksums:
        """Return the checksums of files that may be read, if they are asked for."""
        if not self.shape.needs_checksums:
            return _NO_CHECKSUMS
        files = [entry for entry in entries if isinstance(entry, File)]
        if self.may_read is not None:
            files = [file for file in files if self.may_read(file.name)]
        return await find_checksums(self.request, files)

    def _resource_of(self, entry: _Entry, kept: _Kept) -> Resource:
        href, length = self.place
        name: Name
        if isinstance(entry, File):
            name = entry.name
            is_readable = self.may_read is None or self.may_read(entry.name)
            resource = Resource(
                href + encode_path(name[length:]),
                False,
                entry.created_us,
                entry.modified_us,
                entry.size,
                _escaped(entry.media_type),
                f'"{entry.raw_digest.hex()}"' if is_readable else None,
            )
            # The same content may be at a name that may be read.
            if is_readable and entry.manifest_id in kept.checksums:
                text = format_checksums(kept.checksums[entry.manifest_id])
                resource = resource._replace(checksums=text)
        else:
            name = entry
            resource = Resource(href + encode_path(name[length:]), True, None, None)
        if name in kept.described:
            resource = _with_description(resource, kept.described[name])
        if kept.locks:
            resource = resource._replace(locks=self._format_locks(kept.locks, name))
        return resource

    async def _slices(
        self, listing: Listing, entries: Sequence[_Entry]
    ) -> AsyncIterator[tuple[Sequence[_Entry], _Kept]]:
        """Yield the entries with what is kept with each: fewer at once where that is much."""
        start, count = 0, _PAGE_SIZE if not self.shape.needs_dead else _SLICE_SIZE
        while start < len(entries):
            members = entries[start : start + count]
            kept = await self._kept_with(listing, members)
            yield members, kept
            start += count
            size = sum(len(each.properties or b"") for each in kept.described.values())
            count = _LEAST_SLICE_SIZE if size > _PIECE_SIZE else count

    async def _kept_with(self, listing: Listing, entries: Sequence[_Entry]) -> _Kept:
        """Return what is kept with entries of a page: what is asked for, if any is."""
        files = listing.described if self.shape.needs_dead else frozenset[FileName]()
        with_folders = self.shape.needs_dead or self.shape.needs_times
        names = [
            _name_of(entry)
            for entry in entries
            if (entry.name in files if isinstance(entry, File) else with_folders)
        ]
        described = await describe(self.request, names) if names else {}
        checksums = await self.checksums_of(entries)
        if not listing.may_be_locked or not self.shape.needs_locks:
            return _Kept(described, {}, checksums)
        locks = await locks_covering(self.request, [_name_of(entry) for entry in entries])
        return _Kept(described, _by_root(locks), checksums)

    def _format_locks(self, locks: _Locks, name: Name) -> str:
        root, path = base_of(self.request).path, path_of(name)
        above = (lock for each in paths_above(path) for lock in locks.get(each, ()))
        covering = [lock for lock in above if lock.covers(path)]
        return format_locks(covering, lambda lock: root + encode_path(lock.name))


def _by_root(locks: Iterable[Lock]) -> _Locks:
    found: dict[str, list[Lock]] = {}
    for lock in locks:
        found.setdefault(lock.root, []).append(lock)
    return found


# Of those there are few.
_escaped: Final = lru_cache(maxsize=1024)(escape_text)


def _with_description(resource: Resource, description: Description) -> Resource:
    if resource.is_folder:
        resource = resource._replace(
            created=to_microseconds(description.created),
            modified=to_microseconds(description.modified),
        )
    return resource._replace(dead=_dead(description))


def _dead(description: Description) -> Mapping[PropertyName, str]:
    if description.properties is None:
        return NO_PROPERTIES
    try:
        return parse_properties(description.properties)
    except StoreDamaged:
        # The list goes on without them.
        return NO_PROPERTIES


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
