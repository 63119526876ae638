"""The texts of tokens, and of other secrets that are looked up by their digest.

A token is `cks_`, 32 characters of base 62 (190 random bits) and 6 that are the CRC-32 of those
before them, as GitHub's are: scanners for leaked secrets recognise it, and noise is refused without
the database. Only its SHA-256 is stored. As the secret is random, that needs no salt, and a look-up
by it tells nothing by its time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

_PREFIX: Final = "cks_"
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(f"{_PREFIX}[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}")
# Also what is left of one that was cut.
_IN_TEXT: Final = re.compile(f"{_PREFIX}[0-9A-Za-z]{{8,}}")
_COOKIE_BYTES: Final = 32
_LINK_LENGTH: Final = 22
_MARK_LENGTH: Final = 4


def new_token() -> str:
    """Return the text of a new token."""
    text = _PREFIX + _random_text(_SECRET_LENGTH)
    return text + _checksum(text)


def new_link_token() -> str:
    """Return the token of a new link: 22 characters of base 62 (131 random bits)."""
    return _random_text(_LINK_LENGTH)


def new_mark() -> str:
    """Return 4 random characters, by which what would have the same name is told apart."""
    return _random_text(_MARK_LENGTH)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def looks_like_token(text: str) -> bool:
    """Whether a text is meant as a token: then it is never taken for a password."""
    return text.startswith(_PREFIX)


def is_token(text: str) -> bool:
    """Whether a text can be a token, by its form and its checksum."""
    if _FORM.fullmatch(text) is None:
        return False
    return text[-_CHECKSUM_LENGTH:] == _checksum(text[:-_CHECKSUM_LENGTH])


def mask_tokens(text: str) -> str:
    """Return a text without the tokens in it, as of a URL that somebody put one into."""
    return _IN_TEXT.sub(f"{_PREFIX}***", text) if _PREFIX in text else text


def new_secret() -> str:
    """Return a secret of 256 random bits, for cookies."""
    return secrets.token_urlsafe(_COOKIE_BYTES)


def digest_of(text: str) -> str:
    """Return what is stored of a secret: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(text: str) -> str:
    left, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        left, digit = divmod(left, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
