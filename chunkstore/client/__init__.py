"""Copies files to and from servers of chunkstore, and sends only what is missing.

`push`, `pull`, `push_folder`, `pull_folder`, `cat` and `compare` are what the commands do; those of
`chunkstore.client.aio` are for asyncio. `docs/client.md` shows them. Each name is imported when it
is first used, so that a part of the client costs only that part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkstore.client.api import cat, compare, pull, pull_folder, push, push_folder
    from chunkstore.client.errors import (
        ClientError,
        ConditionFailed,
        Failure,
        InvalidPlace,
        Mismatch,
        Missing,
        Refused,
        ServerAway,
        SomeFailed,
        SourceChanged,
    )
    from chunkstore.client.outcome import Transferred
    from chunkstore.client.session import Session
    from chunkstore.client.settings import Settings

__all__ = [
    "ClientError",
    "ConditionFailed",
    "Failure",
    "InvalidPlace",
    "Mismatch",
    "Missing",
    "Refused",
    "ServerAway",
    "Session",
    "Settings",
    "SomeFailed",
    "SourceChanged",
    "Transferred",
    "cat",
    "compare",
    "pull",
    "pull_folder",
    "push",
    "push_folder",
]

_HOMES = {"Session": "session", "Settings": "settings", "Transferred": "outcome"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "errors" if name[0].isupper() else "api")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
