"""Conditional requests: whether one applies to the current state of a file (RFC 9110 §13).

A file's validators are its ETag, always strong because it is the digest of the content, and the
time of its last modification, which HTTP knows to the second.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from chunkstore.core.errors import PreconditionFailed
from chunkstore.core.timestamps import to_http_date, to_microseconds

# RFC 9110 §8.8.3: etagc is %x21 / %x23-7E / obs-text.
_ENTITY_TAG: Final = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\U0010ffff]*)"')
# RFC 9110 §5.6.7: the format to send, and the two obsolete ones that are read as well.
_HTTP_DATE: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2}"
    r" [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ 0-9][0-9]"
    r" [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"
)
CONDITION_FIELDS: Final = (
    "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
)  # fmt: skip
_IF_NONE_MATCH: Final = "If-None-Match"
_OTHER_MEMBER: Final = re.compile(r"([^,]*)(?:,[ \t]*)*")
_SEPARATOR: Final = re.compile(r"[ \t]*(?:,[ \t]*)+|[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies a state of a file: `etag` without quotes, `modified` in UTC."""

    etag: str
    modified: datetime

    @property
    def last_modified(self) -> datetime:
        """The time of modification in whole seconds, as HTTP has it."""
        return self.modified.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class EntityTag:
    """One member of an If-Match or If-None-Match list; `opaque` is without its quotes."""

    opaque: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class EntityTags:
    """The value of If-Match or If-None-Match; `any` stands for `*`."""

    tags: frozenset[EntityTag] = frozenset()
    any: bool = False

    def match_strongly(self, current: Validators | None) -> bool:
        """Whether the file exists and matches by strong comparison (RFC 9110 §8.8.3.2)."""
        return current is not None and (self.any or EntityTag(current.etag) in self.tags)

    def match_weakly(self, current: Validators | None) -> bool:
        """Whether the file exists and matches by weak comparison (RFC 9110 §8.8.3.2)."""
        return current is not None and (
            self.any or any(tag.opaque == current.etag for tag in self.tags)
        )

    def to_header(self) -> str:
        """Return the value of the field."""
        if self.any:
            return "*"
        return ", ".join(sorted(f'{"W/" * tag.weak}"{tag.opaque}"' for tag in self.tags))


