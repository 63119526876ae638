"""Edits: the changes of names, and the rules for them, the same for every store.

A store loads and locks what is there (`Present`), calls `judge`, and writes. So no backend has a
rule about names, or a message about one.

An edit that is `strict` goes by RFC 4918: the folder that its target comes to must exist (§9.7.1,
§9.8.5), the one that its source lay in stays, though nothing else is in it (§5.2), and a file takes
a folder's place, or a folder a file's, as it would one of its own kind (§9.8.4). Without that,
folders come and go with what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from chunkstore.core.access import EVERYTHING, Verbs, words_of
from chunkstore.core.chunking import AnyChunk
from chunkstore.core.conditional import UNCONDITIONAL, UNTAGGED, Conditions, Validators
from chunkstore.core.dav.properties import PropertyChange
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    AlreadyExists,
    Forbidden,
    InvalidName,
    NameConflict,
    NotFound,
    StoreDamaged,
    VerbLacking,
)
from chunkstore.core.names import MAX_NAME_SIZE, ROOT, FileName, FolderName, parent
from chunkstore.store.contract.checksums import Sums
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.values import DamagedFile, File, Folder

Name: TypeAlias = FileName | FolderName


@dataclass(frozen=True, slots=True)
class Received:
    """File content that came in one request.

    `last` are chunks that have not been appended yet, so that a small file takes one transaction;
    `digest` and `size` are those of the whole content, as are the `checksums` that are known, which
    the edit keeps (`Checksums`).
    """

    upload: Upload
    last: Sequence[AnyChunk]
    digest: Digest
    size: int
    checksums: Sums = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The content of a whole resumable upload, by the upload's id, and its digest.

    The edit completes the upload, which stays known until `expires`, as do the parts of a
    concatenation.
    """

    upload_id: str
    digest: Digest
    expires: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """Create or replace a file: point its name at content.

    `created` and `modified` are the times that the file gets. `modified` None is now; `created`
    None is that of the file replaced, or else `modified`. Of `allowed` it needs `CREATE` or
    `WRITE`, as the name is free or taken.
    """

    name: FileName
    content: Received | Uploaded
    media_type: str
    conditions: Conditions = UNCONDITIONAL
    created: datetime | None = None
    modified: datetime | None = None
    allowed: Verbs = EVERYTHING
    strict: bool = False

    @property
    def may_replace(self) -> bool:
        """Whether it is allowed whatever file is there."""
        return self.conditions == UNCONDITIONAL and Verbs.WRITE in self.allowed


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file, or a folder with all names under it."""

    name: Name
    conditions: Conditions = UNCONDITIONAL
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """Give file content a second name, or copy a folder with all names under it.

    Both names are files or both are folders. `conditions` are judged against the source,
    `target_conditions` against what has the target's name. A folder that is replaced goes with all
    that is in it (RFC 4918 §9.8.4). Without `with_members` the copy of a folder is empty. A copy
    has the time at which it is made, or `modified`. `allowed` is of the target, as for a `Put`; a
    file that takes a folder's place needs `DELETE` too.
    """

    source: Name
    target: Name
    overwrite: bool = True
    conditions: Conditions = UNCONDITIONAL
    target_conditions: Conditions = UNCONDITIONAL
    with_members: bool = True
    allowed: Verbs = EVERYTHING
    strict: bool = False
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Rename a file, or a folder with all names under it; else as `Copy`.

    Times are kept, but a file's `modified` where that is given.
    """

    source: Name
    target: Name
    overwrite: bool = True
    conditions: Conditions = UNCONDITIONAL
    target_conditions: Conditions = UNCONDITIONAL
    allowed: Verbs = EVERYTHING
    strict: bool = False
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make an empty folder that lasts until it is deleted.

    Unless that is `strict`, those that it lies in need not be there; they last as long as it does.
    """

    name: FolderName
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Patch:
    """Change what is kept with a file or a folder: its properties, in order, and its times.

    Times that are None stay as they are (RFC 4918 §8.6). A folder that was not made lasts from then
    on, with the times that it had.
    """

    name: Name
    changes: Sequence[PropertyChange] = ()
    created: datetime | None = None
    modified: datetime | None = None
    conditions: Conditions = UNCONDITIONAL


Edit: TypeAlias = Put | Delete | Copy | Move | MakeFolder | Patch


@dataclass(frozen=True, slots=True)
class Present:
    """What exists when an edit is judged.

    `source` is what is deleted, copied, moved or patched. `target` is the file or folder that has
    the name to be written. `blocking` is the path of a file where the target needs a folder.
    `parent_exists` says whether the folder that the target comes to exists; for edits that make it
    where it does not, it is True.
    """

    source: File | DamagedFile | Folder | None = None
    target: File | DamagedFile | Folder | None = None
    blocking: str | None = None
    parent_exists: bool = True


def is_folder_name(name: Name) -> bool:
    """Whether a name has the form of a folder's."""
    return name == ROOT or name.endswith("/")


def names_in(edit: Edit) -> Sequence[Name]:
    """Return the names that an edit reads or writes."""
    match edit:
        case Put() | Delete() | MakeFolder() | Patch():
            return (edit.name,)
        case Copy() | Move():
            return (edit.source, edit.target)


