"""Backup: making another store a copy of this one, in steps, while this one is served.

The copy is logical, not page by page: first the chunks that the destination lacks, by digest, then
all rows that refer to them. So a later backup copies only what is new, an interrupted one
continues, and every chunk is checked on its way. The destination's writing connection does it, with
the source attached read-only. Each of its transactions sees a snapshot of the source and is short,
so that the log of the source can be emptied. The last one copies names, manifests and chunk lists
of one snapshot; it makes sure that all their chunks are there, or changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import Forbidden
from chunkstore.store.contract.reports import Copied, Damage
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.sqlite.engine.connection import Job, reader_uri
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import check_row
from chunkstore.store.sqlite.promotion import forbid_promotion
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.scrubbing import find_names

_STEP_SIZE: Final = 4 * 1024 * 1024
_SPAN: Final = 10_000
# In this order; `last` is the parameter of one of them.
_REFERENCES: Final = (
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

    `relate`, which is `claim` or `succeed`, records how the two are related, or refuses.
    """
    await destination.run_alone(partial(_attach, source=source))
    await destination.run(relate, size=EDIT_SIZE)
    while True:
        after, last = 0, await destination.run(partial(fetch_value, query="last_source_chunk"))
        while after < last:
            after, copied = await destination.run(
                CopyChunks(after, last).run, size=_STEP_SIZE, durable=False
            )
            yield copied
        if await destination.run(_copy_references, size=EDIT_SIZE):
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


@dataclass(frozen=True, slots=True)
class CopyChunks:
    """The job that copies some MiB of missing chunks, of ids after `after` up to `last`."""

    after: int
    last: int

    def run(self, db: sqlite3.Connection) -> tuple[int, Copied]:
        """Return the id up to which all are copied, and what this step copied."""
        stop = min(self.after + _SPAN, self.last)
        chunks = size = 0
        damage: list[Damage] = []
        for row in execute(db, "missing_chunks", after=self.after, stop=stop).fetchall():
            damage += _copy_chunk(db, row["id"])
            chunks += 1
            size += row["stored_size"]
            if size >= _STEP_SIZE:
                stop = row["id"]
                break
        return stop, Copied(chunks, size, stop / self.last, damage)


def _copy_chunk(db: sqlite3.Connection, chunk_id: int) -> list[Damage]:
    """Copy a chunk; a damaged one is marked, so that an upload repairs it."""
    row = execute(db, "source_chunk", id=chunk_id).fetchone()
    damage = []
    try:
        check_row(row)
    except DamagedChunk:
        files = find_names(db, "source_files_with_chunk", chunk_id)
        damage.append(Damage("chunk", Digest(row["digest"]), files))
    copy: dict[str, Any] = {**row, "damaged": len(damage), "bytes": row["bytes"] or b""}
    copy["id"] = fetch_value(db, "put_copied_chunk", **copy)
    execute(db, "put_chunk_data", **copy)
    return damage


def _copy_references(db: sqlite3.Connection) -> bool:
    """Copy all rows that refer to chunks, if all chunks are there; return whether they are."""
    if fetch_value(db, "lacking_chunk"):
        return False
    last = fetch_value(db, "last_manifest")
    for query in _REFERENCES:
        execute(db, query, last=last)
    return True