class Outcome(enum.Enum):
    """The result of evaluating the conditions of a GET or HEAD."""

    PROCEED = enum.auto()
    NOT_MODIFIED = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers of one request, each None if absent.

    With `exact_dates` a date holds only if it is that of the file: where clients set times, a file
    can have changed though its time went back.
    """

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None
    exact_dates: bool = False

    @classmethod
    def from_headers(cls, get_all: Callable[[str], Sequence[str]]) -> Conditions:
        """Parse them; `get_all` returns all lines of a header."""
        match, none_match, modified_since, unmodified_since = CONDITION_FIELDS
        return cls(
            if_match=parse_entity_tags(match, get_all(match)),
            if_none_match=parse_entity_tags(none_match, get_all(none_match)),
            if_modified_since=parse_http_date(get_all(modified_since)),
            if_unmodified_since=parse_http_date(get_all(unmodified_since)),
        )

    def to_headers(self) -> dict[str, str]:
        """Return them as header fields, from which `from_headers` makes the same conditions."""
        tags = {"If-Match": self.if_match, "If-None-Match": self.if_none_match}
        times = {
            "If-Modified-Since": self.if_modified_since,
            "If-Unmodified-Since": self.if_unmodified_since,
        }
        return {
            **{field: value.to_header() for field, value in tags.items() if value is not None},
            **{field: format_http_date(time) for field, time in times.items() if time is not None},
        }

    def evaluate(self, current: Validators | None) -> Outcome:
        """Evaluate a GET or HEAD; `current` None: no file (RFC 9110 §13.2.2 has the order)."""
        if self._guard_fails(current):
            return Outcome.FAILED
        if self.if_none_match is not None:
            matched = self.if_none_match.match_weakly(current)
            return Outcome.NOT_MODIFIED if matched else Outcome.PROCEED
        since = self.if_modified_since
        if since is not None and current is not None and self._is_unchanged(current, since):
            return Outcome.NOT_MODIFIED
        return Outcome.PROCEED

    def require(self, current: Validators | None) -> None:
        """Evaluate a request that changes or copies the file; `current` is None if there is none.

        If-Modified-Since has no meaning here (RFC 9110 §13.1.3).

        Raises:
            PreconditionFailed: the request must not be carried out.
        """
        if self._guard_fails(current):
            raise PreconditionFailed
        if self.if_none_match is not None and self.if_none_match.match_weakly(current):
            raise PreconditionFailed(
                "There is a file of this name already, and the request forbids to replace it."
                if self.if_none_match.any
                else None
            )

    def _guard_fails(self, current: Validators | None) -> bool:
        if self.if_match is not None:
            return not self.if_match.match_strongly(current)
        if self.if_unmodified_since is not None:
            return current is None or not self._is_unchanged(current, self.if_unmodified_since)
        return False

    def _is_unchanged(self, current: Validators, since: datetime) -> bool:
        if self.exact_dates:
            return current.last_modified == since
        return current.last_modified <= since


# For what exists but has neither ETag nor time: no tag matches, and no time is earlier.
UNTAGGED: Final = Validators("\0", datetime.min.replace(tzinfo=UTC))
UNCONDITIONAL: Final = Conditions()
CREATE_ONLY: Final = Conditions(if_none_match=EntityTags(any=True))


def parse_entity_tags(field: str, lines: Sequence[str]) -> EntityTags | None:
    """Return the value of `field`, If-Match or If-None-Match, None where there are no `lines`.

    What is neither `*` nor an entity tag matches nothing: some clients send such a value so that it
    does. An If-Match of nothing else fails. A `*` beside others, which no client can mean, forbids
    in If-None-Match to replace a file, and permits nothing in If-Match.
    """
    if not lines:
        return None
    # RFC 9110 §5.3 and §5.6.1.2: lines make one list, and empty elements of it mean nothing.
    text = ",".join(lines).strip(" \t,")
    if text == "*":
        return EntityTags(any=True)
    tags, has_star = set(), False
    position = 0
    while position < len(text):
        tag = _ENTITY_TAG.match(text, position)
        separator = _SEPARATOR.match(text, tag.end()) if tag else None
        if tag is not None and separator is not None:
            tags.add(EntityTag(tag["opaque"], weak=tag["weak"] is not None))
            position = separator.end()
        else:
            other = _OTHER_MEMBER.match(text, position)
            assert other is not None
            has_star = has_star or other[1].strip(" \t") == "*"
            position = other.end()
    return EntityTags(frozenset(tags), any=has_star and field == _IF_NONE_MATCH)


def if_range_holds(header: str | None, current: Validators) -> bool:
    """Whether a Range applies, given the If-Range beside it (RFC 9110 §13.1.5).

    An entity tag must match strongly and a date exactly; anything else does not hold, so that
    the whole content is sent.
    """
    if header is None:
        return True
    text = header.strip(" \t")
    tag = _ENTITY_TAG.fullmatch(text)
    if tag is not None:
        return tag["weak"] is None and tag["opaque"] == current.etag
    return parse_http_date([text]) == current.last_modified


def parse_http_date(lines: Sequence[str]) -> datetime | None:
    """Return the time an HTTP-date tells; None unless it is exactly one valid date.

    RFC 9110 §13.1.3 and §13.1.4: conditions with an invalid date are ignored.
    """
    if len(lines) != 1 or not _HTTP_DATE.fullmatch(text := lines[0].strip(" \t")):
        return None
    try:
        parsed = parsedate_to_datetime(text)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC)


def format_http_date(moment: datetime) -> str:
    """Return `moment`, which is in UTC, as an HTTP-date (RFC 9110 §5.6.7)."""
    return to_http_date(to_microseconds(moment))


def format_etag(etag: str) -> str:
    """Return the strong entity tag as it stands in a header (RFC 9110 §8.8.3)."""
    return f'"{etag}"'
