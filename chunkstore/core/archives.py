"""Recognising content whose next version is shifted, by its first bytes.

Files in an archive and rows in a dump grow and shrink, so what follows them moves. Compressed
archives are not meant: of those everything changes behind the first difference.
"""

from __future__ import annotations

import re
import struct
from typing import Final

# How many bytes decide. No chunk is smaller, so nothing has been cut before.
DECIDING_SIZE: Final = 4 * 1024

# POSIX.1-1988 and all later forms of tar, GNU's too.
_TAR_MAGIC: Final = b"ustar"
_TAR_MAGIC_AT: Final = 257

# A local file header, APPNOTE.TXT 4.3.7: flags, method, stored size, lengths of name and extra.
_ZIP_HEADER: Final = struct.Struct("<4s2xHH8xI4xHH")
_ZIP_SIGNATURE: Final = b"PK\x03\x04"
# What follows an entry whose size was not known before, 4.3.9.
_ZIP_DESCRIPTOR: Final = b"PK\x07\x08"
_ZIP_DESCRIPTOR_SIZE: Final = 16
_ZIP_STORED: Final = 0
_ZIP_SIZE_FOLLOWS: Final = 1 << 3

_DUMP: Final = re.compile(
    rb"""
    (?:\xef\xbb\xbf)? [\s-]*
    (?: PostgreSQL\ database | (?:MySQL|MariaDB|phpMyAdmin\ SQL)\ [Dd]ump
      | /\*M?! \d{5}                        # mysqldump and mariadb-dump without comments
      | PRAGMA\ foreign_keys=OFF; \s+ BEGIN # .dump of SQLite
    )
    """,
    re.VERBOSE,
)


def is_shifting(first: bytes) -> bool:
    """Whether content that begins with `first` is a tar, a zip that stores, or a dump in SQL.

    Bytes behind the first `DECIDING_SIZE` are not looked at.
    """
    first = first[:DECIDING_SIZE]
    return _is_tar(first) or _is_stored_zip(first) or _DUMP.match(first) is not None


def _is_tar(first: bytes) -> bool:
    return first.startswith(_TAR_MAGIC, _TAR_MAGIC_AT)


def _is_stored_zip(first: bytes) -> bool:
    """Whether the first entry that goes beyond the bytes given is stored.

    Those within them prove nothing: folders, and the type of an EPUB or ODF, are always stored.
    """
    start = files = 0
    while start + _ZIP_HEADER.size <= len(first):
        if first.startswith(_ZIP_DESCRIPTOR, start):
            start += _ZIP_DESCRIPTOR_SIZE
            continue
        signature, flags, method, size, name_size, extra_size = _ZIP_HEADER.unpack_from(
            first, start
        )
        if signature != _ZIP_SIGNATURE or method != _ZIP_STORED:
            return False
        name_at = start + _ZIP_HEADER.size
        is_folder = first[name_at : name_at + name_size].endswith(b"/")
        if flags & _ZIP_SIZE_FOLLOWS and not is_folder:
            return True
        start = name_at + name_size + extra_size + size
        if start > len(first):
            return not is_folder
        files += not is_folder
    return files > 1
