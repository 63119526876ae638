"""Errors of the client, each with the exit status that commands end with.

`docs/client.md` lists the statuses; scripts rely on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunkstoreError


class ClientError(ChunkstoreError):
    """The transfer failed."""

    exit_status: ClassVar[int] = 1
    # Whether the request was repeated: the first one may have had its effect, unheard.
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be transferred, and why."""

    name: str
    error: Exception


class SomeFailed(ClientError):
    """Some files were not transferred.

    `failures` tells which, and why.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        """`failures` has one at least."""
        super().__init__(f"{failures[0].name}: {failures[0].error}")
        self.failures = failures


class InvalidPlace(ClientError):
    """This is no place for files; give a URL, NAME:PATH of a remote, a path, or - for a pipe."""

    exit_status = 2


class Missing(ClientError):
    """There is no file or folder of this name."""

    exit_status = 3


class ConditionFailed(ClientError):
    """The file is not what it was, so nothing was changed; look at it, or use --force."""

    exit_status = 4


class ServerAway(ClientError):
    """The server cannot be reached, or is busy; the same command goes on from here later."""

    exit_status = 5


class NotTrusted(ClientError):
    """The server's certificate proves nothing, so nothing was sent to it."""

    exit_status = 8


class Mismatch(ClientError):
    """The content does not have the digest that it should have."""

    exit_status = 6


class SourceChanged(ClientError):
    """The source was changed while it was read; nothing was replaced."""

    exit_status = 7


class UploadGone(ClientError):
    """The upload is not there any more; begin anew."""

    exit_status = 5


class Stopped(ClientError):
    """The transfer was stopped; the same command goes on from here."""

    exit_status = 130


class Refused(ClientError):
    """The server refused the request.

    `status` is that of HTTP; `problem` the last part of the type of a problem document, as
    `name-conflict`, or empty if there was none.
    """

    def __init__(self, status: int, problem: str, message: str) -> None:
        """`message` is what the server says about it."""
        super().__init__(message)
        self.status = status
        self.problem = problem


class ChunksMissing(Refused):
    """The server lacks chunks of the list.

    `first` are up to 100 of their digests; `offset` is where an upload's list ends, in bytes of
    content, or None.
    """

    def __init__(self, message: str, first: Sequence[Digest], offset: int | None) -> None:
        """`message` is what the server says about it."""
        super().__init__(409, "chunks-missing", message)
        self.first = first
        self.offset = offset
