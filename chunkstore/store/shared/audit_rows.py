"""How entries of the audit log become rows, and rows entries."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from chunkstore.core.names import MAX_NAME_SIZE
from chunkstore.core.timestamps import to_datetime, to_microseconds
from chunkstore.store.contract.audit import Action, AuditEntry, AuditFilter, Who, plain, row_of

_ID_BITS: Final = 63
_FIRST: Final = 0
_LAST: Final = (1 << 63) - 1


def to_rows(who: Who, actions: Sequence[Action], now: int) -> list[dict[str, Any]]:
    """Return all columns of new entries from a time on, each of a later one than the one before."""
    return [
        {"id": secrets.randbits(_ID_BITS), "time": now + place, **row_of(who, action)}
        for place, action in enumerate(actions)
    ]


def to_entry(row: Any) -> AuditEntry:  # noqa: ANN401 - the driver's
    """Return the entry in a row."""
    columns = {key: row[key] for key in ("actor", "via", "action", "name", "address", "request")}
    return AuditEntry(
        id=row["id"],
        time=to_datetime(row["time"]),
        detail=json.loads(row["detail"]),
        **columns,
    )


def bounds_of(wanted: AuditFilter, after: tuple[datetime, int] | None) -> tuple[int, int, int]:
    """Return behind which time and id, and before which time entries are wanted."""
    until = _LAST if wanted.until is None else to_microseconds(wanted.until)
    since = _FIRST if wanted.since is None else to_microseconds(wanted.since)
    start = (since - 1, _LAST)
    if after is not None:
        start = max(start, (to_microseconds(after[0]), after[1]))
    return *start, until


def texts_of(wanted: AuditFilter) -> tuple[str | None, str | None, str]:
    """Return which actor, action and beginning of a name are wanted, as entries have them."""
    actor = None if wanted.actor is None else plain(wanted.actor)
    action = None if wanted.action is None else plain(wanted.action)
    return actor, action, plain(wanted.name, MAX_NAME_SIZE)