def judge(edit: Edit, present: Present) -> bool:
    """Return whether the edit replaces something, given what is there.

    Raises:
        NotFound: there is nothing to delete, copy, move or patch, or no folder to make one in.
        PreconditionFailed: a condition does not hold.
        NameConflict: the file's name is a folder's, or a folder's name is a file's; or there is no
            folder for the target of a strict edit.
        AlreadyExists: the name is taken, and must not be replaced.
        VerbLacking: it would create or replace something, and that is not among what is `allowed`.
        Forbidden: it is not allowed whatever exists.
        StoreDamaged: of the file that it depends on only the name can be read.
    """
    match edit:
        case Put():
            return judge_put(edit.name, edit.conditions, present, edit.allowed)
        case Delete() | Patch():
            judge_source(edit, present.source)
            return False
        case Copy() | Move():
            judge_source(edit, present.source)
            return _judge_target(edit, present)
        case MakeFolder():
            _judge_making(edit.name, present)
            return False


def judge_put(
    name: FileName, conditions: Conditions, present: Present, allowed: Verbs = EVERYTHING
) -> bool:
    """Return whether a `Put` of this name replaces a file; raise as `judge` does."""
    current = present.target if isinstance(present.target, File | DamagedFile) else None
    conditions.require(None if current is None else _validators(current, conditions))
    _require_allowed(name, allowed, replaced=current is not None)
    if current is None:
        _require_free(name, present)
        _require_parent(name, present)
    return current is not None


def _require_allowed(name: Name, allowed: Verbs, *, replaced: bool) -> None:
    needed = Verbs.WRITE if replaced else Verbs.CREATE
    if needed not in allowed:
        raise VerbLacking(name, words_of(needed))


def judge_source(
    edit: Delete | Copy | Move | Patch, source: File | DamagedFile | Folder | None
) -> None:
    """Judge the source of an edit, before the target is looked at; raise as `judge` does."""
    name = edit.name if isinstance(edit, Delete | Patch) else edit.source
    if source is None:
        kind = "folder" if is_folder_name(name) else "file"
        raise NotFound(f"There is no {kind} {name!r}.")
    edit.conditions.require(_validators(source, edit.conditions))
    if isinstance(source, DamagedFile) and not isinstance(edit, Delete):
        raise StoreDamaged
    if ROOT in names_in(edit) and not isinstance(edit, Patch):
        raise Forbidden("The root folder can be neither deleted nor copied or moved.")
    if isinstance(edit, Copy | Move):
        _require_apart(edit.source, edit.target)
        if edit.strict and edit.source.startswith(f"{edit.target}/"):
            raise Forbidden("The destination is a folder that holds the file.")


def judge_length(source: FolderName, target: FolderName, longest: int) -> None:
    """Refuse names that would be too long in the target; the longest source has `longest` bytes.

    Raises:
        InvalidName: at least one would be.
    """
    if longest + len(target.encode()) - len(source.encode()) > MAX_NAME_SIZE:
        raise InvalidName(f"A name under {target!r} would have more than {MAX_NAME_SIZE} bytes.")


def _judge_target(edit: Copy | Move, present: Present) -> bool:
    target = edit.target
    is_folder = is_folder_name(target)
    kind = Folder if is_folder else File | DamagedFile
    is_replaced = edit.strict or isinstance(present.target, kind)
    current = present.target if is_replaced else None
    conditions = edit.target_conditions
    conditions.require(None if current is None else _validators(current, conditions))
    if current is not None and not edit.overwrite:
        what = "folder" if isinstance(current, Folder) else "file"
        raise AlreadyExists(f"There is a {what} {target!r}, and the request forbids to replace it.")
    _require_allowed(target, edit.allowed, replaced=current is not None)
    if isinstance(current, Folder) and not is_folder and Verbs.DELETE not in edit.allowed:
        raise VerbLacking(target, words_of(Verbs.DELETE))
    if current is None:
        _require_free(target, present)
        _require_parent(target, present)
    return current is not None


def _judge_making(name: FolderName, present: Present) -> None:
    path = name.removesuffix("/")
    if name == ROOT or present.target is not None:
        raise AlreadyExists(f"There is a file or a folder {path or '/'!r} already.")
    _require_free(name, present)
    if not present.parent_exists:
        raise NotFound(f"There is no folder {parent(name)!r} to make it in.")


def _require_free(name: Name, present: Present) -> None:
    """Refuse a name of which nothing of its own kind exists, if something else is in the way."""
    if present.blocking is not None:
        raise NameConflict(f"{present.blocking!r} is a file, so it holds no files.")
    if isinstance(present.target, Folder) and not is_folder_name(name):
        raise NameConflict(f"{name!r} is a folder.")
    if isinstance(present.target, File | DamagedFile) and is_folder_name(name):
        raise NameConflict(f"{name.removesuffix('/')!r} is a file.")


def _require_parent(name: Name, present: Present) -> None:
    if not present.parent_exists:
        raise NameConflict(f"There is no folder {parent(name)!r} to put it in.")


def _require_apart(source: Name, target: Name) -> None:
    if not is_folder_name(source):
        if source == target:
            raise Forbidden("The destination is the file itself.")
    elif source.startswith(target) or target.startswith(source):
        raise Forbidden("The destination is the folder itself, lies in it, or holds it.")


def _validators(there: File | DamagedFile | Folder, conditions: Conditions) -> Validators:
    """Return what conditions are judged by.

    Raises:
        StoreDamaged: there are conditions on a file of which nothing is known.
    """
    if isinstance(there, DamagedFile) and conditions != UNCONDITIONAL:
        raise StoreDamaged
    return there.validators if isinstance(there, File) else UNTAGGED
