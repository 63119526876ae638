"""What a server tells of itself and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from chunkstore.client.server.conditions import ABSENT, ANYTHING, Condition, digest_in, unchanged
from chunkstore.core.digest import Digest

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2200


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do that speaks the protocol of `docs/sync.md`; sizes are bytes."""

    chunking: tuple[str, ...]
    max_chunk_size: int
    max_digests: int
    max_pack_size: int
    codecs: frozenset[str]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as a list or the head of an answer shows it.

    `size` is bytes, None where it was not told; `etag` a strong one, or None; `digest` that of the
    content, where the server is one of chunkstore.
    """

    name: str
    size: int | None
    etag: str | None
    digest: Digest | None
    modified: datetime | None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; `next` is what the following one comes after, None for the last."""

    files: Sequence[RemoteFile]
    folders: Sequence[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """What a server answers to who made or replaced a file.

    `new_size` is how many bytes of the content it did not have, None if it did not tell.
    """

    created: bool
    digest: Digest | None
    size: int | None
    new_size: int | None


@dataclass(frozen=True, slots=True)
class UploadState:
    """How far an upload is: bytes of content, of `length` where that was told."""

    offset: int
    length: int | None
    complete: bool


def condition_on(found: RemoteFile | None) -> Condition:
    """Return the condition that a file is still what was found.

    A server without strong ETags cannot be held to one.
    """
    if found is None:
        return ABSENT
    return unchanged(found.etag) if found.etag is not None else ANYTHING


def file_from_json(found: Mapping[str, Any]) -> RemoteFile:
    """Return a file of a list.

    Raises:
        ValueError, KeyError, TypeError: it has another form.
    """
    digest = Digest.parse(found["digest"])
    size = found["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"a size of {size!r} bytes")
    return RemoteFile(
        name=str(found["name"]),
        size=size,
        etag=f'"{digest}"',
        digest=digest,
        modified=_plausible(datetime.fromisoformat(found["modified"])),
        media_type=str(found["media_type"]),
    )


def file_from_headers(name: str, headers: Mapping[str, str]) -> RemoteFile:
    """Return the file that the head of an answer to GET or HEAD describes."""
    etag = headers.get("ETag")
    size = headers.get("Content-Size", headers.get("Content-Length", ""))
    if "Content-Range" in headers:
        size = headers["Content-Range"].rpartition("/")[2]
    return RemoteFile(
        name=name,
        size=int(size) if size.isascii() and size.isdigit() else None,
        etag=None if etag is None or etag.startswith("W/") else etag,
        digest=digest_in(etag),
        modified=_time(headers.get("Last-Modified")),
        media_type=headers.get("Content-Type"),
    )


def _time(field: str | None) -> datetime | None:
    try:
        return None if field is None else _plausible(parsedate_to_datetime(field))
    except ValueError:
        return None


def _plausible(time: datetime) -> datetime | None:
    """Return a time that files can have everywhere, in any time zone; None for another."""
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
