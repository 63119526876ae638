"""Properties that the server knows (RFC 4918 §15), and those of other programs that stand for them.

None is made up: what a client has not asked for by its name is told only if RFC 4918 defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from chunkstore.core.conditional import format_http_date, parse_http_date
from chunkstore.core.dav.properties import PropertyName
from chunkstore.core.unix_time import parse_unix_time
from chunkstore.http.dav.multistatus import dav
from chunkstore.http.dav.xml_reading import escape_text

_UP_TO_SECONDS: Final = len("2026-01-01T00:00:00")
WINDOWS: Final = "urn:schemas-microsoft-com:"
OWNCLOUD: Final = "http://owncloud.org/ns"


_NO_PROPERTIES: Final[Mapping[PropertyName, str]] = MappingProxyType({})
# What a resource has, and what of that is empty.
Outline: TypeAlias = tuple[bool, ...]


class Resource(NamedTuple):
    """A file or folder, with all that properties tell of it; a tuple, as long lists make many.

    `etag` None: it has none, or it may not be told. `dead` are its dead properties, and `locks`
    the XML of those that cover it. `quota` is how many bytes are used and free, if that may be
    told. Times are in UTC.
    """

    href: str
    is_folder: bool
    created: datetime | None
    modified: datetime | None
    size: int = 0
    media_type: str = ""
    etag: str | None = None
    dead: Mapping[PropertyName, str] = _NO_PROPERTIES
    locks: str = ""
    quota: tuple[int, int] | None = None

    @property
    def outline(self) -> Outline:
        """What all resources have in common of which the same live properties are told.

        The same ones are empty, too.
        """
        return (
            self.is_folder,
            self.created is None,
            self.modified is None,
            not self.media_type,
            self.etag is None,
            not self.locks,
            self.quota is None,
        )


# Returns the content of the element as XML, None if the resource has no such property.
Live: TypeAlias = Callable[[Resource], str | None]


def _creation_date(resource: Resource) -> str | None:
    # RFC 3339 without a fraction, which Windows does not understand.
    time = resource.created
    return None if time is None else time.isoformat(timespec="seconds")[:_UP_TO_SECONDS] + "Z"


def _last_modified(resource: Resource) -> str | None:
    return None if resource.modified is None else format_http_date(resource.modified)


def _windows_created(resource: Resource) -> str | None:
    return None if resource.created is None else format_http_date(resource.created)


def _length(resource: Resource) -> str | None:
    return None if resource.is_folder else str(resource.size)


def _media_type(resource: Resource) -> str | None:
    return None if resource.is_folder else escape_text(resource.media_type)


def _etag(resource: Resource) -> str | None:
    return None if resource.etag is None else f'"{resource.etag}"'


def _resource_type(resource: Resource) -> str:
    return "<D:collection/>" if resource.is_folder else ""


_SUPPORTED_LOCKS: Final = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope>"
    "<D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in ("exclusive", "shared")
)


def _supported_lock(resource: Resource) -> str:
    return _SUPPORTED_LOCKS


def _locks(resource: Resource) -> str:
    return resource.locks


def _used(resource: Resource) -> str | None:
    return None if resource.quota is None else str(resource.quota[0])


def _available(resource: Resource) -> str | None:
    return None if resource.quota is None else str(resource.quota[1])


# Those that `allprop` brings (§9.1).
OF_ALL: Final[Mapping[PropertyName, Live]] = {
    dav("creationdate"): _creation_date,
    dav("getcontentlength"): _length,
    dav("getcontenttype"): _media_type,
    dav("getetag"): _etag,
    dav("getlastmodified"): _last_modified,
    dav("lockdiscovery"): _locks,
    dav("resourcetype"): _resource_type,
    dav("supportedlock"): _supported_lock,
}
QUOTA: Final = (dav("quota-used-bytes"), dav("quota-available-bytes"))
# Those that are told to who names them (RFC 4331 §2).
BY_NAME: Final[Mapping[PropertyName, Live]] = {
    **OF_ALL,
    QUOTA[0]: _used,
    QUOTA[1]: _available,
    PropertyName(WINDOWS, "Win32CreationTime"): _windows_created,
    PropertyName(WINDOWS, "Win32LastModifiedTime"): _last_modified,
}
TIMES: Final = frozenset(
    {
        dav("creationdate"),
        dav("getlastmodified"),
        PropertyName(WINDOWS, "Win32CreationTime"),
        PropertyName(WINDOWS, "Win32LastModifiedTime"),
    }
)


def _parse_date(text: str) -> datetime | None:
    """Return the time of an HTTP-date, or of RFC 3339's."""
    found = parse_http_date([text.strip()])
    if found is not None:
        return found
    try:
        parsed = datetime.fromisoformat(text.strip())
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# What stands for the time of creation, and for that of modification, where a client sets it: never
# kept by themselves, or they would stay as they are when the file does not.
CREATED_BY: Final[Mapping[PropertyName, Callable[[str], datetime | None]]] = {
    dav("creationdate"): _parse_date,
    PropertyName(WINDOWS, "Win32CreationTime"): _parse_date,
}
MODIFIED_BY: Final[Mapping[PropertyName, Callable[[str], datetime | None]]] = {
    dav("getlastmodified"): _parse_date,
    # That of rclone and ownCloud.
    dav("lastmodified"): parse_unix_time,
    PropertyName(WINDOWS, "Win32LastModifiedTime"): _parse_date,
}
PROTECTED: Final = frozenset(
    {
        *OF_ALL,
        *QUOTA,
        # What a client says of a content would be told of the next one too.
        PropertyName(OWNCLOUD, "checksums"),
    }
) - {*CREATED_BY, *MODIFIED_BY}  # fmt: skip
