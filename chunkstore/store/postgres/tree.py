"""Jobs on names: files and folders.

Each name has one row, so that a file and a folder cannot both have it. What needs a folder to be
one takes a share of its row: a file is only created under shares of all folders that it lies in,
which are taken from the outermost inwards. Who removes or moves a folder, or makes it a file where
nothing lies in it any more, locks its row first. By then all who were adding below it have ended,
and the next statement sees what they added; and nobody else begins to until the transaction ends.

Other rows are locked in order of their paths, and after the folders above them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chunkstore.core.conditional import Conditions
from chunkstore.core.errors import (
    AlreadyExists,
    ChunkstoreError,
    Forbidden,
    InvalidName,
    NameConflict,
    NotFound,
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


def path_of(folder: FolderName) -> str:
    """Return the path that a folder's row has."""
    return folder.removesuffix("/")


async def find_file(db: Connection, name: str) -> File | None:
    """Return the file, None if there is none."""
    row = await db.fetchrow(QUERIES["find_file"], name)
    return None if row is None else to_file(row)


async def _lock_file(db: Connection, name: str) -> File | None:
    row = await db.fetchrow(QUERIES["lock_file"], name)
    return None if row is None else to_file(row)


async def _enter_folders(db: Connection, name: FileName | FolderName) -> None:
    """Keep all that `name` lies in folders, until the transaction ends.

    Raises:
        NameConflict: one of them is a file.
    """
    folders = _folders_of(name)
    if folders:
        _refuse_file(await db.fetchval(QUERIES["enter_folders"], folders))


def _folders_of(name: FileName | FolderName) -> list[str]:
    return [path_of(folder) for folder in ancestors(name)]


async def refuse_conflict(db: Connection, name: FileName) -> None:
    """Fail if `put_file` would for the names that there are now.

    Raises:
        NameConflict: as there.
    """
    folders = _folders_of(name)
    files = {path for (path,) in await db.fetch(QUERIES["files_among"], [name, *folders])}
    if name in files:
        return
    _refuse_file(next((path for path in folders if path in files), None))
    if await _exists(db, FolderName(name + "/")):
        raise NameConflict(f"{name!r} is a folder.")


def _refuse_file(path: str | None) -> None:
    if path is not None:
        raise NameConflict(f"{path!r} is a file, so it holds no files.")


async def put_file(
    db: Connection,
    name: FileName,
    target: Target,
    require: Callable[[File | None], None] | None = None,
) -> tuple[File, bool]:
    """Point a name at a content; return the file and whether it replaced one.

    `require` is told of the file that there is, and raises to refuse; None refuses nothing.

    Raises:
        NameConflict: a folder has this name, or a file has that of a folder it lies in.
    """
    may_replace, may_create = require is None, require is None or _accepts(require, None)
    outcome, conflict, current = await _put(db, name, target, may_create, may_replace)
    if require is not None and outcome in ("present", "absent"):
        # What there is, is locked by now; what there is not, was refused before.
        require(current)
        outcome, conflict, current = await _put(db, name, target, True, True)
    _refuse_file(conflict)
    if outcome == "folder":
        raise NameConflict(f"{name!r} is a folder.")
    return _file(name, target, current), current is not None


def _accepts(require: Callable[[File | None], None], current: File | None) -> bool:
    try:
        require(current)
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


async def delete_file(db: Connection, name: FileName, conditions: Conditions) -> None:
    """Remove the name."""
    file = await _lock_file(db, name)
    if file is None:
        raise NotFound(f"There is no file {name!r}.")
    conditions.require(file.validators)
    await db.execute(QUERIES["remove_entry"], name)


async def transfer_file(
    db: Connection,
    source: FileName,
    target: FileName,
    conditions: Conditions,
    *,
    keep_source: bool,
    overwrite: bool,
) -> bool:
    """Copy or move a name; return whether that replaced a file."""
    _require_file(source, await find_file(db, source), conditions)
    if source == target:
        raise Forbidden("The destination is the file itself.")
    if await find_file(db, target) is None:
        await _enter_folders(db, target)
    for name in sorted((source, target)):
        await _lock_file(db, name)
    file = _require_file(source, await find_file(db, source), conditions)
    if keep_source:
        created = modified = now_microseconds()
    else:
        created, modified = to_microseconds(file.created), to_microseconds(file.modified)

    def refuse_to_overwrite(current: File | None) -> None:
        if current is not None and not overwrite:
            raise AlreadyExists(
                f"There is a file {target!r}, and the request forbids to replace it."
            )

    new = Target(file.manifest, file.media_type, created, modified)
    _, replaced = await put_file(db, target, new, refuse_to_overwrite)
    if not keep_source:
        await db.execute(QUERIES["remove_entry"], source)
    return replaced


def _require_file(name: FileName, file: File | None, conditions: Conditions) -> File:
    if file is None:
        raise NotFound(f"There is no file {name!r}.")
    conditions.require(file.validators)
    return file


