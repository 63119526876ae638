"""What an answer tells of a file that was put: not more than whoever put it may know."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from chunkstore.core.names import FileName
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.file_upload import committed_response
from chunkstore.http.message.request import base_of
from chunkstore.http.security.allowed import is_dropped, tells_new
from chunkstore.service.representations import Json, committed_to_json
from chunkstore.store.contract.values import Committed


def described(request: web.Request, name: FileName, committed: Committed) -> Json:
    """Return what is told of the file that was put as `name`."""
    if _is_hidden(request, name, committed):
        return {"name": base_of(request).told(name)}
    told = committed_to_json(committed, tells_new=tells_new(request))
    return {**told, "name": base_of(request).told(name)}


def stored_response(request: web.Request, name: FileName, committed: Committed) -> web.Response:
    """Return the answer to a request by which a file was put as `name`."""
    if _is_hidden(request, name, committed):
        return json_response(described(request, name, committed), status=HTTPStatus.CREATED)
    return committed_response(committed, described(request, name, committed))


def _is_hidden(request: web.Request, name: FileName, committed: Committed) -> bool:
    return committed.file.name != name or is_dropped(request, name)
