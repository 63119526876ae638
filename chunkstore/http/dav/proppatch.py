"""PROPPATCH (RFC 4918 §9.2): changes of properties, all or none."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from chunkstore.core.errors import TooManyProperties
from chunkstore.http.dav.answers import folder_href, folder_location, in_drive
from chunkstore.http.dav.fields import MINIMAL_APPLIED, minimal_is_preferred
from chunkstore.http.dav.multistatus import HEAD, TAIL, XML_TYPE, format_response
from chunkstore.http.dav.patch_body import PropertyUpdate, format_propstats, parse_update
from chunkstore.http.dav.resources import find_resource
from chunkstore.http.dav.xml_body import xml_body
from chunkstore.http.message.request import conditions_of
from chunkstore.http.security.allowed import names_of
from chunkstore.store.contract.edits import Name, Patch, is_folder_name


@in_drive
async def patch(request: web.Request) -> web.StreamResponse:
    """Answer PROPPATCH."""
    async with xml_body(request) as body:
        update = parse_update(body)
    name = (await find_resource(request)).name
    if not update.refused:
        await _apply(request, name, update)
    location = folder_location(request, name)
    if not update.refused and minimal_is_preferred(request):
        headers = {**location, **MINIMAL_APPLIED}
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    href = folder_href(request) if is_folder_name(name) else request.rel_url.raw_path
    told = format_response(href, *format_propstats(list(update.names), update.refused))
    headers = {**location, "Content-Type": XML_TYPE}
    return web.Response(status=HTTPStatus.MULTI_STATUS, text=HEAD + told + TAIL, headers=headers)


async def _apply(request: web.Request, name: Name, update: PropertyUpdate) -> None:
    """Make the changes, or note which of them are the cause why none was made."""
    edit = Patch(name, update.changes, update.created, update.modified, conditions_of(request))
    try:
        await names_of(request).apply([edit])
    except TooManyProperties:
        _refuse(update, HTTPStatus.INSUFFICIENT_STORAGE)


def _refuse(update: PropertyUpdate, status: HTTPStatus) -> None:
    """Note that none of what was to be set can be."""
    update.refused = {change.name: status for change in update.changes if change.element}
    update.refused = update.refused or dict.fromkeys(update.names, status)
