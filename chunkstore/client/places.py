"""Places that files are copied from and to: on a server, in the file system, or a pipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from chunkstore.client.credentials import without_credentials
from chunkstore.client.errors import InvalidPlace
from chunkstore.core.errors import InvalidName
from chunkstore.core.names import decode_path, encode_path, parse_file_name, parse_folder_name

# Where a server of chunkstore has its files.
FILES: Final = "files/"
PIPE: Final = "-"
# A letter alone would be a drive on Windows. No name at all stands for CHUNKSTORE_URL.
# What follows the first colon of ftp://host/path and of host:8080/path.
_REST_OF_URL: Final = re.compile(r"//|[0-9]+/")
REMOTE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A file or a folder of this machine."""

    path: Path
    # Whether it was written with a / at the end, so that it can only be a folder.
    is_folder: bool = False

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Pipe:
    """Standard input as a source, standard output as a target."""

    def __str__(self) -> str:
        return PIPE


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """A file or a folder of a server.

    `base` is the server's URL, ending in `/`. `name` is decoded and canonical; that of a folder
    ends in `/` or is empty. `folder` is the part of the URL between `base` and the name: `files/`,
    or empty for a foreign server, of which only a URL is known. `shown` is how it was written.
    """

    base: str
    name: str
    folder: str = FILES
    shown: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder's."""
        return self.name == "" or self.name.endswith("/")

    @property
    def is_foreign(self) -> bool:
        """Whether the URL has no `/files/`, so that there can be only PUT and GET."""
        return self.folder != FILES

    @property
    def url(self) -> str:
        """The URL, without the name and password that it may have."""
        return without_credentials(f"{self.base}{self.folder}{encode_path(self.name)}")

    def joined(self, name: str) -> RemotePlace:
        """Return the place of a name within this folder."""
        shown = f"{self.shown}{name}" if self.shown else ""
        return replace(self, name=self.name + name, shown=shown)

    def __str__(self) -> str:
        return self.shown or self.url


Place = LocalPlace | RemotePlace | Pipe


def parse_place(text: str, remotes: Mapping[str, str], default_url: str | None = None) -> Place:
    """Parse a place: a URL, `remote:path`, `:path` of the server `default_url`, a path, or `-`.

    `remotes` has the URL of each remote by its name. A file that is there is never taken for a
    remote that is not: `./a:b` is always a path.

    Raises:
        InvalidPlace: it is none of these.
    """
    if text == PIPE:
        return Pipe()
    if re.match(r"https?://", text, re.IGNORECASE):
        return parse_url(text)
    remote, colon, path = text.partition(":")
    if colon and "/" not in remote:
        url = remotes.get(remote) if remote else default_url
        if url is not None:
            return _within(url, path, text)
        if not remote:
            raise InvalidPlace(f"{text!r} is a name on the server in CHUNKSTORE_URL; set that.")
        if REMOTE_NAME.fullmatch(remote) and not Path(text).exists():
            if _REST_OF_URL.match(path):
                raise InvalidPlace(
                    f"{text!r} is no place; the URL of a server begins with http:// or https://."
                )
            raise InvalidPlace(
                f"There is no remote {remote!r}; see `chunkstore remote`, or write ./{text} "
                "for a file of this name."
            )
    if not text:
        raise InvalidPlace("A place is empty; . is the current folder.")
    return LocalPlace(Path(text), is_folder=text.endswith("/"))


def parse_url(url: str) -> RemotePlace:
    """Parse the URL of a file or folder, or that of a server, which is its root folder.

    Raises:
        InvalidPlace: it is none of http and https, or has a query, or no name can be like that.
    """
    shown = without_credentials(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname and parts.port != 0
    except ValueError as error:
        raise InvalidPlace(f"{shown!r} is not a URL.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidPlace(f"{shown!r} is not a URL of http or https.")
    if "?" in url or "#" in url:
        raise InvalidPlace(f"A ? or # in a name is written %3F or %23 in a URL: {shown!r}.")
    path = parts.path or "/"
    origin = f"{parts.scheme}://{parts.netloc}"
    before, files, name = f"{path}/".partition(f"/{FILES}")
    if files:
        name = name.removesuffix("/")
        return RemotePlace(f"{origin}{before}/", _canonical(name, shown), shown=shown)
    if path.endswith("/"):
        return RemotePlace(f"{origin}{path}", "", shown=shown)
    folder, _, last = path.rpartition("/")
    return RemotePlace(f"{origin}{folder}/", _canonical(last, shown), folder="", shown=shown)


def _within(url: str, path: str, shown: str) -> RemotePlace:
    root = parse_url(url if url.endswith("/") else f"{url}/")
    try:
        name = root.name + path.lstrip("/")
        canonical = (
            parse_folder_name(name)
            if path.endswith("/") or not name
            else (name if name.endswith("/") else parse_file_name(name))
        )
    except InvalidName as error:
        raise InvalidPlace(f"{shown}: {error}") from error
    return replace(root, name=canonical, shown=shown)


def _canonical(raw: str, shown: str) -> str:
    try:
        name = decode_path(raw)
        return parse_folder_name(name) if not name or name.endswith("/") else parse_file_name(name)
    except InvalidName as error:
        raise InvalidPlace(f"{shown}: {error}") from error
