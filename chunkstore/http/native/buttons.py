"""What the buttons of a folder's page do where scripts are off: each is a form of its own.

`delete` names a file; `unlock` names what is locked, and `token` the locks that the page has shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from chunkstore.core.errors import Forbidden, InvalidRequest
from chunkstore.core.names import FolderName
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.request import base_of, comes_by_link, path_of
from chunkstore.http.security.allowed import names_of
from chunkstore.http.security.allowed_locks import locks_of
from chunkstore.store.contract.edits import Delete, Name

_MAX_FIELDS: Final = 100


async def press(request: web.Request, folder: FolderName, body: bytes) -> web.Response:
    """Do what the form in a body asks for, in a folder.

    Raises:
        InvalidRequest: it is no such form.
    """
    match _fields_in(body):
        case {"delete": [name], **others} if not others:
            await _delete(request, folder, name)
        case {"unlock": [name], "token": tokens, **others} if not others:
            await _unlock(request, folder, name, tokens)
        case _:
            raise InvalidRequest(
                "The form has no field `delete` that names one file, nor `unlock` and `token`."
                " Files are sent as multipart/form-data, or by PUT."
            )
    if prefers_html(request):
        location = {"Location": path_of(request, folder)}
        return web.Response(status=HTTPStatus.SEE_OTHER, headers=location)
    return json_response({"files": []})


def _fields_in(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError as error:
        raise InvalidRequest("The form is malformed.") from error


async def _delete(request: web.Request, folder: FolderName, text: str) -> None:
    name = base_of(request).file(text)
    _require_within(folder, name)
    await names_of(request).apply([Delete(name)])


async def _unlock(
    request: web.Request, folder: FolderName, text: str, tokens: Sequence[str]
) -> None:
    """Break locks that the page has shown, and none that was taken since."""
    if comes_by_link(request):
        raise Forbidden("By a link no lock is broken.")
    base, path = base_of(request), text.removeprefix("/")
    name = base.folder_named(path) if text.endswith("/") else base.file(path)
    _require_within(folder, name)
    await locks_of(request).end_on(name, tokens)


def _require_within(folder: FolderName, name: Name) -> None:
    if not name.startswith(folder):
        raise InvalidRequest("What is named does not lie in the folder where the form was sent.")
