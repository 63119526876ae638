"""Jobs on names: what an edit finds and locks, and what it writes once it was judged.

Each name has one row, so that a file and a folder cannot both have it. What needs a folder to be
one takes a share of its row: a file is only created under shares of all folders that it lies in,
which are taken from the outermost inwards. Who removes or moves a folder, or makes it a file where
nothing lies in it any more, locks its row first. By then all who were adding below it have ended,
and the next statement sees what they added; and nobody else begins to until the transaction ends.

Other rows are locked in order of their paths, and after the folders above them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chunkstore.core.errors import ChunkstoreError
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
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    MakeFolder,
    Move,
    Name,
    Present,
    Put,
    is_folder_name,
    judge,
    judge_length,
    judge_source,
    replaces_anything,
)
from chunkstore.store.contract.values import Applied, File, Folder
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.rows import QUERIES, to_file
from chunkstore.store.shared.times import now_microseconds, to_datetime, to_microseconds

# A character takes four bytes at most, so no name is as long as this text of the greatest one.
BEHIND_ALL_NAMES: Final = "\U0010ffff" * (MAX_NAME_SIZE // 4 + 1)


@dataclass(frozen=True, slots=True)
class Target:
    """What a name is to point at; `created` None keeps the time of what it replaces."""

    manifest: Manifest
    media_type: str
    created: int | None
    modified: int


def below(prefix: str) -> tuple[str, str]:
    """Return the half-open range of the names that begin with `prefix`."""
    return prefix, prefix_stop(prefix) or BEHIND_ALL_NAMES


def path_of(name: Name) -> str:
    """Return the path that a file's or a folder's row has."""
    return name.removesuffix("/")


async def find(db: Connection, name: Name) -> File | Folder | None:
    """Return the file or the folder, None if there is none."""
    if not is_folder_name(name):
        return await find_file(db, name)
    folder = FolderName(name)
    return Folder(folder) if await _exists(db, folder) else None


async def find_file(db: Connection, name: str) -> File | None:
    """Return the file, None if there is none."""
    row = await db.fetchrow(QUERIES["find_file"], name)
    return None if row is None else to_file(row)


async def load_target(db: Connection, name: FileName) -> Present:
    """Return what has a name at which a file is to be put, and what is in its way; lock nothing."""
    folders = _folders_of(name)
    files = {row[0]: row for row in await db.fetch(QUERIES["files_among"], [name, *folders])}
    if name in files:
        return Present(target=to_file(files[name]))
    if files:
        return Present(blocking=next(path for path in folders if path in files))
    return Present(target=await find(db, FolderName(name + "/")))


async def lock_names(db: Connection, names: Iterable[Name]) -> None:
    """Lock what has these names, in the order that keeps transactions from waiting in a circle."""
    for path in sorted({path_of(name) for name in names}):
        await db.fetchrow(QUERIES["lock_entry"], path)


async def put_file(
    db: Connection, edit: Put | Copy | Move, target: Target, source: File | None = None
) -> tuple[File, bool]:
    """Point a name at a manifest; return the file and whether it replaced one.

    Raises:
        What `judge` raises of the edit, whose `source` is there.
    """
    name = FileName(edit.name if isinstance(edit, Put) else edit.target)
    # Mostly all that is there is as the edit would have it, and one round trip does everything.
    may_replace = replaces_anything(edit)
    may_create = may_replace or _accepts(edit, Present(source=source))
    outcome, conflict, current = await _put(db, name, target, may_create, may_replace)
    if outcome in ("present", "absent"):
        # What there is, is locked by now; what there is not, was refused before.
        judge(edit, Present(source=source, target=current))
        outcome, conflict, current = await _put(db, name, target, True, True)
    if outcome in ("file", "folder"):
        folder = Folder(FolderName(name + "/")) if outcome == "folder" else None
        judge(edit, Present(source=source, target=folder, blocking=conflict))
        raise AssertionError(outcome)
    return _file(name, target, current), current is not None


def _accepts(edit: Put | Copy | Move, present: Present) -> bool:
    try:
        judge(edit, present)
    except ChunkstoreError:
        return False
    return True


async def _put(
    db: Connection, name: FileName, target: Target, may_create: bool, may_replace: bool
) -> tuple[str, str | None, File | None]:
    """Return what came of it, what was in the way, and the file that there was."""
    row = await db.fetchrow(
        QUERIES["put_file"],
        name,
        _folders_of(name),
        *below(name + "/"),
        *_columns(target),
        may_create,
        may_replace,
    )
    assert row is not None
    outcome, conflict, *found = row
    return outcome, conflict, None if found[0] is None else to_file(found)


def _columns(target: Target) -> tuple[int, bytes, int, int, str, int | None, int]:
    manifest = target.manifest
    return (
        manifest.id,
        manifest.digest.raw,
        manifest.size,
        manifest.chunk_size,
        target.media_type,
        target.created,
        target.modified,
    )


def _file(name: FileName, target: Target, replaced: File | None) -> File:
    modified = to_datetime(target.modified)
    if target.created is not None:
        created = to_datetime(target.created)
    else:
        created = modified if replaced is None else replaced.created
    return File(name, target.manifest, target.media_type, created, modified)


async def delete(db: Connection, edit: Delete) -> Applied:
    """Remove a file, or a folder and every name under it.

    Raises:
        What `judge` raises.
    """
    name = edit.name
    if is_folder_name(name):
        await db.fetchrow(QUERIES["lock_entry"], path_of(name))
        judge(edit, Present(source=await find(db, name)))
        await db.execute(QUERIES["delete_below"], *below(name), timeout=LONG_SECONDS)
    else:
        judge(edit, Present(source=await _lock_file(db, name)))
    await db.execute(QUERIES["remove_entry"], path_of(name))
    return Applied(replaced=False)


async def transfer(db: Connection, edit: Copy | Move) -> Applied:
    """Copy or move a file or a folder.

    Raises:
        What `judge` raises; InvalidName: a name would become too long.
    """
    if is_folder_name(edit.source):
        return Applied(await _transfer_folder(db, edit))
    return Applied(await _transfer_file(db, edit))


async def _transfer_file(db: Connection, edit: Copy | Move) -> bool:
    source, target = FileName(edit.source), FileName(edit.target)
    judge_source(edit, await find_file(db, source))
    if await find_file(db, target) is None:
        judge(
            edit,
            Present(source=await find_file(db, source), blocking=await _enter_folders(db, target)),
        )
    for name in sorted((source, target)):
        await _lock_file(db, name)
    file = await find_file(db, source)
    judge_source(edit, file)
    assert file is not None
    if isinstance(edit, Copy):
        created = modified = now_microseconds()
    else:
        created, modified = to_microseconds(file.created), to_microseconds(file.modified)
    new = Target(file.manifest, file.media_type, created, modified)
    _, replaced = await put_file(db, edit, new, file)
    if isinstance(edit, Move):
        await db.execute(QUERIES["remove_entry"], source)
    return replaced


async def _transfer_folder(db: Connection, edit: Copy | Move) -> bool:
    source, target = FolderName(edit.source), FolderName(edit.target)
    replaced, source_made = await _clear_target(db, edit)
    if isinstance(edit, Move):
        await _copy_below(db, source, target, None)
        await db.execute(QUERIES["delete_below"], *below(source), timeout=LONG_SECONDS)
        await db.execute(QUERIES["remove_entry"], path_of(source))
    elif edit.with_members:
        await _copy_below(db, source, target, now_microseconds())
    else:
        source_made = True
    await _settle_copy(db, target, made=source_made)
    return replaced


async def _clear_target(db: Connection, edit: Copy | Move) -> tuple[bool, bool]:
    """Lock both folders and clear the place where one goes.

    Return whether a folder was replaced, and whether the one that takes its place was made.
    """
    source, target = FolderName(edit.source), FolderName(edit.target)
    judge_source(edit, await find(db, source))
    blocking = await _enter_folders(db, target)
    made, occupant = False, None
    if blocking is None:
        for folder in sorted((source, target)):
            if folder == source:
                entry = await db.fetchrow(QUERIES["lock_entry"], path_of(source))
                made = entry is not None and bool(entry[1])
            else:
                occupant = await _claim_folder(db, target)
    replaced = judge(edit, Present(await find(db, source), occupant, blocking))
    await db.execute(QUERIES["delete_below"], *below(target), timeout=LONG_SECONDS)
    return replaced, made


async def make_folder(db: Connection, edit: MakeFolder) -> Applied:
    """Make an empty folder.

    Raises:
        What `judge` raises.
    """
    name = edit.name
    judge(edit, Present(target=await find(db, name) or await find_file(db, path_of(name))))
    blocking = await _enter_folders(db, name)
    parent_exists = await _exists(db, parent(name))
    judge(edit, Present(blocking=blocking, parent_exists=parent_exists))
    judge(edit, Present(target=await _claim_folder(db, name)))
    await db.execute(QUERIES["make_folder"], path_of(name), True, now_microseconds())
    return Applied(replaced=False)


async def _exists(db: Connection, name: FolderName) -> bool:
    return name == ROOT or bool(await db.fetchval(QUERIES["folder_exists"], *below(name)))


async def _lock_file(db: Connection, name: str) -> File | None:
    row = await db.fetchrow(QUERIES["lock_file"], name)
    return None if row is None else to_file(row)


def _folders_of(name: Name) -> list[str]:
    return [path_of(folder) for folder in ancestors(name)]


async def _enter_folders(db: Connection, name: Name) -> str | None:
    """Keep what `name` lies in folders until the transaction ends; or return what is a file."""
    folders = _folders_of(name)
    if not folders:
        return None
    conflict: str | None = await db.fetchval(QUERIES["enter_folders"], folders)
    return conflict


async def _claim_folder(db: Connection, name: FolderName) -> File | Folder | None:
    """Lock a path's row, a folder's if there was none; return what has the path."""
    path = path_of(name)
    while (entry := await db.fetchrow(QUERIES["lock_entry"], path)) is None:
        await db.execute(QUERIES["imply_folder"], path)
    return await find_file(db, path) if entry[0] else await find(db, name)


async def _copy_below(
    db: Connection, source: FolderName, target: FolderName, now: int | None
) -> None:
    """Copy all that is in a folder; their times become `now`, or are kept.

    What is there stays as it is until the transaction ends, so that a collection sees the one name
    of a file's content or the other.
    """
    longest = await db.fetchval(QUERIES["longest_name_below"], *below(source), timeout=LONG_SECONDS)
    if longest is None:
        # Its last name went since it was looked for: to delete one takes no lock on its folder.
        judge_source(Delete(source), None)
    judge_length(source, target, longest)
    await db.execute(QUERIES["keep_below"], *below(source), timeout=LONG_SECONDS)
    await db.execute(
        QUERIES["copy_below"], *below(source), target, len(source) + 1, now, timeout=LONG_SECONDS
    )


async def _settle_copy(db: Connection, target: FolderName, *, made: bool) -> None:
    path = path_of(target)
    await db.execute(QUERIES["make_folder"], path, made, now_microseconds())
    # Folders may have come along that are of no use any more.
    await db.execute(QUERIES["vacate_below"], *below(target), timeout=LONG_SECONDS)
    await db.execute(QUERIES["vacate"], path)


async def forget_folder(db: Connection, path: str) -> None:
    """Remove the row of a folder that does not exist any more."""
    await db.execute(QUERIES["forget_folder"], path)
