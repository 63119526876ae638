"""The contract of records: what is small, changed seldom and found by a key.

Accounts, groups, rules, tokens, sessions and links are records. The store knows nothing about them
but what stands here; what a kind of record says is up to whoever keeps it. The obligations of
`chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from chunkstore.core.errors import RecordsChanged


class _Absent(enum.Enum):
    ABSENT = enum.auto()


ABSENT: Final = _Absent.ABSENT
"""Expected of a record that is not to be there."""
Expected: TypeAlias = int | Literal[_Absent.ABSENT] | None
"""The revision that a record is to have, ABSENT, or None for whatever there is."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record: `key` is its only one of its kind, `owner` is what it can be listed by.

    `value` is text, as JSON. `revision` is another number after each change. From `expires` on
    there is no such record any more.
    """

    kind: str
    key: str
    owner: str
    value: str
    revision: int
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Add a record, or replace the one that has its key."""

    kind: str
    key: str
    owner: str
    value: str
    expires: datetime | None = None
    expected: Expected = None


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Delete a record; with `expected` it has to be there."""

    kind: str
    key: str
    expected: int | None = None


RecordChange: TypeAlias = PutRecord | DeleteRecord


def in_order(changes: Sequence[RecordChange]) -> list[RecordChange]:
    """Return changes in the order of their keys, in which none can wait for another in a circle.

    Raises:
        ValueError: two are of the same record.
    """
    ordered = sorted(changes, key=lambda change: (change.kind, change.key))
    if len({(change.kind, change.key) for change in changes}) < len(changes):
        raise ValueError("Two changes are of one record.")
    return ordered


def require_made(change: RecordChange, rows: int) -> None:
    """Check that a change met the record that it expected, by how many rows it changed.

    Raises:
        RecordsChanged: it did not.
    """
    if not rows and change.expected is not None:
        raise RecordsChanged


class Records(ABC):
    """The records of a store."""

    @abstractmethod
    async def find(self, kind: str, key: str) -> Record | None:
        """Return a record, None if there is none."""

    @abstractmethod
    async def list(
        self, kind: str, owner: str | None = None, after: str = "", most: int = 1000
    ) -> Sequence[Record]:
        """Return records of a kind, at most `most`, in the order of their keys' UTF-8 bytes.

        They are those of an owner, or of all, whose keys come behind `after`.
        """

    @abstractmethod
    async def apply(self, changes: Sequence[RecordChange], *, announced: bool = True) -> None:
        """Make all changes, or none, each of another record.

        Unless they are `announced`, the store's `revision` stays what it is: for changes of what
        nobody keeps in memory.

        Raises:
            RecordsChanged: a record is not as expected, so nothing was changed.
            ValueError: two changes are of one record.
        """

    @abstractmethod
    async def revision(self) -> int:
        """Return a number that is another one after each announced change, whoever made it.

        It is to be compared for equality only. What is read after it is at least as new.
        """
