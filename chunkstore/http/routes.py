"""Which handler answers what: every path of the server, and the methods of each.

Where several protocols share a path and a method, `dispatch` tells their requests apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from chunkstore.core.errors import NotFound
from chunkstore.core.names import ROOT
from chunkstore.http.accounts import commands, pages
from chunkstore.http.caches import nx
from chunkstore.http.chunks import abilities, manifests, packs
from chunkstore.http.chunks import uploads as chunk_uploads
from chunkstore.http.dav import drive, locking, propfind, proppatch, transfer
from chunkstore.http.dav import uploads as drive_uploads
from chunkstore.http.dispatch import (
    append_to_upload,
    by_protocol,
    create_upload,
    file_options,
    method_override,
    options,
    put_file,
    upload_options,
)
from chunkstore.http.links import pages as link_pages
from chunkstore.http.message.bodies import defer_continue
from chunkstore.http.message.problems import MethodNotPossible
from chunkstore.http.message.request import DRIVE, FOLDERS, redirect_to_folder
from chunkstore.http.message.upload_urls import UPLOAD_RESOURCE, UPLOADS_RESOURCE
from chunkstore.http.native import (
    audit,
    batch,
    files,
    folders,
    forms,
    lists,
    second_factors,
    sessions,
    single_sign_on,
    status,
)
from chunkstore.http.page.link_password import LINK_PASSWORD_RESOURCE
from chunkstore.http.page.render import (
    ACCOUNT_RESOURCE,
    ADMIN_RESOURCE,
    BEGIN_SIGN_ON_RESOURCE,
    CODE_RESOURCE,
    LOGIN_RESOURCE,
    LOGOUT_RESOURCE,
    SECOND_FACTOR_RESOURCE,
    SIGN_ON_RESOURCE,
    STATIC_RESOURCE,
    static_handler,
)
from chunkstore.http.resumable import ietf, tus
from chunkstore.http.security.needs import find_need
from chunkstore.http.security.rights import ROUTE_NEEDS

# (?s:) because a name is refused for its line break, not lost on the way.
FILE_PATH: Final = "/files/{name:(?s:.*[^/])}"
FOLDER_PATH: Final = "/files/{folder:(?s:.*/)?}"
DRIVE_PATH: Final = "/dav/{name:(?s:.*)}"
DRIVE_ROOT: Final = "/dav"
# Nx appends `/v1/cache/{hash}` to the address that it is given.
NX_PATH: Final = "/nx/{entry:(?s:(?:.*/)?v1/cache/[^/]+)}"
UPLOAD_PATH: Final = "/uploads/{upload:[^/]+}"
CHUNKS_PATH: Final = UPLOAD_PATH + "/chunks"
MANIFEST_PATH: Final = "/manifests/{name:(?s:.*[^/])}"
PACK_PATH: Final = "/packs/{name:(?s:.*[^/])}"
# A link, by its token; and a visit to one that takes files, if there is one.
LINK_PATH: Final = "/s/{link:[0-9A-Za-z]{22}}"
VISIT_PATH: Final = LINK_PATH + "{visit:(?:/v/[0-9A-Za-z_~-]+)?}"
COMMAND_PATH: Final = "/access/{command:(?s:.+)}"
ANY_PATH: Final = "/{path:(?s:.*)}"

FILE: Final[Mapping[str, Handler]] = {
    "GET": files.get,
    "HEAD": files.get,
    "PUT": put_file,
    # Clients of the draft that know no PUT begin uploads by it.
    "POST": ietf.create,
    "DELETE": files.delete,
    "COPY": files.copy_or_move,
    "MOVE": files.copy_or_move,
    "MKCOL": folders.make,
    "OPTIONS": file_options,
}
FOLDER: Final[Mapping[str, Handler]] = {
    "GET": lists.get,
    "HEAD": lists.get,
    "POST": forms.post,
    "DELETE": folders.delete,
    "COPY": folders.copy_or_move,
    "MOVE": folders.copy_or_move,
    "MKCOL": folders.make,
}
DRIVE_MEMBER: Final[Mapping[str, Handler]] = {
    "GET": drive.get,
    "HEAD": drive.get,
    "PUT": drive.put,
    "POST": drive_uploads.create,
    "DELETE": drive.delete,
    "MKCOL": drive.make_folder,
    "COPY": transfer.copy_or_move,
    "MOVE": transfer.copy_or_move,
    "PROPFIND": propfind.find,
    "PROPPATCH": proppatch.patch,
    "LOCK": locking.lock,
    "UNLOCK": locking.unlock,
    "OPTIONS": drive.options,
}
NX: Final[Mapping[str, Handler]] = {"GET": nx.get, "HEAD": nx.get, "PUT": nx.put}
UPLOADS: Final[Mapping[str, Handler]] = {"POST": create_upload, "OPTIONS": upload_options}
_UPLOAD: Final[Mapping[str, Handler]] = {
    "GET": by_protocol(tus=tus.head, ietf=ietf.head),
    "HEAD": by_protocol(tus=tus.head, ietf=ietf.head),
    "PATCH": append_to_upload,
    "DELETE": by_protocol(tus=tus.delete, ietf=ietf.delete),
    "OPTIONS": upload_options,
}
CHUNKS: Final[Mapping[str, Handler]] = {
    "GET": chunk_uploads.get_chunks,
    "HEAD": chunk_uploads.get_chunks,
    "POST": chunk_uploads.post_chunks,
}
MANIFEST: Final[Mapping[str, Handler]] = {
    "GET": manifests.get,
    "HEAD": manifests.get,
    "PUT": manifests.put,
    "POST": manifests.post,
}
PACK: Final[Mapping[str, Handler]] = {"GET": packs.get, "HEAD": packs.get, "POST": packs.post}
_LINK_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "OPTIONS")
UPLOAD: Final[Mapping[str, Handler]] = {**_UPLOAD, "POST": method_override(_UPLOAD)}

_Add: TypeAlias = Callable[..., web.Resource]


def add_routes(app: web.Application) -> None:
    """Add all routes to the application; the first that fits answers."""
    app[ROUTE_NEEDS] = {}
    add = partial(_add, app)
    _add_uploads(add)
    app[FOLDERS], app[DRIVE] = _add_names(add)
    _add_people(add)
    _add_links(add)
    add("/static/{name}", _read_only(static_handler()), name=STATIC_RESOURCE)
    add("/health/live", _read_only(status.live))
    add("/health/ready", _read_only(status.ready))
    add("/stats", _read_only(status.stats))
    add("/audit", _read_only(audit.get))
    nowhere = app.router.add_resource(ANY_PATH)
    route = nowhere.add_route("*", _refuse_path, expect_handler=defer_continue)
    app[ROUTE_NEEDS][route] = find_need(nowhere.canonical, "*")


def _add_uploads(add: _Add) -> None:
    """Add resumable uploads, and what sends only the chunks that are missing."""
    add("/uploads", UPLOADS, name=UPLOADS_RESOURCE)
    add("/uploads/", UPLOADS)
    add(UPLOAD_PATH, UPLOAD, name=UPLOAD_RESOURCE)
    add(CHUNKS_PATH, CHUNKS)
    add("/chunks", _read_only(abilities.get))
    add("/chunks/missing", {"POST": abilities.post_missing})
    add(MANIFEST_PATH, MANIFEST)
    add(PACK_PATH, PACK)


def _add_names(add: _Add) -> tuple[web.Resource, tuple[web.Resource, web.Resource]]:
    """Add files and folders as all protocols name them.

    Returns:
        The resource of folders; those of the drive, of its members and of its root.
    """
    add(FILE_PATH, FILE)
    folders_resource = add(FOLDER_PATH, FOLDER, name="folder")
    drive_resources = add(DRIVE_PATH, DRIVE_MEMBER), add(DRIVE_ROOT, DRIVE_MEMBER)
    add(NX_PATH, NX)
    add("/files", _read_only(_redirect_to_root))
    root_of_server = {"PROPFIND": propfind.find_drive, "OPTIONS": drive.options}
    add("/", {**_read_only(lists.get), **root_of_server})
    add("/batch", {"POST": batch.post})
    return folders_resource, drive_resources


def _add_people(add: _Add) -> None:
    """Add how people sign in and out, and how access is shown and changed."""
    add("/login", _form(sessions.show, sessions.log_in), name=LOGIN_RESOURCE)
    add("/login/code", _form(sessions.show_code, sessions.take_code), name=CODE_RESOURCE)
    add("/login/oidc/begin", {"GET": single_sign_on.begin}, name=BEGIN_SIGN_ON_RESOURCE)
    # No HEAD, by which a program that looks at links would redeem the code.
    add("/login/oidc", {"GET": single_sign_on.come_back}, name=SIGN_ON_RESOURCE)
    add("/logout", {"POST": sessions.log_out}, name=LOGOUT_RESOURCE)
    second_factor = _form(second_factors.show, second_factors.change)
    add("/account/second-factor", second_factor, name=SECOND_FACTOR_RESOURCE)
    add("/access/confirm", {"POST": commands.confirm})
    add(COMMAND_PATH, {"POST": commands.run})
    add("/account", _read_only(pages.account), name=ACCOUNT_RESOURCE)
    add("/admin/{section:[^/]*}", _read_only(pages.admin), name=ADMIN_RESOURCE)


def _add_links(add: _Add) -> None:
    """Add what is below a link: the same, relative to its folder, as far as it is of use there."""
    add(LINK_PATH, _read_only(link_pages.lead))
    add(f"{LINK_PATH}/visits", {"POST": link_pages.begin_visit})
    add(f"{LINK_PATH}/password", {"POST": link_pages.unlock}, name=LINK_PASSWORD_RESOURCE)
    add(f"{VISIT_PATH}/", _read_only(link_pages.show))
    add(VISIT_PATH + FILE_PATH, {method: FILE[method] for method in _LINK_METHODS})
    add(VISIT_PATH + FOLDER_PATH, {method: FOLDER[method] for method in ("GET", "HEAD", "POST")})
    add(f"{VISIT_PATH}/uploads", UPLOADS)
    add(VISIT_PATH + UPLOAD_PATH, UPLOAD)


def route_templates() -> tuple[str, ...]:
    """Return the templates of all paths, without a base path, as metrics name them."""
    app = web.Application()
    add_routes(app)
    return tuple(dict.fromkeys(resource.canonical for resource in app.router.resources()))


def _add(
    app: web.Application, path: str, handlers: Mapping[str, Handler], name: str | None = None
) -> web.Resource:
    resource = app.router.add_resource(path, name=name)
    needs = app[ROUTE_NEEDS]
    for method, handler in {"OPTIONS": options, **handlers, "*": _refuse_method}.items():
        route = resource.add_route(method, handler, expect_handler=defer_continue)
        needs[route] = find_need(resource.canonical, method)
    return resource


def _read_only(handler: Handler) -> Mapping[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _form(show: Handler, take: Handler) -> Mapping[str, Handler]:
    return {**_read_only(show), "POST": take}


async def _redirect_to_root(request: web.Request) -> web.Response:
    return redirect_to_folder(request, ROOT)


async def _refuse_method(request: web.Request) -> web.Response:
    raise MethodNotPossible(f"{request.method} is not supported here.")


async def _refuse_path(request: web.Request) -> web.Response:
    raise NotFound("Nothing is here; files are under /files/.")
