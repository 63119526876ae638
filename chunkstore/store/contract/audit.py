"""The contract of the audit log: who did what, when, and from where.

An entry of an edit is written in the transaction of the edit, so none is lost and none tells of
what was not done. Others are appended by whoever did what they tell of. Entries never change; old
ones are removed. The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, assert_never

from chunkstore.core.names import MAX_NAME_SIZE
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move, Patch, Put
from chunkstore.store.contract.values import Applied

_MOST_OF_OTHERS: Final = 256


@dataclass(frozen=True, slots=True)
class Who:
    """Who does something: the account's name, "" for a guest, and how they signed in.

    `address` is where they ask from, `request` the id of the request.
    """

    actor: str
    via: str
    address: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What is done, to what name, and more about it as members of a JSON object."""

    action: str
    name: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry; ids are random, and entries are in the order of their times and ids."""

    id: int
    time: datetime
    actor: str
    via: str
    action: str
    name: str
    address: str
    request: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted: of times from `since` to before `until`, of an actor, an action.

    `name` is what the name begins with, or that of where something was copied or moved to.
    """

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    name: str = ""


class AuditLog(ABC):
    """The audit log of a store."""

    @abstractmethod
    async def append(self, who: Who, actions: Sequence[Action]) -> None:
        """Append an entry for each of what somebody has done."""

    @abstractmethod
    async def list(
        self, wanted: AuditFilter, after: tuple[datetime, int] | None = None, most: int = 1000
    ) -> Sequence[AuditEntry]:
        """Return at most so many entries, in order, behind one of a time and an id.

        None appears that another could still come before. So who asks for those behind the last one
        that they got, again and again, misses none and gets none twice.
        """

    @abstractmethod
    async def remove_before(self, moment: datetime) -> int:
        """Remove the entries of times before a moment; return how many there were."""


def actions_of(edits: Sequence[Edit], applied: Sequence[Applied]) -> list[Action]:
    """Return what was done by edits that came to what was `applied`."""
    return [_action_of(edit, one.replaced) for edit, one in zip(edits, applied, strict=True)]


def _action_of(edit: Edit, replaced: bool) -> Action:
    match edit:
        case Put():
            return Action(action_of_put(replaced=replaced), edit.name, detail_of_put(edit))
        case Delete():
            return Action("delete", edit.name)
        case Copy() | Move():
            action = "copy" if isinstance(edit, Copy) else "move"
            return Action(action, edit.source, {"to": edit.target, "replaced": replaced})
        case MakeFolder():
            return Action("make folder", edit.name)
        case Patch():
            return Action("patch", edit.name)
        case _:
            assert_never(edit)


def action_of_put(*, replaced: bool) -> str:
    """Return what it is called to put a file."""
    return "replace" if replaced else "create"


def detail_of_put(edit: Put) -> dict[str, Any]:
    """Return what is told of a file that is put."""
    return {"digest": str(edit.content.digest)}


def row_of(who: Who, action: Action) -> dict[str, str]:
    """Return the columns of an entry, as plain text of bounded length."""
    return {
        "actor": plain(who.actor),
        "via": plain(who.via),
        "action": plain(action.action),
        "name": plain(action.name, MAX_NAME_SIZE),
        "address": plain(who.address),
        "request": plain(who.request),
        "detail": json.dumps(_plain_json(action.detail)),
    }


def plain(text: str, most: int = _MOST_OF_OTHERS) -> str:
    """Return a text of at most `most` characters without any that a terminal obeys.

    What is no text in Unicode, as half of a surrogate pair, becomes an escape too.
    """
    escaped = "".join(
        one if one.isprintable() else one.encode("unicode_escape", "replace").decode()
        for one in text[:most]
    )
    return escaped[:most]


def _plain_json(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case str():
            return plain(value, MAX_NAME_SIZE)
        case Mapping():
            return {plain(key): _plain_json(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain_json(one) for one in value]
    return value
