"""Jobs on names: what an edit finds, and what it writes once it was judged.

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

from chunkstore.core.errors import ChunkstoreError, StoreUnavailable
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import ROOT, FileName, FolderName, ancestors, parent, prefix_stop
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Present,
    Put,
    is_folder_name,
    judge_length,
    names_in,
)
from chunkstore.store.contract.values import File, Folder
from chunkstore.store.shared.times import Times, now_microseconds, to_datetime, to_microseconds
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


def find(db: sqlite3.Connection, name: Name) -> File | Folder | None:
    """Return the file or the folder, None if there is none."""
    if not is_folder_name(name):
        return find_file(db, name)
    folder = FolderName(name)
    return Folder(folder) if folder_exists(db, folder) else None


def folder_exists(db: sqlite3.Connection, name: FolderName) -> bool:
    """Whether the folder was made or a name lies under it."""
    if name == ROOT:
        return True
    with one_view(db):
        ranges = visible_ranges(**below(name), changes=folder_changes(db))
        return any(db.execute(QUERIES["folder_exists"], each).fetchone()[0] for each in ranges)


def load(db: sqlite3.Connection, edit: Edit) -> Present:
    """Return what there is for an edit to be judged by.

    Raises:
        StoreUnavailable: a folder that it is about is being changed in steps.
    """
    require_settled(db, *names_in(edit))
    match edit:
        case Put():
            return load_target(db, edit.name)
        case Delete():
            return Present(source=find(db, edit.name))
        case Copy() | Move():
            there = load_target(db, edit.target)
            return Present(find(db, edit.source), there.target, there.blocking)
        case MakeFolder():
            there = load_target(db, edit.name)
            exists = folder_exists(db, parent(edit.name))
            return Present(target=there.target, blocking=there.blocking, parent_exists=exists)


def load_target(db: sqlite3.Connection, name: Name) -> Present:
    """Return what has a name at which something is to be put, and what is in its way above."""
    current = find(db, name)
    if current is not None:
        return Present(target=current)
    for folder in ancestors(name):
        path = folder.removesuffix("/")
        if find_file(db, path) is not None:
            return Present(blocking=path)
    if is_folder_name(name):
        return Present(target=find_file(db, name.removesuffix("/")))
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
    """Point a name, which has been `current`, at a manifest."""
    modified = now_microseconds() if times.modified is None else times.modified
    created = times.created
    if created is None:
        created = modified if current is None else to_microseconds(current.created)
    row = {"name": name, "manifest": manifest.id, "media_type": media_type}
    db.execute(QUERIES["put_file"], {**row, "created": created, "modified": modified})
    return File(name, manifest, media_type, to_datetime(created), to_datetime(modified))


def delete(db: sqlite3.Connection, name: Name) -> None:
    """Remove a file, or a folder and every name under it.

    Raises:
        ManyNames: the folder has too many.
    """
    if not is_folder_name(name):
        db.execute(QUERIES["delete_file"], {"name": name})
        return
    folder = FolderName(name)
    require_few_names(db, folder)
    _delete_below(db, folder)


def transfer(db: sqlite3.Connection, edit: Copy | Move) -> None:
    """Copy or move a file or a folder, in place of what has the target's name.

    Raises:
        ManyNames: a folder has too many names. InvalidName: a name would become too long.
    """
    delete(db, edit.target)
    if not is_folder_name(edit.source):
        names = {"source": edit.source, "target": edit.target, "now": now_microseconds()}
        db.execute(QUERIES["copy_file" if isinstance(edit, Copy) else "move_file"], names)
        return
    source, target = FolderName(edit.source), FolderName(edit.target)
    if isinstance(edit, Copy) and not edit.with_members:
        make_folder(db, target)
        return
    require_few_names(db, source)
    judge_length(source, target, longest_name_below(db, source))
    verb = "copy" if isinstance(edit, Copy) else "move"
    change = {**below(source), "target": target, **skipping(source)}
    db.execute(QUERIES[f"{verb}_files_below"], change)
    db.execute(QUERIES[f"{verb}_folders_below"], change)


def make_folder(db: sqlite3.Connection, name: FolderName) -> None:
    """Make an empty folder."""
    db.execute(QUERIES["make_folder"], {"name": name, "now": now_microseconds()})


def skipping(source: FolderName) -> dict[str, int]:
    """Return where names go on behind the prefix `source`, counted from 1, and the time."""
    return {"skip": len(source) + 1, "now": now_microseconds()}


def longest_name_below(db: sqlite3.Connection, folder: FolderName) -> int:
    """Return the bytes of the longest name of a folder that exists."""
    return int(db.execute(QUERIES["longest_name_below"], below(folder)).fetchone()[0])


def _delete_below(db: sqlite3.Connection, name: FolderName) -> None:
    db.execute(QUERIES["delete_files_below"], below(name))
    db.execute(QUERIES["delete_folders_below"], below(name))
