"""Edits of names on a server, many in one request: copies and deletions of a sync."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.client.errors import ClientError, ServerAway, Stopped
from chunkstore.client.server.conditions import ANYTHING, Condition, etag_of
from chunkstore.client.server.files import Files
from chunkstore.client.server.server import Server
from chunkstore.core.digest import Digest

# Of `POST /batch`, with room to spare.
_MAX_EDITS: Final = 1000
_MAX_SIZE: Final = 900 * 1024


@dataclass(frozen=True, slots=True)
class DeleteName:
    """Delete the file `name` if its content has this digest; None if any may be deleted."""

    name: str
    digest: Digest | None

    def to_json(self) -> dict[str, Any]:
        """Return the edit as a line of a batch has it."""
        return {"edit": "delete", "name": self.name, **_conditions("conditions", self.digest)}

    def make(self, files: Files) -> None:
        """Make the edit by a request of its own."""
        files.delete(self.name, _condition(self.digest))


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

    def make(self, files: Files) -> None:
        """Make the edit by a request of its own, which cannot have a condition on the target."""
        files.copy(
            self.source, self.name, overwrite=not self.is_new, condition=_condition(self.digest)
        )


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
    """Make the edits in one transaction, without those that fail."""
    while group:
        try:
            server.batch([edit.to_json() for edit in group])
        except (ServerAway, Stopped):
            raise
        except ClientError as error:
            if error.edit is None or error.edit >= len(group):
                _make_each(server, group, ended)
                return
            ended(group.pop(error.edit), error)
        else:
            for edit in group:
                ended(edit, None)
            return


def _make_each(
    server: Server, group: Sequence[Edit], ended: Callable[[Edit, ClientError | None], object]
) -> None:
    for edit in group:
        try:
            edit.make(server.files)
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


def _condition(digest: Digest | None) -> Condition:
    return ANYTHING if digest is None else Condition(if_match=etag_of(digest))


def _conditions(member: str, digest: Digest | None) -> Mapping[str, Any]:
    return {} if digest is None else {member: {"If-Match": etag_of(digest)}}
