"""The body of a request of WebDAV."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import web

from chunkstore.http.dav.xml_reading import MAX_BODY_SIZE
from chunkstore.http.message.request import service_of
from chunkstore.http.message.whole_bodies import whole_body

_REFUSAL: Final = f"The XML of a request can have {MAX_BODY_SIZE} bytes here."


def xml_body(request: web.Request) -> AbstractAsyncContextManager[bytes]:
    """Read all of a request's body, within the bound of XML; as `whole_body`."""
    return whole_body(request, service_of(request).upload_memory, MAX_BODY_SIZE, _REFUSAL)
