"""What has to be so on the server for a change to be made (RFC 9110 §13)."""

from __future__ import annotations

from dataclasses import dataclass

from chunkstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on the file that is to be replaced."""

    if_match: str | None = None
    if_none_match: str | None = None

    def to_headers(self) -> dict[str, str]:
        """Return the header fields that tell it."""
        fields = {"If-Match": self.if_match, "If-None-Match": self.if_none_match}
        return {name: value for name, value in fields.items() if value is not None}


ANYTHING = Condition()
ABSENT = Condition(if_none_match="*")


def unchanged(etag: str) -> Condition:
    """Return the condition that the file still has this strong ETag."""
    return Condition(if_match=etag)


def etag_of(digest: Digest) -> str:
    """Return the ETag of a content on servers of chunkstore."""
    return f'"{digest}"'


def digest_in(etag: str | None) -> Digest | None:
    """Return the digest that an ETag is, None if it is none."""
    if etag is None:
        return None
    try:
        return Digest.parse(etag.removeprefix('"').removesuffix('"').removesuffix("-t"))
    except ValueError:
        return None
