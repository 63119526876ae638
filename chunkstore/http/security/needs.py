"""The one table of needs: what each route and method needs, decided by names alone.

`NEEDS` has an entry for every route; what has none is refused. A need is judged before a handler
runs, so before anything is looked up in the store, a condition evaluated or a body asked for. Needs
that depend on a body are judged where it has been read; handlers reach names, contents and uploads
through `allowed` and `allowed_uploads`, which ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.errors import (
    NoSuchLink,
    SignInNeeded,
)
from chunkstore.core.names import ROOT, FileName, FolderName, decode_path, parse_file_name
from chunkstore.http.message.destination import drive_destination_of, folder_destination_of
from chunkstore.http.message.request import (
    base_of,
    file_name_of,
    folder_name_of,
    name_of,
    raw_remainder,
)
from chunkstore.http.security.rights import READABLE, Need, nothing, refused
from chunkstore.service.rights import PUTTING, SEEING, Rights, folder_named
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    MakeFolder,
    Move,
    Name,
    Patch,
    is_folder_name,
)

NX_FOLDER: Final = "nx/"


def signed_in(request: web.Request, rights: Rights) -> None:
    """Need an account; what more is needed depends on the command."""
    if rights.principal.is_guest:
        raise SignInNeeded


def administering(request: web.Request, rights: Rights) -> None:
    """Need to administer some folder; what is shown depends on which."""
    rights.require_somewhere(Verbs.ADMIN)


def anything(request: web.Request, rights: Rights) -> None:
    """Need some right somewhere."""
    rights.require_somewhere(EVERYTHING)


def putting(request: web.Request, rights: Rights) -> None:
    """Need a place to put files; which one is judged by the name in the request or the upload."""
    rights.require_somewhere(PUTTING)


def changing(request: web.Request, rights: Rights) -> None:
    """Need a place to change something in; each edit is judged by its names."""
    rights.require_somewhere(PUTTING | Verbs.DELETE)


def by_link(request: web.Request, rights: Rights) -> None:
    """Need to come by a link, whatever it is of."""
    if rights.principal.visit is None:
        raise NoSuchLink


def administration(request: web.Request, rights: Rights) -> None:
    """Need to administer the whole store."""
    rights.require(Verbs.ADMIN, ROOT)


def reading(request: web.Request, rights: Rights) -> None:
    """Need to read the file; who may see the folder of that name is led there instead."""
    name = file_name_of(request)
    if Verbs.READ in rights.access.verbs(name):
        request[READABLE] = name
    elif not _leads(rights, name):
        rights.require(Verbs.READ, name)


def _leads(rights: Rights, name: FileName) -> bool:
    return _may_list(rights, FolderName(f"{name}/"))


def _may_list(rights: Rights, folder: FolderName) -> bool:
    return rights.access.somewhere(Verbs.LIST, folder)


def reading_content(request: web.Request, rights: Rights) -> None:
    """Need to read the file."""
    name = file_name_of(request)
    rights.require(Verbs.READ, name)
    request[READABLE] = name


def reading_entry(request: web.Request, rights: Rights) -> None:
    """Need to read an entry of a cache."""
    rights.require(Verbs.READ, nx_name_of(request))


def making_entry(request: web.Request, rights: Rights) -> None:
    """Need to create an entry of a cache, and to be told if it is there."""
    name = nx_name_of(request)
    rights.require(Verbs.CREATE, name)
    if rights.drops(name):
        raise rights.refusal(name, Verbs.READ)


def nx_name_of(request: web.Request) -> FileName:
    """Return the file that is an entry of the cache of Nx.

    Raises:
        InvalidName: it cannot be one.
    """
    return parse_file_name(NX_FOLDER + decode_path(raw_remainder(request)))


def putting_file(request: web.Request, rights: Rights) -> None:
    """Need to create or to replace the file; the commit judges which of them it is."""
    rights.require_putting(file_name_of(request))


def deleting_file(request: web.Request, rights: Rights) -> None:
    """Need to delete the file."""
    rights.judge(Delete(file_name_of(request)))


def transferring_file(request: web.Request, rights: Rights) -> None:
    """Need to read the source, to delete it for MOVE, and to put the target."""
    make = Copy if request.method == "COPY" else Move
    source, target = file_name_of(request), folder_destination_of(request)
    # Whether it is a file or a folder is not known yet.
    rights.judge(make(source, FileName(target.removesuffix("/")) if target else target))


def listing(request: web.Request, rights: Rights) -> None:
    """Need to list the folder, or something below it."""
    folder = folder_name_of(request)
    if not _may_list(rights, folder):
        rights.require(Verbs.LIST, folder)


def sending_form(request: web.Request, rights: Rights) -> None:
    """Need to change something in the folder; what the form has is judged by its names.

    Who administers it and may change no file can still break locks.
    """
    folder = folder_name_of(request)
    needed = PUTTING | Verbs.DELETE
    if not rights.access.somewhere(needed | Verbs.ADMIN, folder):
        raise rights.refusal(folder, needed)


def deleting_folder(request: web.Request, rights: Rights) -> None:
    """Need to delete the folder and all that is in it."""
    rights.judge(Delete(folder_name_of(request)))


def transferring_folder(request: web.Request, rights: Rights) -> None:
    """Need the same as for a file, everywhere below the folder."""
    make = Copy if request.method == "COPY" else Move
    rights.judge(make(folder_name_of(request), folder_destination_of(request)))


def making_folder(request: web.Request, rights: Rights) -> None:
    """Need to create the folder."""
    rights.judge(MakeFolder(folder_name_of(request)))


def finding(request: web.Request, rights: Rights) -> None:
    """Need to see the file or the folder, or something in it."""
    name = name_of(request)
    if not rights.access.verbs(name) & SEEING and not _may_list(rights, folder_named(name)):
        raise rights.refusal(name, Verbs.LIST)


def getting(request: web.Request, rights: Rights) -> None:
    """Need to read the file or list the folder, whichever it is."""
    if is_folder_name(name_of(request)):
        listing(request, rights)
    else:
        reading(request, rights)


def putting_member(request: web.Request, rights: Rights) -> None:
    """Need to create or replace what is there, a file or not."""
    rights.require_putting(_file_named(name_of(request)))


def patching(request: web.Request, rights: Rights) -> None:
    """Need to change what is kept with the file or folder."""
    rights.judge(Patch(name_of(request)))


def locking(request: web.Request, rights: Rights) -> None:
    """Need to write what is there, or to create it, and to see it."""
    require_locking(rights, name_of(request))


def require_locking(rights: Rights, name: Name) -> None:
    """Require what a lock needs, which tells of what is there and keeps others from writing."""
    if not rights.access.verbs(name) & PUTTING:
        raise rights.refusal(name, PUTTING)
    if not rights.access.verbs(name) & (SEEING | Verbs.WRITE):
        raise rights.refusal(name, Verbs.LIST)


def deleting(request: web.Request, rights: Rights) -> None:
    """Need to delete the file, or the folder and all in it; the edit judges which of them it is."""
    rights.judge(Delete(name_of(request)))


def transferring(request: web.Request, rights: Rights) -> None:
    """Need the same as for a file or a folder, as the URL has it; the edit judges which it is."""
    make = Copy if request.method == "COPY" else Move
    source, target = name_of(request), drive_destination_of(request)
    base = base_of(request)
    to = base.folder_named(target) if is_folder_name(source) or not target else base.file(target)
    rights.judge(make(source, to))


def _file_named(name: Name) -> FileName:
    return FileName(name.removesuffix("/"))


_FILE: Final[Mapping[str, Need]] = {
    "GET": reading,
    "HEAD": reading,
    "PUT": putting_file,
    "POST": putting_file,
    "DELETE": deleting_file,
    "COPY": transferring_file,
    "MOVE": transferring_file,
    "MKCOL": making_folder,
}
_FOLDER: Final[Mapping[str, Need]] = {
    "GET": listing,
    "HEAD": listing,
    "POST": sending_form,
    "DELETE": deleting_folder,
    "COPY": transferring_folder,
    "MOVE": transferring_folder,
    "MKCOL": making_folder,
}
_UPLOAD: Final = dict.fromkeys(("GET", "HEAD", "PATCH", "DELETE", "POST"), putting)
_CHUNKS: Final = dict.fromkeys(("GET", "HEAD", "POST"), putting)
_DRIVE: Final[Mapping[str, Need]] = {
    "GET": getting,
    "HEAD": getting,
    "PUT": putting_member,
    "POST": putting,
    "DELETE": deleting,
    "COPY": transferring,
    "MOVE": transferring,
    "MKCOL": making_folder,
    "PROPFIND": finding,
    "PROPPATCH": patching,
    "LOCK": locking,
    "UNLOCK": locking,
}
# What is told on OPTIONS, and that a method is not supported, does not depend on the store.
_ANYWHERE: Final[Mapping[str, Need]] = {"OPTIONS": nothing, "*": nothing}


def _read_only(need: Need) -> Mapping[str, Need]:
    return {"GET": need, "HEAD": need}


# Below a link there is what is below the server, as far as it is of use there.
_LINK: Final = "/s/{link}"
_VISIT: Final = "/s/{link}{visit}"
_LINKS: Final[Mapping[str, Mapping[str, Need]]] = {
    _LINK: _read_only(nothing),
    f"{_LINK}/visits": {"POST": by_link},
    # Whoever gives the password is nobody yet.
    f"{_LINK}/password": {"POST": nothing},
    f"{_VISIT}/": _read_only(by_link),
    f"{_VISIT}/files/{{name}}": {**_read_only(reading), "PUT": putting_file, "POST": putting_file},
    f"{_VISIT}/files/{{folder}}": {**_read_only(listing), "POST": sending_form},
    f"{_VISIT}/uploads": {"POST": putting},
    f"{_VISIT}/uploads/{{upload}}": _UPLOAD,
}

NEEDS: Final[Mapping[str, Mapping[str, Need]]] = {
    "/uploads": {"POST": putting},
    "/uploads/": {"POST": putting},
    "/uploads/{upload}": _UPLOAD,
    "/uploads/{upload}/chunks": _CHUNKS,
    "/chunks": _read_only(anything),
    "/chunks/missing": {"POST": putting},
    "/manifests/{name}": {
        **_read_only(reading_content),
        "PUT": putting_file,
        "POST": putting_file,
    },
    "/packs/{name}": {**_read_only(reading_content), "POST": reading_content},
    "/static/{name}": _read_only(nothing),
    "/files/{name}": _FILE,
    "/files/{folder}": _FOLDER,
    "/nx/{entry}": {**_read_only(reading_entry), "PUT": making_entry},
    "/files": _read_only(nothing),
    "/dav/{name}": _DRIVE,
    "/dav": _DRIVE,
    # What is told of the drive at the root of the server.
    "/": {**_read_only(listing), "PROPFIND": nothing},
    "/batch": {"POST": changing},
    # Whoever signs in is nobody yet; whoever leaves is asked who by the handler.
    "/login": {**_read_only(nothing), "POST": nothing},
    "/login/code": {**_read_only(nothing), "POST": nothing},
    "/login/oidc": {"GET": nothing},
    "/login/oidc/begin": {"GET": nothing},
    "/logout": {"POST": nothing},
    "/account/second-factor": {**_read_only(signed_in), "POST": signed_in},
    "/access/confirm": {"POST": signed_in},
    "/access/{command}": {"POST": signed_in},
    "/account": _read_only(signed_in),
    "/admin/{section}": _read_only(administering),
    "/health/live": _read_only(nothing),
    "/health/ready": _read_only(nothing),
    "/stats": _read_only(administration),
    **_LINKS,
    "/audit": _read_only(administration),
    "/{path}": {},
}


def find_need(path: str, method: str) -> Need:
    """Return what a method of a route needs; `path` is as the route has it, without patterns."""
    of_route = NEEDS.get(path)
    if of_route is None:
        return refused
    return of_route.get(method) or _ANYWHERE.get(method, refused)
