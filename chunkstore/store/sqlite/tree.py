"""Jobs on names: files and folders.

Each edit is one transaction, which holds up all others that write. So a folder with more than
`MAX_NAMES` names in it is refused here by `ManyNames`, and goes in steps (`large_folders`). Names
under a folder that does cannot change meanwhile, and some of them are hidden.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from chunkstore.core.conditional import Conditions
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    InvalidName,
    NameConflict,
    NotFound,
    StoreUnavailable,
)
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import (
    MAX_NAME_SIZE,
    ROOT,
    FileName,
    FolderName,
    ancestors,
    parent,
    prefix_stop,
)
from chunkstore.store.contract.values import File
from chunkstore.store.shared.times import NOW, Times, now_microseconds, to_datetime, to_microseconds
from chunkstore.store.sqlite.rows import QUERIES, to_file

# SQLite orders every BLOB behind every TEXT.
BEHIND_ALL_NAMES: Final = b""
# A thousand of the longest take about 30 ms.
MAX_NAMES: Final = 1000

Bound: TypeAlias = str | bytes


class ManyNames(ChunkstoreError):
    """The folder has more names in it than one transaction should touch."""


@dataclass(frozen=True, slots=True)
class FolderChange:
    """A folder that is being changed in steps: its names, and whether nobody sees them."""

    prefix: str
    stop: Bound
    hidden: bool


def below(prefix: str) -> dict[str, Bound]:
    """Return the half-open range of the names that begin with `prefix`."""
    return {"start": prefix, "stop": prefix_stop(prefix) or BEHIND_ALL_NAMES}


def folder_changes(db: sqlite3.Connection) -> list[FolderChange]:
    """Return the folders that are being changed in steps, in order; mostly there is none."""
    return [
        FolderChange(prefix, stop, bool(hidden))
        for prefix, stop, hidden in db.execute(QUERIES["folder_changes"])
    ]


def visible_ranges(
    start: Bound, stop: Bound, changes: Sequence[FolderChange]
) -> Iterator[dict[str, Bound]]:
    """Yield the parts of a range of names that are not hidden, in order."""
    for change in changes:
        if not change.hidden or not _is_before(start, change.stop):
            continue
        if not _is_before(change.prefix, stop):
            break
        if _is_before(start, change.prefix):
            yield {"start": start, "stop": change.prefix}
        start = change.stop
    if _is_before(start, stop):
        yield {"start": start, "stop": stop}


def _is_before(one: Bound, other: Bound) -> bool:
    """Compare as SQLite does."""
    return (isinstance(one, bytes), one) < (isinstance(other, bytes), other)


@contextmanager
def one_view(db: sqlite3.Connection) -> Iterator[None]:
    """Have all statements of the context see the database at the same moment."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        # An I/O error has rolled the transaction back already.
        if db.in_transaction:
            db.execute("COMMIT")


def require_settled(db: sqlite3.Connection, *names: FileName | FolderName) -> None:
    """Refuse to touch names that lie in a folder, or hold one, that is being changed in steps.

    Raises:
        StoreUnavailable: one does.
    """
    for change in folder_changes(db):
        for name in names:
            folder = name if name.endswith("/") else f"{name}/"
            if folder.startswith(change.prefix) or change.prefix.startswith(folder):
                raise StoreUnavailable(
                    f"The folder {change.prefix!r} is being copied, moved or deleted; try again."
                )


def require_few_names(db: sqlite3.Connection, *folders: FolderName) -> None:
    """Refuse folders with too many names in them for one transaction.

    Raises:
        ManyNames: one of them has more.
    """
    for folder in folders:
        if db.execute(QUERIES["has_names"], {**below(folder), "count": MAX_NAMES}).fetchone()[0]:
            raise ManyNames


def find_file(db: sqlite3.Connection, name: str) -> File | None:
    """Return the file, None if there is none."""
    row = db.execute(QUERIES["find_file"], {"name": name}).fetchone()
    return None if row is None else to_file(row)


def _get_file(db: sqlite3.Connection, name: FileName, conditions: Conditions) -> File:
    file = find_file(db, name)
    if file is None:
        raise NotFound(f"There is no file {name!r}.")
    conditions.require(file.validators)
    return file


def _refuse_conflicts(db: sqlite3.Connection, name: FileName | FolderName) -> None:
    """Raise NameConflict where a file has the name of a folder that `name` is or lies in."""
    for folder in ancestors(name):
        if find_file(db, folder.removesuffix("/")) is not None:
            raise NameConflict(f"{folder.removesuffix('/')!r} is a file, so it holds no files.")
    if name.endswith("/"):
        if find_file(db, name.removesuffix("/")) is not None:
            raise NameConflict(f"{name.removesuffix('/')!r} is a file.")
    elif folder_exists(db, FolderName(name + "/")):
        raise NameConflict(f"{name!r} is a folder.")


def put_file(
    db: sqlite3.Connection,
    name: FileName,
    manifest: Manifest,
    media_type: str,
    conditions: Conditions,
    times: Times = NOW,
) -> tuple[File, bool]:
    """Point the name at a content; return the file and whether it replaced one."""
    require_settled(db, name)
    current = find_file(db, name)
    conditions.require(None if current is None else current.validators)
    if current is None:
        _refuse_conflicts(db, name)
    modified = now_microseconds() if times.modified is None else times.modified
    created = times.created
    if created is None:
        created = modified if current is None else to_microseconds(current.created)
    row = {"name": name, "manifest": manifest.id, "media_type": media_type}
    db.execute(QUERIES["put_file"], {**row, "created": created, "modified": modified})
    file = File(name, manifest, media_type, to_datetime(created), to_datetime(modified))
    return file, current is not None


