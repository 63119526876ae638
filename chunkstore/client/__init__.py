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
        NotTrusted,
        Refused,
        ServerAway,
        SomeFailed,
        SourceChanged,
    )
    from chunkstore.client.outcome import Transferred
    from chunkstore.client.session import Session
    from chunkstore.client.settings import Settings
    from chunkstore.core.chunkers import Chunking

__all__ = [
    "Chunking",
    "ClientError",
    "ConditionFailed",
    "Failure",
    "InvalidPlace",
    "Mismatch",
    "Missing",
    "NotTrusted",
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

_HOMES = {
    "Chunking": "chunkstore.core.chunkers",
    "Session": "chunkstore.client.session",
    "Settings": "chunkstore.client.settings",
    "Transferred": "chunkstore.client.outcome",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    default = "chunkstore.client.errors" if name[0].isupper() else "chunkstore.client.api"
    found = getattr(import_module(_HOMES.get(name, default)), name)
    globals()[name] = found
    return found
