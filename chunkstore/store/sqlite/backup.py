"""Backup: making another store a copy of this one, in steps, while this one is served.

The copy is logical, not page by page: chunks that the destination lacks, by digest, then all that
refers to them. So a second backup copies what is new only, one that was interrupted goes on, and
every chunk is checked on its way. The destination's writing connection does it, with the source
attached read-only. Each of its transactions sees the source at one moment and is short, so the
source's log is not kept from being emptied; the last one, which makes names, manifests and chunk
lists those of one moment, makes sure that it has all chunks for them or changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import Forbidden
from chunkstore.core.names import FileName
from chunkstore.store.contract.reports import Copied, Damage
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.sqlite.engine.connection import Job, reader_uri
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.promotion import forbid_promotion
from chunkstore.store.sqlite.rows import QUERIES
from chunkstore.store.sqlite.schema import PACKAGE

_BACKUP: Final = load_queries(PACKAGE, "backup.sql")
_STEP_SIZE: Final = 4 * 1024 * 1024
_SPAN: Final = 10_000
_SYNCHRONISE: Final = (
    "delete_unlike_files",
    "delete_unlike_folders",
    "copy_manifests",
    "copy_manifest_chunks",
    "copy_source_files",
    "copy_source_folders",
    "delete_folder_changes",
    "copy_folder_changes",
)


async def copy_store(
    source: Path, destination: Writer, relate: Job[None]
) -> AsyncGenerator[Copied, None]:
    """Make the destination a copy of the database at `source`.

    `relate`, `claim` or `succeed`, records what the two are to each other, or refuses.
    """
    await destination.run_alone(partial(_attach, source=source))
    await destination.run(relate, size=EDIT_SIZE)
    while True:
        async for copied in _copy_chunks(destination):
            yield copied
        if await destination.run(_synchronise, size=EDIT_SIZE):
            return


def _attach(db: sqlite3.Connection, source: Path) -> None:
    forbid_promotion(db)
    db.execute("ATTACH :uri AS source", {"uri": reader_uri(source)})


def claim(db: sqlite3.Connection) -> None:
    """Record whose backup the destination is.

    Raises:
        Forbidden: the destination holds files and is not a backup of this source.
    """
    [(source_id,)] = db.execute(_BACKUP["source_id"]).fetchall()
    row = db.execute(QUERIES["find_setting"], {"name": "backup_of"}).fetchone()
    if row is not None and row[0] == source_id:
        return
    if row is not None or db.execute(_BACKUP["any_name"]).fetchone():
        raise Forbidden(
            "The destination is a store of its own, not a backup of this one; choose another."
        )
    db.execute(QUERIES["put_setting"], {"name": "backup_of", "value": source_id})


def succeed(db: sqlite3.Connection) -> None:
    """Have the destination take the place of the store that the source is a backup of.

    So the next backup goes on where the last one was. A source that is nobody's backup leaves the
    destination a store of its own.
    """
    row = db.execute(_BACKUP["source_backup_of"]).fetchone()
    if row is not None:
        db.execute(QUERIES["put_setting"], {"name": "id", "value": row[0]})


async def _copy_chunks(destination: Writer) -> AsyncGenerator[Copied, None]:
    after, last = 0, await destination.run(_last_chunk)
    while after < last:
        after, copied = await destination.run(
            partial(_copy_some, after=after, last=last), size=_STEP_SIZE, durable=False
        )
        yield copied


def _last_chunk(db: sqlite3.Connection) -> int:
    return int(db.execute(_BACKUP["last_source_chunk"]).fetchone()[0])


def _copy_some(db: sqlite3.Connection, after: int, last: int) -> tuple[int, Copied]:
    """Copy some MiB of missing chunks; return the id up to which all are there."""
    stop = min(after + _SPAN, last)
    chunks = size = 0
    damage = []
    missing = db.execute(_BACKUP["missing_chunks"], {"after": after, "stop": stop}).fetchall()
    for chunk_id, stored_size in missing:
        damage += _copy_chunk(db, chunk_id)
        chunks += 1
        size += stored_size
        if size >= _STEP_SIZE:
            stop = chunk_id
            break
    return stop, Copied(chunks, size, stop / last, damage)


def _copy_chunk(db: sqlite3.Connection, chunk_id: int) -> list[Damage]:
    """Copy one chunk, also if it is damaged, which is noted then, to be repaired by an upload."""
    columns = ("digest", "size", "codec", "bytes", "stored_size", "created")
    row: dict[str, Any] = dict(
        zip(columns, db.execute(_BACKUP["source_chunk"], {"id": chunk_id}).fetchone(), strict=True)
    )
    damage = []
    try:
        check_chunk(row["digest"], row["size"], row["codec"], row["bytes"])
    except DamagedChunk:
        files = db.execute(_BACKUP["source_files_with_chunk"], {"chunk": chunk_id}).fetchall()
        names = [FileName(name) for (name,) in files]
        damage.append(Damage("chunk", Digest(row["digest"]), names))
    row["damaged"] = len(damage)
    row["bytes"] = row["bytes"] or b""
    [(new_id,)] = db.execute(_BACKUP["put_copied_chunk"], row).fetchall()
    db.execute(QUERIES["put_chunk_data"], {"id": new_id, "bytes": row["bytes"]})
    return damage


def _synchronise(db: sqlite3.Connection) -> bool:
    """Take over what refers to chunks, if they are all there; return whether they were."""
    if db.execute(_BACKUP["lacking_chunk"]).fetchone():
        return False
    last = {"last": db.execute(QUERIES["last_manifest"]).fetchone()[0]}
    for query in _SYNCHRONISE:
        db.execute(_BACKUP[query], last)
    return True
