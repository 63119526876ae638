"""Copies files to and from servers of chunkstore, and sends only what is missing.

`push`, `pull`, `push_folder`, `pull_folder`, `cat` and `compare` are what the commands do; those of
`chunkstore.client.aio` are for asyncio. `docs/client.md` shows them.
"""

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
