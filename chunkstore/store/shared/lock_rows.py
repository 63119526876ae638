"""How rows of locks become values, and what new ones get."""

from __future__ import annotations

import uuid
from typing import Any

from chunkstore.core.dav.locks import Lock
from chunkstore.core.timestamps import to_datetime


def new_token() -> str:
    """Return a token that no other lock ever has (RFC 4918 §6.5).

    It is shorter than a URN, as ETags are long here: some programs have 200 bytes for an If header
    with two of them, litmus among these.
    """
    return f"lock:{uuid.uuid4().hex}"


def to_lock(row: Any) -> Lock:  # noqa: ANN401 - the driver's
    """Return the lock in a row."""
    return Lock(
        row["token"],
        row["root"],
        bool(row["is_folder"]),
        bool(row["is_deep"]),
        bool(row["is_exclusive"]),
        row["owner"],
        row["principal"],
        row["seconds"],
        to_datetime(row["expires"]),
    )
