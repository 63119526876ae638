"""Lists of chunks as they travel: digests, manifest entries and lines of text.

`docs/sync.md` has the forms. What comes is parsed piece by piece, however it is cut, so a list of
any length takes no more memory than its pieces.
"""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.core.digest import DIGEST_SIZE, Digest

DIGESTS: Final = "application/vnd.chunkstore.digests"
MANIFEST: Final = "application/vnd.chunkstore.manifest"
TEXT: Final = "text/plain"

_ENTRY: Final = struct.Struct(">32sI")
ENTRY_SIZE: Final = _ENTRY.size
# 64 digits, a space, ten digits of a u32, and a line break of two characters.
_LONGEST_LINE: Final = 2 * DIGEST_SIZE + 1 + 10 + 2
_LINE: Final = re.compile(rb"([0-9a-fA-F]{64})(?: ([1-9][0-9]{0,9}))?\r?")
_U32: Final = range(1, 1 << 32)


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A chunk in a list: its digest, and its size in bytes, None where the list tells none."""

    digest: Digest
    size: int | None = None


class ListParser(ABC):
    """Parses one list that arrives in pieces of any length."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @abstractmethod
    def feed(self, piece: bytes) -> list[ListEntry]:
        """Take the next bytes; return the entries that they complete, in order.

        Raises:
            ValueError: they are no list of this form.
        """

    def finish(self) -> list[ListEntry]:
        """Return the last entry, if its end was not told by the bytes before.

        Raises:
            ValueError: the list ends within an entry.
        """
        if self._pending:
            raise ValueError("the list ends within an entry")
        return []


class DigestParser(ListParser):
    """Parses digests end to end."""

    def feed(self, piece: bytes) -> list[ListEntry]:
        """Take the next bytes; return the entries that they complete."""
        whole = _take_whole(self._pending, piece, DIGEST_SIZE)
        return [
            ListEntry(Digest(whole[start : start + DIGEST_SIZE]))
            for start in range(0, len(whole), DIGEST_SIZE)
        ]


class ManifestParser(ListParser):
    """Parses entries of a manifest end to end."""

    def feed(self, piece: bytes) -> list[ListEntry]:
        """Take the next bytes; return the entries that they complete.

        Raises:
            ValueError: an entry has no bytes.
        """
        whole = _take_whole(self._pending, piece, ENTRY_SIZE)
        entries = [ListEntry(Digest(raw), size) for raw, size in _ENTRY.iter_unpack(whole)]
        if any(entry.size == 0 for entry in entries):
            raise ValueError("a chunk has a byte at least")
        return entries


class TextParser(ListParser):
    """Parses lines of text, each a digest, and a size where the line has one."""

    def feed(self, piece: bytes) -> list[ListEntry]:
        """Take the next bytes; return the entries that they complete.

        Raises:
            ValueError: a line is no entry.
        """
        *lines, rest = (bytes(self._pending) + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line is longer than any entry")
        self._pending = bytearray(rest)
        return [_parse_line(line) for line in lines]

    def finish(self) -> list[ListEntry]:
        """Return the last line's entry, if it has no line break.

        Raises:
            ValueError: it is no entry.
        """
        last, self._pending = bytes(self._pending), bytearray()
        return [_parse_line(last)] if last else []


PARSERS: Final[dict[str, type[ListParser]]] = {
    DIGESTS: DigestParser,
    MANIFEST: ManifestParser,
    TEXT: TextParser,
}


def parse_list(media_type: str, content: bytes) -> list[ListEntry]:
    """Parse a whole list of one of the media types in `PARSERS`.

    Raises:
        ValueError: it is no list of this form.
    """
    parser = PARSERS[media_type]()
    return parser.feed(content) + parser.finish()


def format_digests(digests: Iterable[Digest]) -> bytes:
    """Return digests end to end."""
    return b"".join(digest.raw for digest in digests)


def format_manifest(entries: Iterable[tuple[Digest, int]]) -> bytes:
    """Return entries of a manifest, each a digest and a size, end to end."""
    return b"".join(_ENTRY.pack(digest.raw, size) for digest, size in entries)


def format_text(entries: Sequence[ListEntry]) -> bytes:
    """Return entries as lines of text, with sizes where they have some."""
    return "".join(
        f"{entry.digest}\n" if entry.size is None else f"{entry.digest} {entry.size}\n"
        for entry in entries
    ).encode("ascii")


def _take_whole(pending: bytearray, piece: bytes, size: int) -> bytes:
    """Return all whole entries of `size` bytes, and leave the rest pending."""
    pending += piece
    stop = len(pending) - len(pending) % size
    whole = bytes(pending[:stop])
    del pending[:stop]
    return whole


def _parse_line(line: bytes) -> ListEntry:
    match = _LINE.fullmatch(line)
    if match is None or (match[2] and int(match[2]) not in _U32):
        raise ValueError("a line is not 64 hexadecimal digits, with a space and a size or without")
    size = int(match[2]) if match[2] else None
    return ListEntry(Digest.parse(match[1].decode("ascii")), size)
