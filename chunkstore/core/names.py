"""Names of files and folders.

A name is a path of UTF-8 segments joined by `/`, 1 to 1,024 bytes long, in which no segment is
empty, `.` or `..` and no character is a control character or one of the three that NFC turns into
ASCII. Its canonical form is Unicode's NFC, so names that look the same are the same. A name is
decoded from a URL once, here; rules are applied to the result, and the result is looked up. A
folder's name ends in `/`; the root folder is the empty string.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NewType
from urllib.parse import unquote_to_bytes

from chunkstore.core.errors import InvalidName

FileName = NewType("FileName", str)
FolderName = NewType("FolderName", str)

ROOT: Final = FolderName("")
MAX_NAME_SIZE: Final = 1024
# NFC shortens a text to a third at most, and takes time quadratic in its length.
MAX_UNNORMALIZED: Final = 3 * MAX_NAME_SIZE
# NFC turns these into `;`, a grave accent and K. They would give a name a second spelling, which a
# proxy's rules for the first one would miss.
_PLAIN_IN_NFC: Final = re.compile("[\u037e\u1fef\u212a]")
# Unicode's category Cc.
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# RFC 3986 §2.3; lists encode thousands of names, of which most are plain.
_PLAIN_IN_PATH: Final = re.compile(r"[A-Za-z0-9_.~/-]*")
_NOT_PLAIN_IN_PATH: Final = re.compile(rb"[^A-Za-z0-9_.~/-]")
_LAST_BEFORE_SURROGATES: Final = 0xD7FF
_FIRST_AFTER_SURROGATES: Final = 0xE000
_LAST_CODE_POINT: Final = 0x10FFFF


def parse_file_name(text: str) -> FileName:
    """Return the canonical form of a file's name.

    Raises:
        InvalidName: `text` is not one; the message says which rule it breaks.
    """
    if not text:
        raise InvalidName("The name is empty.")
    return FileName(_canonical(text))


def parse_folder_name(text: str) -> FolderName:
    """Return the canonical form of a folder's name; the last `/` may be missing.

    Raises:
        InvalidName: `text` is not one.
    """
    path = text.removesuffix("/")
    if not path:
        if text:
            raise InvalidName("The name has an empty segment.")
        return ROOT
    return FolderName(_canonical(path, ending="/") + "/")


def _canonical(path: str, ending: str = "") -> str:
    """Return the path in NFC; with `ending` appended it must not be too long."""
    if len(path) > MAX_UNNORMALIZED:
        raise InvalidName(f"The name is too long; at most {MAX_NAME_SIZE} bytes are possible.")
    name = unicodedata.normalize("NFC", path)
    if name != path and _PLAIN_IN_NFC.search(path):
        raise InvalidName("The name has a character that only looks like one of ASCII.")
    try:
        size = len((name + ending).encode())
    except UnicodeEncodeError as error:
        raise InvalidName("The name is not valid Unicode.") from error
    if size > MAX_NAME_SIZE:
        raise InvalidName(f"The name is {size} bytes long; at most {MAX_NAME_SIZE} are possible.")
    for segment in name.split("/"):
        if not segment:
            raise InvalidName("The name has an empty segment.")
        if segment in (".", ".."):
            raise InvalidName(f"The name has a segment {segment!r}, which is not possible.")
    if _CONTROL_CHARACTERS.search(name):
        raise InvalidName("The name has a control character.")
    return name


def decode_path(raw: str) -> str:
    """Percent-decode a URL path, once (RFC 3986 §2.1).

    Raises:
        InvalidName: a `%` is not followed by two digits, or the bytes are not UTF-8.
    """
    try:
        octets = unquote_to_bytes(raw)
        text = octets.decode()
    except UnicodeError as error:
        raise InvalidName("The name is not valid UTF-8.") from error
    if octets.count(b"%") != raw.count("%25"):
        raise InvalidName("The name has a % that is not followed by two hexadecimal digits.")
    return text


def encode_path(name: str) -> str:
    """Return `name` percent-encoded for a URL path, its `/` kept (RFC 3986 §3.3)."""
    if _PLAIN_IN_PATH.fullmatch(name):
        return name
    return _NOT_PLAIN_IN_PATH.sub(_percent_encode, name.encode()).decode()


def _percent_encode(octet: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(octet[0])


def ancestors(name: FileName | FolderName) -> Iterator[FolderName]:
    """Yield the folders that contain `name`, outermost first, without the root and itself."""
    stop = name.find("/")
    while 0 <= stop < len(name) - 1:
        yield FolderName(name[: stop + 1])
        stop = name.find("/", stop + 1)


def parent(name: FileName | FolderName) -> FolderName:
    """Return the folder that contains `name`."""
    return FolderName(name[: name.removesuffix("/").rfind("/") + 1])


def prefix_stop(prefix: str) -> str | None:
    """Return the least text greater than all that begin with `prefix`, None if there is none.

    Order is by code point, which is also that of the UTF-8 bytes.
    """
    for index in range(len(prefix) - 1, -1, -1):
        code_point = ord(prefix[index])
        if code_point == _LAST_BEFORE_SURROGATES:
            return prefix[:index] + chr(_FIRST_AFTER_SURROGATES)
        if code_point < _LAST_CODE_POINT:
            return prefix[:index] + chr(code_point + 1)
    return None
