"""Jobs on names: what an edit locks and finds, and what it writes once it was judged.

Each path has one row, so that a file and a folder cannot both have it. Whoever adds a name keeps
the rows of all folders above it (FOR KEY SHARE); whoever removes, moves or replaces a folder locks
its row (FOR UPDATE). By then all who were adding names below it have ended, the next statement sees
what they added, and nobody else begins to until the transaction ends.

All rows are locked in order of their paths, so that transactions do not wait for each other in a
circle. Those below a folder are locked after it, in any order: whoever locks several of them has
locked the folder first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import ROOT, FileName, FolderName, parent
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
)
from chunkstore.store.contract.values import Applied, DamagedFile, File, Folder
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.paths import below, folders_of, path_of
from chunkstore.store.postgres.rows import QUERIES, to_file, to_file_to_edit
from chunkstore.store.postgres.usage import Tally
from chunkstore.store.shared.times import now_microseconds, to_datetime, to_microseconds


@dataclass(frozen=True, slots=True)
class Target:
    """What a name is to point at; `created` None keeps the time of what it replaces."""

    manifest: Manifest
    media_type: str
    created: int | None
    modified: int


async def lock(db: Connection, tally: Tally, *names: Name) -> None:
    """Lock what has these names, or nothing yet, and keep the folders that they lie in.

    Each edit locks its own names; of several made together, all names are locked in order first.
    """
    to_change = {path_of(name) for name in names if name != ROOT}
    paths = sorted(to_change.union(*map(folders_of, names)))
    to_be_changed = [path in to_change for path in paths]
    tally.watched |= await db.fetchval(QUERIES["lock_paths"], paths, to_be_changed)


async def find(db: Connection, name: Name) -> File | Folder | None:
    """Return the file or the folder, None if there is none."""
    if not is_folder_name(name):
        return await find_file(db, name)
    folder = FolderName(name)
    return Folder(folder) if await _folder_exists(db, folder) else None


async def find_file(db: Connection, name: str) -> File | None:
    """Return the file, None if there is none.

    Raises:
        StoreDamaged: its entry is damaged.
    """
    row = await db.fetchrow(QUERIES["find_file"], name)
    return None if row is None else to_file(row)


async def _find_to_edit(db: Connection, name: Name) -> File | DamagedFile | Folder | None:
    if is_folder_name(name):
        return await find(db, name)
    row = await db.fetchrow(QUERIES["find_file"], name)
    return None if row is None else to_file_to_edit(row)


async def _folder_exists(db: Connection, name: FolderName) -> bool:
    return name == ROOT or bool(await db.fetchval(QUERIES["folder_exists"], *below(name)))


async def load_target(db: Connection, name: Name) -> Present:
    """Return what has a name at which something is to be put, and what is in its way above."""
    path, folders = path_of(name), folders_of(name)
    rows = await db.fetch(QUERIES["files_among"], [path, *folders])
    files = {file.name: file for file in map(to_file_to_edit, rows)}
    if path in files:
        return Present(target=files[FileName(path)])
    if files:
        return Present(blocking=min(files))
    return Present(target=await find(db, FolderName(name if name == ROOT else f"{path}/")))


async def put_file(db: Connection, edit: Put, target: Target, tally: Tally) -> tuple[File, bool]:
    """Point a name at a manifest; return the file and whether it replaced one.

    It is one round trip, locks and all, where the conditions allow whatever is there.

    Raises:
        What `judge` raises.
    """
    may_replace = edit.may_replace
    may_create = accepts(edit, Present())
    put = partial(_put, db, edit.name, target, tally)
    outcome, conflict, current = await put(may_create, may_replace)
    if outcome in ("present", "absent"):
        # A file that is there is locked by now; that none is there was refused before.
        judge(edit, Present(target=current))
        outcome, conflict, current = await put(True, True)
    if outcome in ("file", "folder"):
        folder = Folder(FolderName(f"{edit.name}/")) if outcome == "folder" else None
        judge(edit, Present(target=folder, blocking=conflict))
        raise AssertionError(outcome)
    if target.created is not None:
        created = target.created
    else:
        created = to_microseconds(current.created) if isinstance(current, File) else target.modified
    return file_of(edit.name, target, created), current is not None


def file_of(name: FileName, target: Target, created: int) -> File:
    """Return the file that a name is when it points at a target."""
    times = to_datetime(created), to_datetime(target.modified)
    return File(name, target.manifest, target.media_type, *times)


def accepts(edit: Put, present: Present) -> bool:
    """Whether `judge` lets an edit be made."""
    try:
        judge(edit, present)
    except ChunkstoreError:
        return False
    return True


async def _put(
    db: Connection,
    name: FileName,
    target: Target,
    tally: Tally,
    may_create: bool,
    may_replace: bool,
) -> tuple[str, str | None, File | DamagedFile | None]:
    """Return what came of it, what was in the way, and the file that there was."""
    manifest = target.manifest
    row = await db.fetchrow(
        QUERIES["put_file"],
        name,
        folders_of(name),
        *below(f"{name}/"),
        manifest.id,
        manifest.digest.raw,
        manifest.size,
        manifest.chunk_size,
        manifest.chunk_count,
        manifest.list_digest.raw,
        manifest.proof,
        target.media_type,
        target.created,
        target.modified,
        may_create,
        may_replace,
    )
    assert row is not None
    tally.watched |= row["quotas"]
    if row["outcome"] in ("created", "replaced"):
        # The size of one that is damaged may be unknown.
        old_size = None if row["path"] is None else row["size"] or 0
        tally.file(name, old_size, manifest.size)
    return row["outcome"], row["conflict"], None if row["path"] is None else to_file_to_edit(row)


async def delete(db: Connection, edit: Delete, tally: Tally) -> Applied:
    """Remove a file, or a folder with every name under it.

    Raises:
        What `judge` raises.
    """
    if is_folder_name(edit.name):
        folder = FolderName(edit.name)
        await lock(db, tally, folder)
        judge(edit, Present(source=await find(db, folder)))
        async with tally.counting(db, folder):
            await _delete_below(db, folder)
    else:
        row = await db.fetchrow(QUERIES["lock_file"], edit.name)
        judge(edit, Present(source=None if row is None else to_file_to_edit(row)))
        assert row is not None
        tally.watched |= row["quotas"]
        tally.file(edit.name, row["size"] or 0, None)
    await db.execute(QUERIES["remove_entry"], path_of(edit.name))
    return Applied(replaced=False)


async def transfer(db: Connection, edit: Copy | Move, tally: Tally) -> Applied:
    """Copy or move a file or a folder.

    Raises:
        What `judge` raises; InvalidName: a name would become too long.
    """
    await lock(db, tally, edit.source, edit.target)
    source = await _find_to_edit(db, edit.source)
    replaced = judge(edit, replace(await load_target(db, edit.target), source=source))
    if isinstance(source, File):
        await _copy_file(db, edit, source, tally)
    else:
        folder, target = FolderName(edit.source), FolderName(edit.target)
        changed = (folder, target) if isinstance(edit, Move) else (target,)
        async with tally.counting(db, *changed):
            await _copy_folder(db, edit, folder, target)
    if isinstance(edit, Move):
        await db.execute(QUERIES["remove_entry"], path_of(edit.source))
    return Applied(replaced)


async def _copy_file(db: Connection, edit: Copy | Move, file: File, tally: Tally) -> None:
    if isinstance(edit, Copy):
        created = modified = now_microseconds()
    else:
        tally.file(file.name, file.manifest.size, None)
        created, modified = to_microseconds(file.created), to_microseconds(file.modified)
    target = Target(file.manifest, file.media_type, created, modified)
    outcome, *_ = await _put(db, FileName(edit.target), target, tally, True, True)
    assert outcome in ("created", "replaced")


async def _copy_folder(
    db: Connection, edit: Copy | Move, source: FolderName, target: FolderName
) -> None:
    """Copy all that is in a folder, or move it, in place of all that is in the other."""
    await _delete_below(db, target)
    if isinstance(edit, Copy) and not edit.with_members:
        await db.execute(QUERIES["make_folder"], path_of(target), now_microseconds())
        return
    # To delete a file takes no lock on its folder. What is there now stays until the transaction
    # ends, so that a collection sees the one name of file content or the other.
    await db.execute(QUERIES["keep_below"], *below(source), timeout=LONG_SECONDS)
    longest = await db.fetchval(QUERIES["longest_name_below"], *below(source), timeout=LONG_SECONDS)
    if longest is None:
        judge_source(edit, None)
    judge_length(source, target, longest)
    folder = (path_of(target), *below(target))
    await db.execute(
        QUERIES["copy_folder"],
        path_of(source),
        *below(source),
        path_of(target),
        len(source),
        now_microseconds() if isinstance(edit, Copy) else None,
        timeout=LONG_SECONDS,
    )
    await db.execute(QUERIES["vacate_folder"], *folder, timeout=LONG_SECONDS)
    if isinstance(edit, Move):
        await _delete_below(db, source)


async def _delete_below(db: Connection, name: FolderName) -> None:
    await db.execute(QUERIES["delete_below"], *below(name), timeout=LONG_SECONDS)


async def make_folder(db: Connection, edit: MakeFolder, tally: Tally) -> Applied:
    """Make an empty folder.

    Raises:
        What `judge` raises.
    """
    await lock(db, tally, edit.name)
    present = await load_target(db, edit.name)
    parent_exists = await _folder_exists(db, parent(edit.name))
    judge(edit, replace(present, parent_exists=parent_exists))
    await db.execute(QUERIES["make_folder"], path_of(edit.name), now_microseconds())
    return Applied(replaced=False)
