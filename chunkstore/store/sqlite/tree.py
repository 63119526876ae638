"""Jobs on names: what an edit finds, and what it writes once it was judged.

Each edit is one transaction, for which all other writers wait. So a folder with more than
`MAX_NAMES` names is refused here by `ManyNames` and changed in steps (`large_folders`). Meanwhile
no name under that folder can change, and some of them are hidden.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypedDict

from chunkstore.core.errors import ChunkstoreError, DatabaseDamaged, StoreDamaged, StoreUnavailable
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import ROOT, FileName, FolderName, ancestors, parent, prefix_stop
from chunkstore.core.timestamps import to_microseconds
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Patch,
    Present,
    Put,
    is_folder_name,
    judge_length,
    names_in,
)
from chunkstore.store.contract.values import DamagedFile, File, Folder
from chunkstore.store.shared.times import Times, now_microseconds
from chunkstore.store.sqlite.engine.connection import snapshot
from chunkstore.store.sqlite.rows import execute, fetch_value, to_file

# SQLite orders every BLOB after every TEXT.
AFTER_ALL_NAMES: Final = b""
# A thousand of the longest names take about 30 ms.
MAX_NAMES: Final = 1000

Bound: TypeAlias = str | bytes


class ManyNames(ChunkstoreError):
    """The folder has more names in it than one transaction should change."""


class NameRange(TypedDict):
    """A half-open range of names, as queries take it."""

    start: Bound
    stop: Bound


def below(prefix: str) -> NameRange:
    """Return the range of the names that begin with `prefix`."""
    return NameRange(start=prefix, stop=prefix_stop(prefix) or AFTER_ALL_NAMES)


@dataclass(frozen=True, slots=True)
class FolderChange:
    """A folder that is being changed in steps: the range of its names, and whether it is hidden."""

    prefix: str
    stop: Bound
    hidden: bool


def folder_changes(db: sqlite3.Connection) -> list[FolderChange]:
    """Return the folders that are being changed in steps, in order; mostly there is none.

    Raises:
        DatabaseDamaged: a row has no names.
    """
    changes = [
        FolderChange(row["prefix"], row["stop"], bool(row["hidden"]))
        for row in execute(db, "folder_changes")
    ]
    for change in changes:
        if not isinstance(change.prefix, str) or not isinstance(change.stop, str | bytes):
            raise DatabaseDamaged
    return changes


def visible_ranges(
    start: Bound, stop: Bound, changes: Sequence[FolderChange]
) -> Iterator[NameRange]:
    """Yield the parts of a range of names that are not hidden, in order."""
    for change in changes:
        if not change.hidden or not _is_before(start, change.stop):
            continue
        if not _is_before(change.prefix, stop):
            break
        if _is_before(start, change.prefix):
            yield NameRange(start=start, stop=change.prefix)
        start = change.stop
    if _is_before(start, stop):
        yield NameRange(start=start, stop=stop)


def _is_before(one: Bound, other: Bound) -> bool:
    """Compare as SQLite does."""
    return (isinstance(one, bytes), one) < (isinstance(other, bytes), other)


def require_settled(db: sqlite3.Connection, *names: Name) -> None:
    """Refuse names that lie in a folder, or contain one, that is being changed in steps.

    Raises:
        StoreUnavailable: one does.
    """
    for change in folder_changes(db):
        for name in names:
            folder = folder_named(name)
            if folder.startswith(change.prefix) or change.prefix.startswith(folder):
                raise StoreUnavailable(
                    f"The folder {change.prefix!r} is being copied, moved or deleted; try again."
                )


def folder_named(name: Name) -> FolderName:
    """Return the folder that has the name of a file, or the folder itself."""
    return FolderName(name if is_folder_name(name) else f"{name}/")


def require_few_names(db: sqlite3.Connection, folder: FolderName) -> None:
    """Refuse a folder with too many names for one transaction.

    Raises:
        ManyNames: it has more.
    """
    if fetch_value(db, "has_names", **below(folder), count=MAX_NAMES):
        raise ManyNames


def find_file(db: sqlite3.Connection, name: str) -> File | None:
    """Return the file, None if there is none."""
    row = execute(db, "find_file", name=name).fetchone()
    return None if row is None else to_file(row, name)


def _find_file_to_edit(db: sqlite3.Connection, name: FileName) -> File | DamagedFile | None:
    """Return the file as an edit is judged by it; a damaged one can be put again or deleted."""
    try:
        return find_file(db, name)
    except StoreDamaged:
        return DamagedFile(name)


def find(db: sqlite3.Connection, name: Name) -> File | Folder | None:
    """Return the file or the folder, None if there is none."""
    return _find_folder(db, name) if is_folder_name(name) else find_file(db, name)


def find_to_edit(db: sqlite3.Connection, name: Name) -> File | DamagedFile | Folder | None:
    """Return what an edit is judged by, None if there is nothing of this name."""
    if is_folder_name(name):
        return _find_folder(db, name)
    return _find_file_to_edit(db, FileName(name))


def _find_folder(db: sqlite3.Connection, name: Name) -> Folder | None:
    folder = FolderName(name)
    return Folder(folder) if folder_exists(db, folder) else None


def folder_exists(db: sqlite3.Connection, name: FolderName) -> bool:
    """Whether the folder was made or a name lies in it."""
    return name == ROOT or _has_any(db, below(name))


def holds_besides(db: sqlite3.Connection, folder: FolderName, name: Name) -> bool:
    """Whether a folder would exist without a name in it, and all that lies below that."""
    around = below(folder)
    # No name contains NUL, so this is the least text after that of a file.
    behind = below(name)["stop"] if is_folder_name(name) else f"{name}\0"
    return _has_any(
        db,
        NameRange(start=around["start"], stop=name),
        NameRange(start=behind, stop=around["stop"]),
    )


def _has_any(db: sqlite3.Connection, *ranges: NameRange) -> bool:
    """Whether there is something to be seen in one of the ranges."""
    with snapshot(db):
        changes = folder_changes(db)
        return any(
            fetch_value(db, "folder_exists", **part)
            for each in ranges
            for part in visible_ranges(**each, changes=changes)
        )


def load(db: sqlite3.Connection, edit: Edit) -> Present:
    """Return what an edit is judged by.

    Raises:
        StoreUnavailable: a folder that the edit is about is being changed in steps.
    """
    require_settled(db, *names_in(edit))
    match edit:
        case Put():
            return load_target(db, edit.name, strict=edit.strict)
        case Delete() | Patch():
            return Present(source=find_to_edit(db, edit.name))
        case Copy() | Move():
            there = load_target(db, edit.target, strict=edit.strict)
            return replace(there, source=find_to_edit(db, edit.source))
        case MakeFolder():
            return load_target(db, edit.name, strict=edit.strict)


def load_target(db: sqlite3.Connection, name: Name, *, strict: bool = False) -> Present:
    """Return what has the name at which something is to be put, and what blocks it above.

    Only if it is `strict` the folder matters that the name lies in.
    """
    there = _load_target(db, name)
    if not strict or there.target is not None or name == ROOT:
        return there
    return replace(there, parent_exists=folder_exists(db, parent(name)))


def _load_target(db: sqlite3.Connection, name: Name) -> Present:
    current = find_to_edit(db, name)
    if current is not None:
        return Present(target=current)
    for folder in ancestors(name):
        path = FileName(folder.removesuffix("/"))
        if _find_file_to_edit(db, path) is not None:
            return Present(blocking=path)
    if is_folder_name(name):
        return Present(target=_find_file_to_edit(db, FileName(name.removesuffix("/"))))
    folder = FolderName(name + "/")
    return Present(target=Folder(folder) if folder_exists(db, folder) else None)


def put_file(
    db: sqlite3.Connection,
    name: FileName,
    manifest: Manifest,
    media_type: str,
    current: File | None,
    times: Times,
) -> File:
    """Point a name at a manifest; `current` is the file that it replaces."""
    modified = now_microseconds() if times.modified is None else times.modified
    created = times.created
    if created is None:
        created = modified if current is None else current.created_us
    execute(
        db,
        "put_file",
        name=name,
        manifest=manifest.id,
        proof=manifest.proof,
        media_type=media_type,
        created=created,
        modified=modified,
    )
    return File.of(name, manifest, media_type, created, modified)


def delete(db: sqlite3.Connection, name: Name) -> None:
    """Delete a file, or a folder with all names in it.

    Raises:
        ManyNames: the folder has too many.
    """
    if not is_folder_name(name):
        execute(db, "delete_file", name=name)
        return
    folder = FolderName(name)
    require_few_names(db, folder)
    delete_names(db, below(folder))


def delete_names(db: sqlite3.Connection, names: NameRange) -> None:
    """Delete all files and folders in a range."""
    execute(db, "delete_files", **names)
    execute(db, "delete_folders", **names)


def transfer(db: sqlite3.Connection, edit: Copy | Move) -> None:
    """Copy or move a file or a folder, and replace what has the target's name.

    Raises:
        ManyNames: a folder has too many names. InvalidName: a name would become too long.
    """
    delete(db, edit.target)
    if edit.strict:
        delete(db, other_kind(edit.target))
    if not is_folder_name(edit.source):
        transfer_file(db, edit)
        return
    source, target = FolderName(edit.source), FolderName(edit.target)
    if isinstance(edit, Copy) and not edit.with_members:
        copy_folder_itself(db, source, target)
        return
    require_few_names(db, source)
    judge_length(source, target, longest_name(db, source))
    if isinstance(edit, Copy):
        copy_names(db, below(source), source, target, keep_times=False)
        return
    for query in ("move_files", "move_folders"):
        execute(db, query, **below(source), **_prefixes(source, target))


def transfer_file(db: sqlite3.Connection, edit: Copy | Move) -> None:
    """Copy or move a file to a name that is free."""
    query = "copy_file" if isinstance(edit, Copy) else "move_file"
    modified = None if edit.modified is None else to_microseconds(edit.modified)
    parameters = {"source": edit.source, "target": edit.target, "modified": modified}
    if isinstance(edit, Copy):
        parameters["now"] = now_microseconds()
    execute(db, query, **parameters)


def other_kind(name: Name) -> Name:
    """Return the file of a folder's name, or the folder of a file's."""
    if is_folder_name(name):
        return FileName(name.removesuffix("/"))
    return FolderName(f"{name}/")


def copy_names(
    db: sqlite3.Connection,
    names: NameRange,
    source: FolderName,
    target: FolderName,
    *,
    keep_times: bool,
) -> None:
    """Copy all files and folders in a range of names from one folder to another."""
    now = None if keep_times else now_microseconds()
    for query in ("copy_files", "copy_folders"):
        execute(db, query, **names, **_prefixes(source, target), now=now)


def make_folder(db: sqlite3.Connection, name: FolderName) -> None:
    """Make an empty folder."""
    execute(db, "make_folder", name=name, now=now_microseconds())


def copy_folder_itself(db: sqlite3.Connection, source: FolderName, target: FolderName) -> None:
    """Copy a folder, made or not, without what is in it."""
    now = now_microseconds()
    if not execute(db, "copy_folder_itself", source=source, target=target, now=now).rowcount:
        make_folder(db, target)


def keep_folder_of(db: sqlite3.Connection, name: Name) -> None:
    """Have the folder last in which a name lies that is about to go."""
    folder = parent(name)
    if folder != ROOT:
        execute(db, "keep_folder", name=folder, now=now_microseconds())


def longest_name(db: sqlite3.Connection, folder: FolderName) -> int:
    """Return the bytes of the longest name in a folder that exists."""
    return int(fetch_value(db, "longest_name", **below(folder)))


def _prefixes(source: FolderName, target: FolderName) -> dict[str, Any]:
    """Return the new prefix of names, and where they continue after the old one, from 1."""
    return {"target": target, "skip": len(source) + 1}
