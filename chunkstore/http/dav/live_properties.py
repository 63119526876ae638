"""Properties that the server knows (RFC 4918 §15), and those of other programs that stand for them.

None is made up: what a client has not asked for by its name is told only if RFC 4918 defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from chunkstore.core.conditional import parse_http_date
from chunkstore.core.dav.properties import PropertyName
from chunkstore.core.timestamps import to_http_date, to_rfc3339
from chunkstore.core.unix_time import parse_unix_time
from chunkstore.http.dav.multistatus import dav

WINDOWS: Final = "urn:schemas-microsoft-com:"
OWNCLOUD: Final = "http://owncloud.org/ns"


NO_PROPERTIES: Final[Mapping[PropertyName, str]] = MappingProxyType({})
_SUPPORTED_LOCKS: Final = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope>"
    "<D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in ("exclusive", "shared")
)
_CHECKSUM_ORDER: Final = ("sha1", "md5", "sha256")
# What a resource has, and what of that is empty.
Outline: TypeAlias = tuple[bool, ...]


class Resource(NamedTuple):
    """A file or folder, with all that properties tell of it; a tuple, as long lists make many.

    Texts are as they stand in XML. None: it has no such property, or it may not be told. `created`
    and `modified` are timestamps. `dead` are its dead properties, `locks` those that cover it.
    `quota` is how many bytes are used and free, `checksums` are as ownCloud writes them.
    """

    href: str
    is_folder: bool
    created: int | None
    modified: int | None
    size: int | None = None
    media_type: str | None = None
    etag: str | None = None
    dead: Mapping[PropertyName, str] = NO_PROPERTIES
    locks: str = ""
    quota: tuple[int, int] | None = None
    checksums: str | None = None

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
            self.checksums is None,
        )

    @property
    def creation_date(self) -> str | None:
        """When it was made, without a fraction, which Windows does not understand."""
        return None if self.created is None else to_rfc3339(self.created)

    @property
    def last_modified(self) -> str | None:
        """When it was modified, as HTTP tells it."""
        return None if self.modified is None else to_http_date(self.modified)

    @property
    def windows_created(self) -> str | None:
        """When it was made, as Windows tells it."""
        return None if self.created is None else to_http_date(self.created)

    @property
    def resource_type(self) -> str:
        """What kind of resource it is."""
        return "<D:collection/>" if self.is_folder else ""

    @property
    def supported_locks(self) -> str:
        """The locks that can be taken on it."""
        return _SUPPORTED_LOCKS

    @property
    def used(self) -> int | None:
        """The bytes that are used of its quota."""
        return None if self.quota is None else self.quota[0]

    @property
    def available(self) -> int | None:
        """The bytes that are left of its quota."""
        return None if self.quota is None else self.quota[1]

    @property
    def checksum_element(self) -> str | None:
        """The element within ownCloud's `checksums`."""
        if self.checksums is None:
            return None
        return f'<oc:checksum xmlns:oc="{OWNCLOUD}">{self.checksums}</oc:checksum>'


def format_checksums(sums: Mapping[str, bytes]) -> str:
    """Return checksums as ownCloud writes them: `SHA1:… MD5:…`, in this order."""
    known = [name for name in _CHECKSUM_ORDER if name in sums]
    return " ".join(f"{name.upper()}:{sums[name].hex()}" for name in known)


# The properties that `allprop` brings (§9.1): what of a `Resource` is their content.
OF_ALL: Final[Mapping[PropertyName, str]] = {
    dav("creationdate"): "creation_date",
    dav("getcontentlength"): "size",
    dav("getcontenttype"): "media_type",
    dav("getetag"): "etag",
    dav("getlastmodified"): "last_modified",
    dav("lockdiscovery"): "locks",
    dav("resourcetype"): "resource_type",
    dav("supportedlock"): "supported_locks",
}
CHECKSUMS: Final = PropertyName(OWNCLOUD, "checksums")
QUOTA: Final = (dav("quota-used-bytes"), dav("quota-available-bytes"))
# Those that are told to who names them (RFC 4331 §2).
BY_NAME: Final[Mapping[PropertyName, str]] = {
    **OF_ALL,
    QUOTA[0]: "used",
    QUOTA[1]: "available",
    PropertyName(WINDOWS, "Win32CreationTime"): "windows_created",
    PropertyName(WINDOWS, "Win32LastModifiedTime"): "last_modified",
    CHECKSUMS: "checksum_element",
}
# Contents that are the same for all resources of one outline.
FIXED: Final = frozenset({"resource_type", "supported_locks"})
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
        CHECKSUMS,
    }
) - {*CREATED_BY, *MODIFIED_BY}  # fmt: skip