async def folder_exists(db: Connection, name: FolderName) -> bool:
    """Whether the folder was made or a name lies under it."""
    return name == ROOT or await _exists(db, name)


async def _exists(db: Connection, name: FolderName) -> bool:
    return bool(await db.fetchval(QUERIES["folder_exists"], *below(name)))


async def make_folder(db: Connection, name: FolderName) -> None:
    """Make an empty folder."""
    path = path_of(name)
    if await folder_exists(db, name) or await find_file(db, path) is not None:
        raise AlreadyExists(f"There is a file or a folder {path!r} already.")
    await _enter_folders(db, name)
    if not await folder_exists(db, parent(name)):
        raise NotFound(f"There is no folder {parent(name)!r} to make it in.")
    if await _claim_folder(db, path) or await _exists(db, name):
        raise AlreadyExists(f"There is a file or a folder {path!r} already.")
    await db.execute(QUERIES["make_folder"], path, True, now_microseconds())


async def _claim_folder(db: Connection, path: str) -> bool:
    """Lock a path's row, a folder's if there was none; return whether it is a file."""
    while (entry := await db.fetchrow(QUERIES["lock_entry"], path)) is None:
        await db.execute(QUERIES["imply_folder"], path)
    return bool(entry[0])


async def delete_folder(db: Connection, name: FolderName) -> None:
    """Remove the folder and every name under it."""
    await db.fetchrow(QUERIES["lock_entry"], path_of(name))
    await _require_folder(db, name)
    await db.execute(QUERIES["delete_below"], *below(name), timeout=LONG_SECONDS)
    if name != ROOT:
        await db.execute(QUERIES["remove_entry"], path_of(name))


async def _require_folder(db: Connection, name: FolderName) -> None:
    if not await folder_exists(db, name):
        raise NotFound(f"There is no folder {name!r}.")


async def copy_folder(
    db: Connection,
    source: FolderName,
    target: FolderName,
    *,
    overwrite: bool,
    with_members: bool,
) -> bool:
    """Copy a folder with all that is in it, or empty; return whether that replaced one."""
    way = await _clear_target(db, source, target, overwrite=overwrite)
    if with_members:
        await _copy_below(db, source, target, now_microseconds())
    made = way.source_made or not with_members
    await _settle_copy(db, target, made=made)
    return way.replaced


async def move_folder(
    db: Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> bool:
    """Rename a folder with all that is in it; return whether that replaced one."""
    way = await _clear_target(db, source, target, overwrite=overwrite)
    await _copy_below(db, source, target, None)
    await db.execute(QUERIES["delete_below"], *below(source), timeout=LONG_SECONDS)
    await db.execute(QUERIES["remove_entry"], path_of(source))
    await _settle_copy(db, target, made=way.source_made)
    return way.replaced


async def _copy_below(
    db: Connection, source: FolderName, target: FolderName, now: int | None
) -> None:
    """Copy all that is in a folder; their times become `now`, or are kept.

    What is there stays as it is until the transaction ends, so that a collection sees the one name
    of a content or the other.
    """
    await _require_short_names(db, source, target)
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


@dataclass(frozen=True, slots=True)
class _Cleared:
    """Whether a folder was replaced, and whether the one that takes its place was made."""

    replaced: bool
    source_made: bool


async def _clear_target(
    db: Connection, source: FolderName, target: FolderName, *, overwrite: bool
) -> _Cleared:
    """Lock both folders and clear the place where one goes."""
    await _require_folder(db, source)
    if source.startswith(target) or target.startswith(source):
        raise Forbidden("The destination is the folder itself, lies in it, or holds it.")
    await _enter_folders(db, target)
    made = False
    for folder in sorted((source, target)):
        if folder == source:
            entry = await db.fetchrow(QUERIES["lock_entry"], path_of(source))
            made = entry is not None and bool(entry[1])
        elif await _claim_folder(db, path_of(target)):
            raise NameConflict(f"{path_of(target)!r} is a file.")
    await _require_folder(db, source)
    replaced = await _exists(db, target)
    if replaced and not overwrite:
        raise AlreadyExists(f"There is a folder {target!r}, and the request forbids to replace it.")
    await db.execute(QUERIES["delete_below"], *below(target), timeout=LONG_SECONDS)
    return _Cleared(replaced, made)


async def _require_short_names(db: Connection, source: FolderName, target: FolderName) -> None:
    longest = await db.fetchval(QUERIES["longest_name_below"], *below(source), timeout=LONG_SECONDS)
    if longest is None:
        # Its last name went since it was looked for: to delete one takes no lock on its folder.
        raise NotFound(f"There is no folder {source!r}.")
    if longest + len(target.encode()) - len(source.encode()) > MAX_NAME_SIZE:
        raise InvalidName(f"A name under {target!r} would have more than {MAX_NAME_SIZE} bytes.")


async def forget_folder(db: Connection, path: str) -> None:
    """Remove the row of a folder that does not exist any more."""
    await db.execute(QUERIES["forget_folder"], path)
