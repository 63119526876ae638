"""What records of accounts are: their kinds, and their values, which are JSON objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from chunkstore.core.errors import StoreDamaged
from chunkstore.store.contract.records import PutRecord, Record

K = TypeVar("K")

ACCOUNT: Final = "account"
GROUP: Final = "group"
MEMBER: Final = "member"
RULE: Final = "rule"
TOKEN: Final = "token"
SESSION: Final = "session"
FACTOR: Final = "factor"
SIGN_IN: Final = "sign-in"
IDENTITY: Final = "identity"
LINK: Final = "link"
LINK_USE: Final = "link-use"
# What is listed by an account as its owner, and goes with it.
OF_ACCOUNT: Final = (RULE, TOKEN, SESSION, FACTOR, SIGN_IN, IDENTITY, LINK, LINK_USE)
# One record, which is there from the first account on: without it, whoever removed the last one
# would open the store to everybody.
CLOSED: Final = PutRecord("state", "closed", "", "{}")
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""In the place of when something was, where it was not."""


def format_value(value: Mapping[str, object]) -> str:
    """Return what a record keeps of a JSON object."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def parse_value(record: Record) -> dict[str, Any]:
    """Return the JSON object that a record keeps.

    Raises:
        TypeError, ValueError: it keeps none.
    """
    value = json.loads(record.value)
    if not isinstance(value, dict):
        raise TypeError(f"A record of the kind {record.kind} is no object.")
    return value


def parse_all(parse: Callable[[Record], K], records: Iterable[Record]) -> list[K]:
    """Return what records keep.

    Raises:
        StoreDamaged: one of them is not what it should be.
    """
    try:
        return [parse(record) for record in records]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoreDamaged("What is kept of accounts and rules is damaged.") from error


def to_microseconds(moment: datetime) -> int:
    """Return a moment as records keep it."""
    return (moment - NEVER) // timedelta(microseconds=1)


def to_time(microseconds: int) -> datetime:
    """Return the moment that a record keeps."""
    return NEVER + timedelta(microseconds=microseconds)
