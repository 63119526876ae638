"""Backup: making another store a copy of this one, in steps, while this one is served.

The copy is logical, not page by page: first the chunks that the destination lacks, by digest, then
all rows that refer to them. So a later backup copies only what is new, an interrupted one
continues, and every chunk is checked on its way. The destination's writing connection does it, with
the source attached read-only. Each of its transactions sees a snapshot of the source and is short,
so that the log of the source can be emptied. The last one copies names, manifests and chunk lists
of one snapshot, each list checked; it makes sure that all their chunks are there, or changes
nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import Forbidden
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Copied, Damage
from chunkstore.store.shared.lists import DamagedList, OpenManifest
from chunkstore.store.shared.manifest_rows import proved_manifest
from chunkstore.store.sqlite import manifests
from chunkstore.store.sqlite.chunk_copy import STEP_SIZE, copy_chunks
from chunkstore.store.sqlite.engine.connection import Job, reader_uri, understood_rows
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.promotion import forbid_promotion
from chunkstore.store.sqlite.reading import chunks_at
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.scrubbing import find_names
from chunkstore.store.sqlite.segments.folder import SegmentFolder
from chunkstore.store.sqlite.segments.reading import SegmentReaders

_MANIFESTS_A_STEP: Final = 256
# In this order, once all manifests are there.
_NAMES: Final = (
    "copy_source_files",
    "copy_source_folders",
    "delete_folder_changes",
    "copy_folder_changes",
    "delete_root",
    "copy_source_root",
    "delete_records",
    "copy_source_records",
    "delete_quotas",
    "copy_source_quotas",
    "delete_old_audit",
    "copy_source_audit",
)


class _ChunkLacking(Exception):
    """A chunk of a list is not in the destination yet."""


async def copy_store(
    source: Path, destination: OpenDatabase, relate: Job[None]
) -> AsyncGenerator[Copied, None]:
    """Make the destination a copy of the database at `source`.

    `relate`, which is `claim` or `succeed`, records how the two are related, or refuses.
    """
    writer = destination.writable
    await writer.run_alone(partial(_attach, source=source))
    await writer.run(relate, size=EDIT_SIZE)
    segments = SegmentReaders(SegmentFolder(source))
    try:
        async with aclosing(_copy_all(writer, destination, segments)) as steps:
            async for copied in steps:
                yield copied
    finally:
        await asyncio.to_thread(segments.close)


async def _copy_all(
    writer: Writer, destination: OpenDatabase, segments: SegmentReaders
) -> AsyncGenerator[Copied, None]:
    while True:
        sealed = await writer.run(_lacking_manifests)
        async with aclosing(copy_chunks(destination, segments)) as steps:
            async for copied in steps:
                yield copied
        # Their chunks are there now. Those that are damaged are told of when all the others are.
        for first in range(0, len(sealed), _MANIFESTS_A_STEP):
            step = sealed[first : first + _MANIFESTS_A_STEP]
            await writer.run(
                partial(_copy_manifests, source_ids=step), size=STEP_SIZE, durable=False
            )
        damage = await writer.run(_copy_references, size=EDIT_SIZE)
        if damage is not None:
            if damage:
                yield Copied(0, 0, 1.0, damage)
            return


def _attach(db: sqlite3.Connection, source: Path) -> None:
    forbid_promotion(db)
    db.execute("ATTACH :uri AS source", {"uri": reader_uri(source)})


def claim(db: sqlite3.Connection) -> None:
    """Record whose backup the destination is.

    Raises:
        Forbidden: the destination has files and is not a backup of this source.
    """
    source_id = fetch_value(db, "source_setting", name="id")
    backup_of = fetch_value(db, "find_setting", name="backup_of")
    if backup_of == source_id:
        return
    if backup_of is not None or fetch_value(db, "any_name"):
        raise Forbidden(
            "The destination is a store of its own, not a backup of this one; choose another."
        )
    execute(db, "put_setting", name="backup_of", value=source_id)


def succeed(db: sqlite3.Connection) -> None:
    """Have the destination take the place of the store that the source is a backup of.

    So the next backup of it continues with the backups of that store. A source that is nobody's
    backup leaves the destination a store of its own.
    """
    backup_of = fetch_value(db, "source_setting", name="backup_of")
    if backup_of is not None:
        execute(db, "put_setting", name="id", value=backup_of)


def _copy_references(db: sqlite3.Connection) -> list[Damage] | None:
    """Copy all rows that refer to chunks, if all chunks are there; return what was damaged."""
    if fetch_value(db, "lacking_chunk"):
        return None
    execute(db, "delete_unlike_files")
    execute(db, "delete_unlike_folders")
    damage = _copy_manifests(db, _lacking_manifests(db))
    for query in _NAMES:
        execute(db, query)
    names = execute(db, "damaged_source_names").fetchall()
    return damage + [Damage("name", None, [FileName(row["name"])]) for row in names]


def _lacking_manifests(db: sqlite3.Connection) -> list[int]:
    return [row["id"] for row in execute(db, "lacking_manifests")]


def _copy_manifests(db: sqlite3.Connection, source_ids: Sequence[int]) -> list[Damage]:
    """Copy manifests, but for those that are gone; return the damage that was found."""
    damage = []
    for source_id in source_ids:
        row = execute(db, "source_manifest", id=source_id).fetchone()
        if row is not None:
            damage += _copy_manifest(db, source_id, row)
    return damage


def _copy_manifest(db: sqlite3.Connection, source_id: int, row: sqlite3.Row) -> list[Damage]:
    """Copy a manifest and its list; a damaged one is marked, so that an upload repairs it."""
    execute(db, "give_up_list", list=row["list"])
    manifest = proved_manifest(row)
    copy_id = fetch_value(db, "next_manifest")
    proof = 0 if manifest is None else replace(manifest, id=copy_id).proof
    execute(db, "put_copied_manifest", **{**row, "id": copy_id, "proof": proof})
    try:
        if manifest is not None and _copy_list(db, manifest, copy_id):
            return []
    except _ChunkLacking:
        execute(db, "delete_manifest", id=copy_id)
        return []
    execute(db, "mark_manifest", id=copy_id, damaged=1)
    with understood_rows():
        files = find_names(db, "source_files_of_manifest", source_id)
        return [Damage("content", Digest(row["digest"]), files)]


def _copy_list(db: sqlite3.Connection, source: Manifest, copy_id: int) -> bool:
    """Copy the list of a manifest; return whether all of it is as it was sealed.

    Raises:
        _ChunkLacking: not all its chunks were copied, for no file needed it any more.
    """
    whole = ListHasher()
    try:
        while found := chunks_at(db, source.id, whole.size, "source_places"):
            ids = [chunk for _, chunk in found]
            if None in ids:
                raise _ChunkLacking
            chunks = [(place.digest, place.size) for place, _ in found]
            copied = OpenManifest(copy_id, source.chunk_size, whole.size).places(chunks)
            manifests.add_places(db, copy_id, zip(copied, ids, strict=True))
            for digest, size in chunks:
                whole.add(digest, size)
    except DamagedList:
        return False
    return whole.proves(source)
