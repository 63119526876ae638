"""Every header field that is read is valid UTF-8 and of bounded length.

aiohttp decodes a head with `surrogateescape`: bytes that are not UTF-8 become lone surrogates,
which no database, answer or file accepts. And values are parsed on the event loop, so their length
is bounded first. A field that is not in `MOST_BYTES` is read nowhere, so its value is harmless.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.message.problems import FieldTooLarge

# A token, a number, a date.
_SHORT: Final = 256
# A structured field, digests, a list of media types.
_LIST: Final = 4 * 1024
# A long list: as long as one line of a head may be.
_LONG: Final = 8 * 1024

# The most bytes that all lines of a field have together.
MOST_BYTES: Final = {
    "Accept": _LIST,
    "Access-Control-Request-Method": _SHORT,
    "Authorization": _LIST,
    "Accept-Encoding": 1024,
    "Base": _LONG,
    "Brief": _SHORT,
    "Content-Digest": _LIST,
    "Content-Encoding": _SHORT,
    "Content-Range": _SHORT,
    "Content-Type": 1024,
    "Depth": _SHORT,
    "Destination": _LIST,
    "Expect": _SHORT,
    "File-Type": 1024,
    "If": _LONG,
    "If-Match": _LONG,
    "If-Modified-Since": _SHORT,
    "If-None-Match": _LONG,
    "If-Range": 1024,
    "If-Unmodified-Since": _SHORT,
    "Lock-Token": 1024,
    "OC-Checksum": _SHORT,
    "Origin": 1024,
    "Overwrite": _SHORT,
    "Prefer": 1024,
    "Range": _LONG,
    "Repr-Digest": _LIST,
    "Sec-Fetch-Mode": _SHORT,
    "Sec-Fetch-Site": _SHORT,
    "Timeout": 1024,
    "Tus-Resumable": _SHORT,
    "Upload-Checksum": 1024,
    "Upload-Complete": _SHORT,
    "Upload-Concat": _LONG,
    "Upload-Defer-Length": _SHORT,
    "Upload-Draft-Interop-Version": _SHORT,
    "Upload-Length": _SHORT,
    "Upload-Metadata": _LONG,
    "Upload-Offset": _SHORT,
    "X-HTTP-Method-Override": _SHORT,
    "X-OC-Mtime": _SHORT,
}
# RFC 9110 §13.1.3 to §13.1.5: these are ignored where they are malformed.
IGNORED_IF_MALFORMED: Final = frozenset({"if-modified-since", "if-range", "if-unmodified-since"})
_MOST_BYTES: Final = {field.lower(): most for field, most in MOST_BYTES.items()}


def check_fields(request: web.Request) -> None:
    """Refuse a request with a header field that is malformed or too long.

    Raises:
        InvalidRequest: one is not UTF-8; FieldTooLarge: one is too long.
    """
    if not request.raw_path.isascii():
        # RFC 3986 §2. aiohttp's parser in C refuses it, the one in Python does not.
        raise InvalidRequest("The URL has a character that must be percent-encoded.")
    values = b"".join([value for _, value in request.raw_headers])
    if len(values) <= _SHORT and values.isascii():
        # Most requests, except those of browsers, are so short that no field can be too long.
        return
    sizes: dict[str, int] = {}
    for field, value in request.headers.items():
        name = field.lower()
        most = _MOST_BYTES.get(name)
        if most is not None:
            size = sizes[name] = sizes.get(name, 0) + _size(name, value)
            if size > most:
                raise FieldTooLarge(f"{field} can have {most} bytes here.")


def _size(name: str, value: str) -> int:
    if value.isascii():
        return len(value)
    if name in IGNORED_IF_MALFORMED:
        return len(value.encode(errors="surrogateescape"))
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{name.title()} is not UTF-8.") from error
