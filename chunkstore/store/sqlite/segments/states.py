"""The states of a segment, one table.

A segment is

- **open** while chunks are written to its file, which nobody else looks at;
- **sealed** once its file and the name of it have been synced: its bytes can be relied on;
- **published** once the database has a row of it, and rows of chunks that refer to it;
- **in doubt** when a transaction that publishes it has failed in a way that may have taken effect,
  as a failed sync or a cancelled caller; whoever sweeps the folder next finds out;
- **condemned** when no chunk refers to it and no row will: its file is removed. One that was
  published is marked as condemned, by a transaction that is synced before the file goes, and
  forgotten when the file is gone for good. So no crash brings back chunks without their bytes, or
  leaves a file that nobody knows of.

Open, sealed and in doubt are known to the process that made the file and to nobody else, so after a
crash a file of its session without a row is worthless: an orphan, removed at the start.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.Enum):
    """What a segment is."""

    OPEN = enum.auto()
    SEALED = enum.auto()
    PUBLISHED = enum.auto()
    IN_DOUBT = enum.auto()
    CONDEMNED = enum.auto()


class Event(enum.Enum):
    """What happens to a segment."""

    SEAL = enum.auto()
    PUBLISH = enum.auto()
    FAIL_TO_PUBLISH = enum.auto()
    FIND_ROW = enum.auto()
    FIND_NO_ROW = enum.auto()
    LOSE_LAST_CHUNK = enum.auto()
    DISCARD = enum.auto()


TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.OPEN: {Event.SEAL: State.SEALED, Event.DISCARD: State.CONDEMNED},
    State.SEALED: {
        Event.PUBLISH: State.PUBLISHED,
        Event.FAIL_TO_PUBLISH: State.IN_DOUBT,
        Event.DISCARD: State.CONDEMNED,
    },
    State.PUBLISHED: {Event.LOSE_LAST_CHUNK: State.CONDEMNED},
    State.IN_DOUBT: {Event.FIND_ROW: State.PUBLISHED, Event.FIND_NO_ROW: State.CONDEMNED},
    State.CONDEMNED: {},
}


def advance(state: State, event: Event) -> State:
    """Return the state that an event leads to.

    Raises:
        ValueError: it cannot happen in this state.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a segment that is {state.name} cannot {event.name}") from None
