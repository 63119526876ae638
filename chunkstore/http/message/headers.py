"""Parsers and formatters of header fields that several handlers use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import http_sf
from aiohttp import web

from chunkstore.core.digest import BLAKE3
from chunkstore.core.errors import InvalidRequest
from chunkstore.core.media_types import guess_media_type

_MAX_MEDIA_TYPE_SIZE: Final = 255
# RFC 9110 §8.3.1; parameters are kept as they come.
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:[ \t]*;[\x20-\x7e\t]*)?", re.ASCII)

# RFC 9110 §5.6.6. Tokens are read leniently: clients send boundaries unquoted that need quotes.
_PARAMETER: Final = re.compile(
    r";[ \t]*(?:(?P<name>[\w!#$%&\'*+.^`|~-]+)="
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^\s";]+)))?[ \t]*(?=;|\Z)',
    re.ASCII,
)
_ESCAPED: Final = re.compile(r"\\(.)")

# What a browser may show inline: nothing that can carry a script, as HTML, SVG, XML and PDF can.
_INLINE_TYPES: Final = frozenset(
    {
        "image/apng",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/vnd.microsoft.icon",
        "image/webp",
        "text/plain",
    }
)
_INLINE_TREES: Final = ("audio/", "video/")

_LOCK_TOKEN: Final = re.compile(r"[ \t]*<?([^\s<>]+)>?[ \t]*")
# Checksums as ownCloud sends them, by the names of `hashlib`.
_CHECKSUM: Final = re.compile(
    r"(MD5|SHA1|SHA256|SHA512):([0-9a-fA-F]{32,128})", re.IGNORECASE | re.ASCII
)

# What a quoted string cannot hold, or some clients misread in one.
_UNPLAIN: Final = re.compile(r'[^\x20-\x7e]|["\\%]')
# RFC 8187 §3.2.1, attr-char, without what quote() never escapes.
_ATTR_CHARS: Final = "!#$&+^`|"

# RFC 9530 §5: the algorithms that are secure, by their names in `ContentCheck`; and that of ETags.
_DIGEST_ALGORITHMS: Final = {"sha-256": "sha256", "sha-512": "sha512", BLAKE3: BLAKE3}


def essence_of(request: web.Request) -> str:
    """Return the request's media type in lower case, without parameters; empty if it has none.

    aiohttp's `content_type` uses the parser of e-mail, whose time is quadratic in a value's length.
    """
    return request.headers.get("Content-Type", "").partition(";")[0].strip(" \t").lower()


def parse_parameters(header: str) -> dict[str, str]:
    """Return the parameters of a media type (RFC 9110 §5.6.6), their names in lower case.

    Raises:
        InvalidRequest: they break the grammar, or one comes twice.
    """
    parameters: dict[str, str] = {}
    position = header.find(";")
    while 0 <= position < len(header):
        match = _PARAMETER.match(header, position)
        name = match["name"].lower() if match and match["name"] else None
        if match is None or name in parameters:
            raise InvalidRequest("Parameters of Content-Type are written ; name=value.")
        if name is not None:
            token = match["token"]
            parameters[name] = _ESCAPED.sub(r"\1", match["quoted"]) if token is None else token
        position = match.end()
    return parameters


def parse_media_type(header: str | None, name: str) -> str:
    """Return the media type in a Content-Type header; without one, guess it from `name`.

    Raises:
        InvalidRequest: the header is not a media type.
    """
    if header is None or not header.strip():
        return guess_media_type(name)
    media_type = header.strip()
    if len(media_type) > _MAX_MEDIA_TYPE_SIZE or not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest("Content-Type is not a media type like text/plain.")
    return media_type


def format_disposition(name: str, media_type: str) -> str:
    """Return a Content-Disposition for the file: inline only if that is harmless.

    RFC 6266, with the name as RFC 8187 has it where it is not plain ASCII.
    """
    filename = name.rpartition("/")[2]
    plain = _UNPLAIN.sub("_", filename)
    value = f'{_disposition_type(media_type)}; filename="{plain}"'
    if plain != filename:
        value += f"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHARS)}"
    return value


@lru_cache(maxsize=1024)
def _disposition_type(media_type: str) -> str:
    essence = media_type.partition(";")[0].strip().lower()
    harmless = essence in _INLINE_TYPES or essence.startswith(_INLINE_TREES)
    return "inline" if harmless and not essence.endswith("+xml") else "attachment"


def parse_digests(lines: Sequence[str]) -> dict[str, bytes]:
    """Return the digests in Content-Digest or Repr-Digest fields (RFC 9530 §2, §3), by algorithm.

    Algorithms are named as in `ContentCheck`; unknown and insecure ones are ignored (§5).

    Raises:
        InvalidRequest: the fields break the grammar.
    """
    if not lines:
        return {}
    try:
        dictionary = http_sf.parse(", ".join(lines).encode(errors="replace"), tltype="dictionary")
    except http_sf.StructuredFieldError as error:
        raise InvalidRequest("The digest field is not like sha-256=:BASE64:.") from error
    assert isinstance(dictionary, dict)
    digests = {}
    for key, member in dictionary.items():
        if key in _DIGEST_ALGORITHMS:
            # A member is a pair of its value and its parameters.
            value = member[0] if isinstance(member, tuple) else None
            if not isinstance(value, bytes):
                raise InvalidRequest(f"The {key} digest is not a byte sequence like :BASE64:.")
            digests[_DIGEST_ALGORITHMS[key]] = value
    return digests


def parse_checksum(header: str) -> dict[str, bytes]:
    """Return the checksum in an OC-Checksum field, by its algorithm; those of others are ignored.

    Raises:
        InvalidRequest: it has not the length that its algorithm has.
    """
    match = _CHECKSUM.fullmatch(header.strip())
    if match is None:
        return {}
    algorithm = match[1].lower()
    if len(match[2]) != 2 * hashlib.new(algorithm).digest_size:
        raise InvalidRequest("OC-Checksum is not as long as its algorithm has it.")
    return {algorithm: bytes.fromhex(match[2])}


def parse_lock_token(header: str) -> str | None:
    """Return the token in a Lock-Token field (RFC 4918 §10.5), None if it has none.

    Its angle brackets may be missing, as Windows leaves them out.
    """
    match = _LOCK_TOKEN.fullmatch(header)
    return None if match is None else match[1]
