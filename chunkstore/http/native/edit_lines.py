"""Edits as JSON lines: what `POST /batch` is sent.

Each line is an object (https://jsonlines.org) with a member `edit` that says what it is:

    {"edit": "put", "name": "d/a", "upload": "/uploads/…", "media_type": "text/plain"}
    {"edit": "copy", "source": "d/a", "target": "d/b", "overwrite": false}
    {"edit": "move", "source": "d/", "target": "e/"}
    {"edit": "delete", "name": "old"}
    {"edit": "make_folder", "name": "d/"}

A name that ends in `/` is a folder's. `conditions` are header fields with their values, judged
against the file that is replaced, deleted, copied or moved (RFC 9110 §13.1); `target_conditions`
are judged against what a copy or a move replaces. `depth` 0 copies a folder without its members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from chunkstore.core.conditional import (
    CONDITION_FIELDS,
    Conditions,
    parse_entity_tags,
    parse_http_date,
)
from chunkstore.core.errors import ChunkstoreError, InvalidRequest, TooLarge
from chunkstore.core.names import FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.http.message.headers import parse_media_type
from chunkstore.store.contract.edits import Copy, Delete, MakeFolder, Move, Name, is_folder_name

MAX_EDITS: Final = 1000
# Each may touch a thousand names, all in one transaction.
MAX_FOLDER_EDITS: Final = 10
_MAX_CONDITION_SIZE: Final = 8 * 1024
# What an error repeats of a line.
_MAX_ECHO: Final = 64


@dataclass(frozen=True, slots=True)
class PutUpload:
    """Make a whole upload, by its URL, the file `name`; `media_type` None leaves it as it was."""

    name: FileName
    upload: str
    media_type: str | None
    conditions: Conditions


RequestedEdit: TypeAlias = PutUpload | Delete | Copy | Move | MakeFolder


@contextmanager
def placed(edit: int) -> Iterator[None]:
    """Let an error of the context say which edit it is about."""
    try:
        yield
    except ChunkstoreError as error:
        error.edit = edit
        raise


def parse_edits(body: bytes) -> list[RequestedEdit]:
    """Return the edits of a body, one on each line that is not empty.

    Raises:
        InvalidRequest: a line is malformed, whose place, from 0 on, is the error's `edit`.
        TooLarge: there are too many.
    """
    edits: list[RequestedEdit] = []
    folders = 0
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        if len(edits) == MAX_EDITS:
            raise TooLarge(f"A batch can have {MAX_EDITS} edits.")
        with placed(len(edits)):
            edit = _Line(_parse_object(line)).to_edit()
        folders += _touches_members(edit)
        if folders > MAX_FOLDER_EDITS:
            raise TooLarge(f"A batch can change {MAX_FOLDER_EDITS} folders.")
        edits.append(edit)
    if not edits:
        raise InvalidRequest("The batch has no edit in it.")
    return edits


def _touches_members(edit: RequestedEdit) -> bool:
    match edit:
        case Delete():
            return is_folder_name(edit.name)
        case Copy() | Move():
            return is_folder_name(edit.source)
        case _:
            return False


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("A line of a batch is a JSON object, in UTF-8.") from error
    if not isinstance(value, dict):
        raise InvalidRequest("A line of a batch is a JSON object.")
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise InvalidRequest("A member of an object stands once.")
    return members


@dataclass(slots=True)
class _Line:
    """The members of one line, of which each is taken once."""

    members: dict[str, Any]
    _taken: set[str] = field(default_factory=set)

    def to_edit(self) -> RequestedEdit:
        """Return the edit that the line asks for."""
        edit = self._edit(self._text("edit"))
        unknown = self.members.keys() - self._taken
        if unknown:
            raise InvalidRequest(f"This edit has no member {min(unknown)[:_MAX_ECHO]!r}.")
        return edit

    def _edit(self, kind: str) -> RequestedEdit:
        match kind:
            case "put":
                return self._put()
            case "delete":
                return Delete(_parse_name(self._text("name")), self._conditions("conditions"))
            case "copy":
                source, target = self._names()
                members = self._with_members() if is_folder_name(source) else True
                return Copy(source, target, *self._rules(), with_members=members)
            case "move":
                source, target = self._names()
                return Move(source, target, *self._rules())
            case "make_folder":
                return MakeFolder(parse_folder_name(self._text("name")))
        raise InvalidRequest("`edit` is put, copy, move, delete or make_folder.")

    def _put(self) -> PutUpload:
        name = parse_file_name(self._text("name"))
        media_type = None
        if "media_type" in self.members:
            media_type = parse_media_type(self._text("media_type"), name)
        return PutUpload(name, self._text("upload"), media_type, self._conditions("conditions"))

    def _names(self) -> tuple[Name, Name]:
        source, target = _parse_name(self._text("source")), _parse_name(self._text("target"))
        if is_folder_name(source) != is_folder_name(target):
            raise InvalidRequest("`source` and `target` are both files, or both end in `/`.")
        return source, target

    def _rules(self) -> tuple[bool, Conditions, Conditions]:
        overwrite = self._take("overwrite", True)
        if not isinstance(overwrite, bool):
            raise InvalidRequest("`overwrite` is true or false.")
        return overwrite, self._conditions("conditions"), self._conditions("target_conditions")

    def _with_members(self) -> bool:
        depth = self._take("depth", "infinity")
        if depth != "infinity" and (type(depth) is not int or depth != 0):
            raise InvalidRequest("`depth` is 0 or infinity.")
        return bool(depth == "infinity")

    def _conditions(self, member: str) -> Conditions:
        fields = self._take(member, {})
        if not isinstance(fields, dict) or not fields.keys() <= set(CONDITION_FIELDS):
            raise InvalidRequest(f"`{member}` has members of {', '.join(CONDITION_FIELDS)}.")
        for name, value in fields.items():
            if not isinstance(value, str):
                raise InvalidRequest(f"`{member}` has texts as values, as header fields have.")
            require_condition(name, value)
        return Conditions.from_headers(lambda name: [fields[name]] if name in fields else [])

    def _text(self, member: str) -> str:
        value = self._take(member, None)
        if not isinstance(value, str):
            raise InvalidRequest(f"This edit needs a member `{member}`, which is a text.")
        return value

    def _take(self, member: str, default: object) -> Any:  # noqa: ANN401 - whatever JSON has
        self._taken.add(member)
        return self.members.get(member, default)


def require_condition(name: str, value: str) -> None:
    """Refuse what would be ignored in a header field, or match nothing: here it is a mistake.

    Raises:
        InvalidRequest: it is such a value.
    """
    if len(value) > _MAX_CONDITION_SIZE:
        raise InvalidRequest(f"{name} can have {_MAX_CONDITION_SIZE} characters.")
    if name in ("If-Match", "If-None-Match"):
        tags = parse_entity_tags(name, [value])
        understood = tags is not None and (tags.any or bool(tags.tags))
    else:
        understood = parse_http_date([value]) is not None
    if not understood:
        raise InvalidRequest(f"{name} is {value[:_MAX_ECHO]!r}, which is not what it can be.")


def _parse_name(text: str) -> Name:
    """Return a file's name, or a folder's where the text ends in `/`."""
    name: FileName | FolderName
    name = parse_folder_name(text) if text.endswith("/") else parse_file_name(text)
    return name
