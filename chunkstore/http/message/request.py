"""What handlers read from a request and its application; URLs and the names they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from aiohttp import hdrs, web
from yarl import URL

from chunkstore.core.conditional import CONDITION_FIELDS, UNCONDITIONAL, Conditions
from chunkstore.core.errors import InvalidName, NotFound
from chunkstore.core.names import (
    MAX_NAME_SIZE,
    ROOT,
    FileName,
    FolderName,
    decode_path,
    encode_path,
    parse_file_name,
    parse_folder_name,
)
from chunkstore.core.periodic import Periodic
from chunkstore.http.runtime.exchange import absolute_target
from chunkstore.http.runtime.senders import address_of, forwarded_authority_of, scheme_of
from chunkstore.service.checksums import ContentChecksums
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.store import Store

SERVICE: Final = web.AppKey("service", Service)
TASKS: Final[web.AppKey[Sequence[Periodic]]] = web.AppKey("tasks")
# When there may be room again in a full store, as a sentence for people.
ROOM_RETURNS: Final = web.AppKey("room_returns", str)
# None unless the server keeps some.
CHECKSUMS: Final[web.AppKey[ContentChecksums | None]] = web.AppKey("checksums")
UPLOADS: Final = web.AppKey("uploads", ResumableUploads)
FOLDERS: Final = web.AppKey("folders", web.Resource)
# Where the store is a drive of WebDAV: below it, and its root without a slash.
DRIVE: Final[web.AppKey[tuple[web.Resource, web.Resource]]] = web.AppKey("drive")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_REMAINDER: Final = web.RequestKey("remainder", str)
# Places in a route's template that have no character which would be percent-encoded.
_IN_LITERAL: Final = ("link", "visit")


@dataclass(frozen=True, slots=True)
class Base:
    """Where the names of a request lie: what its URLs say is relative to a folder, and so is all
    that its answer tells.

    `path` is the URL path, percent-encoded, that stands for `folder`; `uploads` that under which
    its uploads lie, None for that of all uploads. No file but `only` can be named, if there is one.
    """

    path: str
    folder: FolderName
    uploads: str | None = None
    only: FileName | None = None

    def file(self, text: str) -> FileName:
        """Return the file of a decoded name.

        Raises:
            InvalidName: it cannot be a file's.
            NotFound: it is another than can be named.
        """
        name = parse_file_name(text)
        if self.folder:
            name = FileName(self._within(name))
        if self.only is not None and name != self.only:
            raise NotFound
        return name

    def folder_named(self, text: str) -> FolderName:
        """Return the folder of a decoded name, which may lack its last `/`.

        Raises:
            InvalidName: it cannot be a folder's.
        """
        name = parse_folder_name(text)
        return FolderName(self._within(name)) if self.folder else name

    def _within(self, name: str) -> str:
        # It is canonical by itself, so nothing of it leads out of the folder.
        absolute = self.folder + name
        if len(absolute.encode()) > MAX_NAME_SIZE:
            raise InvalidName("The name is too long.")
        return absolute

    def told(self, name: FileName | FolderName) -> str:
        """Return a name of the folder as clients are told it."""
        return name.removeprefix(self.folder)

    def path_of(self, name: FileName | FolderName) -> str:
        """Return the URL path of a file or folder of the folder."""
        return self.path + encode_path(self.told(name))


# How many bytes a file may have that the request puts, if fewer than others.
MOST_BYTES: Final = web.RequestKey("most_bytes", int)
# Where names lie, if not under the path of all names.
BASE: Final = web.RequestKey("base", Base)


def service_of(request: web.Request) -> Service:
    """Return the service, which charges the memory that it takes to the request's client."""
    service, most = request.app[SERVICE], request.get(MOST_BYTES)
    return service.on_behalf_of(client_of(request), most_bytes=most)


def client_of(request: web.Request) -> str:
    """Return whom memory is charged to: the client's IPv4 address, or its IPv6 network.

    Whoever has one address of IPv6 has the whole /64.
    """
    remote = address_of(request)
    if ":" not in remote:
        return remote
    with suppress(ValueError):
        address = IPv6Address(remote.partition("%")[0])
        return str(address.ipv4_mapped or IPv6Network((int(address) >> 64 << 64, 64)))
    return remote


def store_of(request: web.Request) -> Store:
    """Return the store."""
    return request.app[SERVICE].store


def file_name_of(request: web.Request) -> FileName:
    """Return the file that the URL names.

    Raises:
        InvalidName: it cannot be a file's.
    """
    return base_of(request).file(decode_path(raw_remainder(request)))


def folder_name_of(request: web.Request) -> FolderName:
    """Return the folder that the URL names.

    Raises:
        InvalidName: it cannot be a folder's.
    """
    return base_of(request).folder_named(decode_path(raw_remainder(request)))