def delete_file(db: sqlite3.Connection, name: FileName, conditions: Conditions) -> None:
    """Remove the name."""
    require_settled(db, name)
    _get_file(db, name, conditions)
    db.execute(QUERIES["delete_file"], {"name": name})


def transfer_file(
    db: sqlite3.Connection,
    source: FileName,
    target: FileName,
    conditions: Conditions,
    *,
    keep_source: bool,
    overwrite: bool,
) -> bool:
    """Copy or move a name; return whether that replaced a file."""
    require_settled(db, source, target)
    _get_file(db, source, conditions)
    if source == target:
        raise Forbidden("The destination is the file itself.")
    replaced = find_file(db, target) is not None
    if not replaced:
        _refuse_conflicts(db, target)
    elif not overwrite:
        raise AlreadyExists(f"There is a file {target!r}, and the request forbids to replace it.")
    db.execute(QUERIES["delete_file"], {"name": target})
    db.execute(
        QUERIES["copy_file" if keep_source else "move_file"],
        {"source": source, "target": target, "now": now_microseconds()},
    )
    return replaced


def folder_exists(db: sqlite3.Connection, name: FolderName) -> bool:
    """Whether the folder was made or a name lies under it."""
    if name == ROOT:
        return True
    with one_view(db):
        ranges = visible_ranges(**below(name), changes=folder_changes(db))
        return any(db.execute(QUERIES["folder_exists"], each).fetchone()[0] for each in ranges)


def make_folder(db: sqlite3.Connection, name: FolderName) -> None:
    """Make an empty folder."""
    require_settled(db, name)
    if folder_exists(db, name) or find_file(db, name.removesuffix("/")) is not None:
        raise AlreadyExists(f"There is a file or a folder {name.removesuffix('/')!r} already.")
    _refuse_conflicts(db, name)
    if not folder_exists(db, parent(name)):
        raise NotFound(f"There is no folder {parent(name)!r} to make it in.")
    db.execute(QUERIES["make_folder"], {"name": name, "now": now_microseconds()})


def delete_folder(db: sqlite3.Connection, name: FolderName) -> None:
    """Remove the folder and every name under it."""
    require_settled(db, name)
    require_folder(db, name)
    require_few_names(db, name)
    _delete_below(db, name)


def copy_folder(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Copy a folder with all that is in it; return whether that replaced one."""
    replaced = _clear_target(db, source, target, overwrite=overwrite)
    require_few_names(db, source)
    _transfer_below(db, source, target, "copy")
    return replaced


def copy_folder_alone(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Copy a folder with nothing in it; return whether that replaced one."""
    replaced = _clear_target(db, source, target, overwrite=overwrite)
    db.execute(QUERIES["make_folder"], {"name": target, "now": now_microseconds()})
    return replaced


def move_folder(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Rename a folder with all that is in it; return whether that replaced one."""
    replaced = _clear_target(db, source, target, overwrite=overwrite)
    require_few_names(db, source)
    _transfer_below(db, source, target, "move")
    return replaced


def _clear_target(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Clear the place where a folder goes; return whether there was a folder."""
    replaced = check_transfer(db, source, target, overwrite=overwrite)
    require_few_names(db, target)
    _delete_below(db, target)
    return replaced


def check_transfer(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Refuse to copy or move a folder where that cannot be; return whether it replaces one."""
    require_settled(db, source, target)
    require_folder(db, source)
    if source.startswith(target) or target.startswith(source):
        raise Forbidden("The destination is the folder itself, lies in it, or holds it.")
    replaced = folder_exists(db, target)
    if not replaced:
        _refuse_conflicts(db, target)
    elif not overwrite:
        raise AlreadyExists(f"There is a folder {target!r}, and the request forbids to replace it.")
    return replaced


def _transfer_below(
    db: sqlite3.Connection, source: FolderName, target: FolderName, verb: str
) -> None:
    require_short_names(db, source, target)
    change = {**below(source), "target": target, **skipping(source)}
    db.execute(QUERIES[f"{verb}_files_below"], change)
    db.execute(QUERIES[f"{verb}_folders_below"], change)


def skipping(source: FolderName) -> dict[str, int]:
    """Return where names go on behind the prefix `source`, counted from 1, and the time."""
    return {"skip": len(source) + 1, "now": now_microseconds()}


def require_folder(db: sqlite3.Connection, name: FolderName) -> None:
    """Refuse a folder that does not exist."""
    if not folder_exists(db, name):
        raise NotFound(f"There is no folder {name!r}.")


def _delete_below(db: sqlite3.Connection, name: FolderName) -> None:
    db.execute(QUERIES["delete_files_below"], below(name))
    db.execute(QUERIES["delete_folders_below"], below(name))


def require_short_names(db: sqlite3.Connection, source: FolderName, target: FolderName) -> None:
    """Refuse to give names under `source` a new folder that makes one too long."""
    longest = db.execute(QUERIES["longest_name_below"], below(source)).fetchone()[0]
    if longest + len(target.encode()) - len(source.encode()) > MAX_NAME_SIZE:
        raise InvalidName(f"A name under {target!r} would have more than {MAX_NAME_SIZE} bytes.")
