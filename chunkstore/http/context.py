"""What handlers find in the application, and how URLs stand for names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.conditional import CONDITION_FIELDS, UNCONDITIONAL, Conditions
from chunkstore.limits import Limits
from chunkstore.names import (
    FileName,
    FolderName,
    decode_path,
    encode_path,
    parse_file_name,
    parse_folder_name,
)
from chunkstore.service import Service
from chunkstore.store.base import Store

SERVICE: Final = web.AppKey("service", Service)
LIMITS: Final = web.AppKey("limits", Limits)
FOLDERS: Final = web.AppKey("folders", web.Resource)


def service_of(request: web.Request) -> Service:
    """Return the service that answers the request."""
    return request.app[SERVICE]


def store_of(request: web.Request) -> Store:
    """Return the store that the request is about."""
    return request.app[SERVICE].store


def file_name_of(request: web.Request) -> FileName:
    """Return the file that the URL names.

    Raises:
        InvalidName: it cannot be a file's.
    """
    return parse_file_name(decode_path(_raw_name(request)))


def folder_name_of(request: web.Request) -> FolderName:
    """Return the folder that the URL names.

    Raises:
        InvalidName: it cannot be a folder's.
    """
    return parse_folder_name(decode_path(_raw_name(request)))


def conditions_of(request: web.Request) -> Conditions:
    """Return the request's conditions.

    Raises:
        InvalidRequest: they break the grammar.
    """
    headers = request.headers
    for field in CONDITION_FIELDS:
        if field in headers:
            return Conditions.from_headers(lambda field: headers.getall(field, []))
    return UNCONDITIONAL


def names_root(app: web.Application) -> str:
    """Return the path, percent-encoded, under which all names lie, wherever `app` is mounted."""
    canonical = app[FOLDERS].canonical
    return canonical[: canonical.index("{")]


def path_of(app: web.Application, name: FileName | FolderName) -> str:
    """Return the URL path of a file or folder."""
    return names_root(app) + encode_path(name)


def redirect_to_folder(request: web.Request, folder: FolderName) -> web.Response:
    """Return the answer that leads to the folder's own URL, the query kept."""
    query = request.rel_url.raw_query_string
    location = path_of(request.app, folder) + (f"?{query}" if query else "")
    return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": location})


def _raw_name(request: web.Request) -> str:
    """Return the part of the URL that names, as it came: decoding is for `names` alone."""
    path, root = request.rel_url.raw_path, names_root(request.app)
    # The start page stands for the root folder.
    return path.removeprefix(root) if path.startswith(root) else ""
