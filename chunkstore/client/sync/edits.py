"""Edits of names on a server, many in one request: copies and deletions of a sync."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.client.errors import ClientError, ServerAway, Stopped
from chunkstore.client.server.conditions import ANYTHING, etag_of, unchanged
from chunkstore.client.server.server import Server
from chunkstore.core.digest import Digest

# Of `POST /batch`, with room to spare.
_MAX_EDITS: Final = 1000
_MAX_SIZE: Final = 900 * 1024
# How often a batch is sent, each time without the edit that was refused.
_BATCH_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class DeleteName:
    """Delete the file `name` if its content has this digest; None if any may be deleted."""

    name: str
    digest: Digest | None

    def to_json(self) -> dict[str, Any]:
        """Return the edit as a line of a batch has it."""
        return {"edit": "delete", "name": self.name, **_conditions("conditions", self.digest)}

    def make(self, server: Server) -> None:
        """Make the edit by a request of its own."""
        condition = ANYTHING if self.digest is None else unchanged(etag_of(self.digest))
        server.files.delete(self.name, condition)


@dataclass(frozen=True, slots=True)
class CopyName:
    """Copy the file `source`, whose content has the digest, to `name`.

    `replaces` is the digest of what has that name now; if `is_new`, nothing may have it.
    """

    name: str
    source: str
    digest: Digest
    replaces: Digest | None
    is_new: bool

    def to_json(self) -> dict[str, Any]:
        """Return the edit as a line of a batch has it."""
        return {
            "edit": "copy",
            "source": self.source,
            "target": self.name,
            "overwrite": not self.is_new,
            **_conditions("conditions", self.digest),
            **_conditions("target_conditions", self.replaces),
        }

    def make(self, server: Server) -> None:
        """Make the edit by a request of its own."""
        server.batch([self.to_json()])


Edit = DeleteName | CopyName


def make_edits(
    server: Server, edits: Sequence[Edit], ended: Callable[[Edit, ClientError | None], object]
) -> None:
    """Make edits, as many as can be; `ended` is told of each, with the error if it failed.

    Raises:
        ServerAway: the server went away; some edits may have been made.
    """
    for group in _groups(edits):
        _make_group(server, group, ended)


def _make_group(
    server: Server, group: list[Edit], ended: Callable[[Edit, ClientError | None], object]
) -> None:
    """Make the edits in one transaction, without those that fail; of many, each by itself."""
    for _ in range(_BATCH_ATTEMPTS):
        try:
            if group:
                server.batch([edit.to_json() for edit in group])
        except (ServerAway, Stopped):
            raise
        except ClientError as error:
            # Of one that was repeated, all may have been made before.
            if error.is_repeated or error.edit is None or error.edit >= len(group):
                break
            ended(group.pop(error.edit), error)
        else:
            for edit in group:
                ended(edit, None)
            return
    _make_each(server, group, ended)


def _make_each(
    server: Server, group: Sequence[Edit], ended: Callable[[Edit, ClientError | None], object]
) -> None:
    for edit in group:
        try:
            edit.make(server)
        except (ServerAway, Stopped):
            raise
        except ClientError as error:
            ended(edit, error)
        else:
            ended(edit, None)


def _groups(edits: Sequence[Edit]) -> Iterator[list[Edit]]:
    group: list[Edit] = []
    size = 0
    for edit in edits:
        length = len(json.dumps(edit.to_json())) + 1
        if group and (len(group) == _MAX_EDITS or size + length > _MAX_SIZE):
            yield group
            group, size = [], 0
        group.append(edit)
        size += length
    if group:
        yield group


def _conditions(member: str, digest: Digest | None) -> Mapping[str, Any]:
    return {} if digest is None else {member: {"If-Match": etag_of(digest)}}
