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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import ROOT, FileName, FolderName, parent
from chunkstore.core.timestamps import to_microseconds
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
    judge,
    judge_length,
    judge_source,
)
from chunkstore.store.contract.values import Applied, DamagedFile, File, Folder
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.paths import below, folders_of, path_of
from chunkstore.store.postgres.rows import QUERIES, to_file, to_file_to_edit
from chunkstore.store.postgres.usage import Tally
from chunkstore.store.shared.times import now_microseconds


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
    row = await db.fetchrow(QUERIES["lock_paths"], paths, to_be_changed)
    tally.told(row)


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


async def find_to_edit(db: Connection, name: Name) -> File | DamagedFile | Folder | None:
    """Return what an edit is judged by, None if there is nothing of this name."""
    if is_folder_name(name):
        return await find(db, name)
    row = await db.fetchrow(QUERIES["find_file"], name)
    return None if row is None else to_file_to_edit(row)


async def _folder_exists(db: Connection, name: FolderName) -> bool:
    return name == ROOT or bool(await db.fetchval(QUERIES["folder_exists"], *below(name)))


async def holds_besides(db: Connection, folder: FolderName, name: Name) -> bool:
    """Whether a folder would exist without a name in it, and all that lies below that."""
    start, stop = below(folder)
    # No name contains U+0001, so this is the least text after that of a file.
    behind = below(name)[1] if is_folder_name(name) else f"{name}\x01"
    return bool(
        await db.fetchval(QUERIES["folder_exists"], start, name)
        or await db.fetchval(QUERIES["folder_exists"], behind, stop)
    )


async def load_target(db: Connection, name: Name, strict: bool = False) -> Present:
    """Return what has a name at which something is to be put, and what is in its way above.

    Only if it is `strict` the folder matters that the name lies in.
    """
    there = await _load_target(db, name)
    if not strict or there.target is not None or name == ROOT:
        return there
    return replace(there, parent_exists=await _folder_exists(db, parent(name)))


async def _load_target(db: Connection, name: Name) -> Present:
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
    if edit.strict:
        await _require_folder_of(db, edit)
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
        created = current.created_us if isinstance(current, File) else target.modified
    return file_of(edit.name, target, created), current is not None


async def _require_folder_of(db: Connection, edit: Put) -> None:
    """Refuse to put a new file where there is no folder for it; one that is there stays.

    Raises:
        What `judge` raises.
    """
    folder = parent(edit.name)
    if folder == ROOT:
        return
    paths = folders_of(edit.name)
    await db.execute(QUERIES["lock_paths"], paths, [False] * len(paths))
    if not await _folder_exists(db, folder):
        present = await load_target(db, edit.name)
        judge(edit, replace(present, parent_exists=False))


async def to_be_kept(db: Connection, edit: Edit) -> list[FolderName]:
    """Return the folder that a strict edit has last, where it was not made; to be locked too."""
    if not isinstance(edit, Delete | Move) or not edit.strict:
        return []
    folder = parent(edit.name if isinstance(edit, Delete) else edit.source)
    if folder == ROOT or await db.fetchval(QUERIES["is_made"], path_of(folder)):
        return []
    return [folder]


async def _keep(db: Connection, folders: Sequence[FolderName]) -> None:
    for folder in folders:
        await db.execute(QUERIES["keep_folder"], path_of(folder), now_microseconds())


def file_of(name: FileName, target: Target, created: int) -> File:
    """Return the file that a name is when it points at a target."""
    return File.of(name, target.manifest, target.media_type, created, target.modified)


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
    tally.told(row)
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
    kept = await to_be_kept(db, edit)
    if kept or is_folder_name(edit.name):
        await lock(db, tally, edit.name, *kept)
    if is_folder_name(edit.name):
        folder = FolderName(edit.name)
        judge(edit, Present(source=await find(db, folder)))
        async with tally.counting(db, folder):
            await _delete_below(db, folder)
    else:
        row = await db.fetchrow(QUERIES["lock_file"], edit.name)
        judge(edit, Present(source=None if row is None else to_file_to_edit(row)))
        assert row is not None
        tally.told(row)
        tally.file(edit.name, row["size"] or 0, None)
    await _keep(db, kept)
    await db.execute(QUERIES["remove_entry"], path_of(edit.name))
    return Applied(replaced=False)


async def transfer(db: Connection, edit: Copy | Move, tally: Tally) -> Applied:
    """Copy or move a file or a folder.

    Raises:
        What `judge` raises; InvalidName: a name would become too long.
    """
    kept = await to_be_kept(db, edit)
    await lock(db, tally, edit.source, edit.target, *kept)
    source = await find_to_edit(db, edit.source)
    present = replace(await load_target(db, edit.target, edit.strict), source=source)
    replaced = judge(edit, present)
    await _keep(db, kept)
    if replaced and isinstance(source, File) is not isinstance(present.target, File | DamagedFile):
        await _remove_other(db, edit.target, tally)
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


async def _remove_other(db: Connection, name: Name, tally: Tally) -> None:
    """Remove the folder of a file's name with all in it, or the file of a folder's."""
    if not is_folder_name(name):
        folder = FolderName(f"{name}/")
        async with tally.counting(db, folder):
            await _delete_below(db, folder)
        await db.execute(QUERIES["remove_entry"], name)
        return
    path = path_of(name)
    size = await db.fetchval(QUERIES["size_of_file"], path)
    tally.file(path, size or 0, None)
    await db.execute(QUERIES["remove_entry"], path)
    # What is copied is put in its place, which is locked anew.
    await lock(db, tally, name)


async def _copy_file(db: Connection, edit: Copy | Move, file: File, tally: Tally) -> None:
    if isinstance(edit, Copy):
        created = modified = now_microseconds()
    else:
        tally.file(file.name, file.size, None)
        created, modified = file.created_us, file.modified_us
    if edit.modified is not None:
        modified = to_microseconds(edit.modified)
    properties = await db.fetchval(QUERIES["find_properties"], edit.source)
    target = Target(file.manifest, file.media_type, created, modified)
    outcome, *_ = await _put(db, FileName(edit.target), target, tally, True, True)
    assert outcome in ("created", "replaced")
    if outcome == "replaced" or properties is not None:
        await db.execute(QUERIES["describe_again"], edit.target, None, None, properties)


async def _copy_folder(
    db: Connection, edit: Copy | Move, source: FolderName, target: FolderName
) -> None:
    """Copy all that is in a folder, or move it, in place of all that is in the other."""
    await _delete_below(db, target)
    if isinstance(edit, Copy) and not edit.with_members:
        properties = await db.fetchval(QUERIES["find_properties"], path_of(source))
        await db.execute(QUERIES["make_folder"], path_of(target), now_microseconds())
        await db.execute(QUERIES["describe_again"], path_of(target), None, None, properties)
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
    judge(edit, await load_target(db, edit.name, edit.strict))
    await db.execute(QUERIES["make_folder"], path_of(edit.name), now_microseconds())
    return Applied(replaced=False)