def name_of(request: web.Request) -> FileName | FolderName:
    """Return the name in the URL of a drive: a folder's if it ends in a slash, or is empty.

    Raises:
        InvalidName: it can be nothing's.
    """
    text = decode_path(raw_remainder(request))
    base = base_of(request)
    return base.folder_named(text) if not text or text.endswith("/") else base.file(text)


def conditions_of(request: web.Request) -> Conditions:
    """Return the request's conditions."""
    headers = request.headers
    for field in CONDITION_FIELDS:
        if field in headers:
            conditions = Conditions.from_headers(lambda field: headers.getall(field, []))
            return replace(conditions, exact_dates=True) if is_in_drive(request) else conditions
    return UNCONDITIONAL


def names_root(app: web.Application) -> str:
    """Return the path, percent-encoded, under which all names lie, wherever `app` is mounted."""
    return _literal_of(app[FOLDERS])


def app_root(app: web.Application) -> str:
    """Return the path, percent-encoded, under which all of `app` lies, wherever it is mounted."""
    return names_root(app).removesuffix("files/")


def drive_root(app: web.Application) -> str:
    """Return the path of the drive of WebDAV, wherever `app` is mounted."""
    return _literal_of(app[DRIVE][0])


def _literal_of(resource: web.Resource) -> str:
    canonical = resource.canonical
    return canonical[: canonical.index("{")]


def comes_by_link(request: web.Request) -> bool:
    """Whether a request is of a link, for people without an account."""
    return "link" in request.match_info


def base_of(request: web.Request) -> Base:
    """Return where the names of a request lie."""
    return request.get(BASE) or Base(
        drive_root(request.app) if is_in_drive(request) else names_root(request.app), ROOT
    )


def is_in_drive(request: web.Request) -> bool:
    """Whether the request is one of WebDAV, which follows RFC 4918 to the letter."""
    return request.match_info.route.resource in request.app[DRIVE]


def path_of(request: web.Request, name: FileName | FolderName) -> str:
    """Return the URL path of a file or folder, as the client of the request is told it."""
    return base_of(request).path_of(name)


def redirect_to_folder(request: web.Request, folder: FolderName) -> web.Response:
    """Return a redirect to the folder's own URL, with the query.

    It is temporary: a file may be put later under the name that the folder has now.
    """
    query = request.rel_url.raw_query_string
    location = path_of(request, folder) + (f"?{query}" if query else "")
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})


def raw_remainder(request: web.Request) -> str:
    """Return the rest of the path behind the route's literal part, still percent-encoded.

    It is empty for the start page, which stands for the root folder. Only `names` decodes it. The
    router compares decoded paths; here the literal part must be spelled literally, so that
    /%66iles/ is not /files/, and a proxy's rule for /files/ cannot be evaded.

    Raises:
        NotFound: the literal part is percent-encoded.
    """
    if _REMAINDER in request:
        return request[_REMAINDER]
    path, match = request.rel_url.raw_path, request.match_info
    if match.route.resource is None:
        return path
    canonical = match.route.resource.canonical
    for place in _IN_LITERAL:
        if place in match:
            canonical = canonical.replace(f"{{{place}}}", match[place])
    literal, is_followed, _ = canonical.partition("{")
    if not path.startswith(literal) or (path != literal and not is_followed):
        raise NotFound("Nothing is here; the path is spelled differently.")
    request[_REMAINDER] = path[len(literal) :]
    return request[_REMAINDER]


def authority_of(request: web.BaseRequest) -> str | None:
    """Return the `host[:port]` that the client asked for; None if HTTP/1.0 left it out.

    A trusted proxy knows it better than the request that it makes itself.
    """
    return forwarded_authority_of(request) or own_authority_of(request)


def own_authority_of(request: web.BaseRequest) -> str | None:
    """Return the `host[:port]` that a request is for; None if it has none, as HTTP/1.0 allows.

    Where the target is a whole URL, Host is ignored (RFC 9112 §3.2.2). aiohttp's `host` has no
    port then, and without a Host asks the resolver for the machine's name.
    """
    target = absolute_target(request)
    return request.headers.get(hdrs.HOST) if target is None else target.raw_authority


def is_this_server(request: web.Request, text: str) -> bool:
    """Whether the absolute URL in `text` has the host and port that the request was sent to.

    Its scheme matters only if it is known: a proxy may have terminated TLS.
    """
    scheme = scheme_of(request)
    try:
        url, here = URL(text), URL(f"http://{authority_of(request) or ''}")
        host, here_host = url.host, here.host
        port, here_port = url.port, here.explicit_port
    except ValueError:
        return False
    if not host or host != here_host or scheme not in (None, url.scheme):
        return False
    if here_port is not None:
        return port == here_port
    return port in (_DEFAULT_PORTS.values() if scheme is None else (_DEFAULT_PORTS[scheme],))
