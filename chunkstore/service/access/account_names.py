"""Names of accounts and groups, and labels of what they make."""

from __future__ import annotations

import unicodedata
from typing import Final

from chunkstore.core.access import EVERYONE
from chunkstore.core.errors import InvalidAccountName, InvalidRequest

_MAX_NAME_LENGTH: Final = 64
_LONGEST_LABEL: Final = 100
_PUNCTUATION: Final = frozenset("._-+@")


def parse_account_name(text: str) -> str:
    """Return the name of an account or a group in NFC, as it is shown.

    It has 1 to 64 letters, digits and characters of `._-+@`, the first a letter or a digit, also
    once it is folded.

    Raises:
        InvalidAccountName: it is none.
    """
    if len(text) > 3 * _MAX_NAME_LENGTH:
        raise InvalidAccountName(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    name = unicodedata.normalize("NFC", text)
    folded = fold(name)
    if not name or len(name) > _MAX_NAME_LENGTH:
        raise InvalidAccountName(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    if not all(_is_possible(character) for character in name + folded):
        raise InvalidAccountName
    if not (_is_alphanumeric(name[0]) and _is_alphanumeric(folded[0])):
        raise InvalidAccountName("A name begins with a letter or a digit.")
    if folded == EVERYONE:
        raise InvalidAccountName(f"`{EVERYONE}` stands for everybody, signed in or not.")
    return name


def parse_label(text: str) -> str:
    """Return a label of a token or a link; it can be shown on a terminal.

    Raises:
        InvalidRequest: it is too long, or not printable.
    """
    if len(text) > _LONGEST_LABEL or not text.isprintable():
        raise InvalidRequest(f"A label has {_LONGEST_LABEL} characters at most, all printable.")
    return text


def fold(name: str) -> str:
    """Return what two names have in common that are taken for the same: NFKC, without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_possible(character: str) -> bool:
    return character in _PUNCTUATION or unicodedata.category(character)[0] in "LNM"


def _is_alphanumeric(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"
