"""What must be true of a database whatever its server went through, asked without its server.

The questions are asked of a copy, because opening a database recovers its log: that is left to
the next server.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from chunkstore.core.names import ROOT
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.transfer.walk import walk
from chunkstore.store.contract.audit import AuditEntry, AuditFilter, AuditLog
from chunkstore.store.contract.quotas import Usage
from chunkstore.store.contract.values import File
from chunkstore.store.sqlite.store import SQLiteStore

DATABASE = "chunkstore.db"

# Each returns the number of rows that should not be there.
_INCOMPLETE = """
SELECT count(*) FROM manifest
WHERE digest IS NULL OR size IS NOT (
    SELECT coalesce(sum(chunk.size), 0)
    FROM place JOIN chunk ON chunk.id = place.chunk
    WHERE place.manifest = manifest.id
) OR chunks IS NOT (SELECT count(*) FROM place WHERE place.manifest = manifest.id)
"""
_UNUSED = """
SELECT (SELECT count(*) FROM manifest WHERE id NOT IN (SELECT manifest FROM file))
     + (SELECT count(*) FROM chunk WHERE id NOT IN (SELECT chunk FROM place))
     + (SELECT count(*) FROM chunk_data WHERE id NOT IN (SELECT id FROM chunk))
"""


async def check_what_is_kept_of_edits(folder: Path, scratch: Path) -> None:
    """Check on a copy that quotas are exact, and that the audit log tells of the names there are.

    All edits of the store are to be in the log.
    """
    store = await SQLiteStore.open(_copy(folder, scratch), create=False)
    try:
        quotas = await store.quotas.list()
        drifts = [found.drift async for found in store.quotas.recount()]
        assert drifts == [Usage(0, 0)] * len(quotas)
        names = {file.name async for file in walk(store, ROOT) if isinstance(file, File)}
        assert await names_told(store.audit) == names
    finally:
        await store.close()


async def names_told(log: AuditLog) -> set[str]:
    """Return the names of the files that there are by what a log tells."""
    names: set[str] = set()
    page: Sequence[AuditEntry] = await log.list(AuditFilter())
    while page:
        for entry in page:
            match entry.action:
                case "create" | "replace":
                    names.add(entry.name)
                case "delete":
                    names.remove(entry.name)
                case "copy" | "move":
                    assert entry.name in names
                    if entry.action == "move":
                        names.remove(entry.name)
                    names.add(str(entry.detail["to"]))
        page = await log.list(AuditFilter(), (page[-1].time, page[-1].id))
    return names


async def check_database(folder: Path, scratch: Path) -> None:
    """Check a copy of the database in `folder`, made in `scratch`: whole, sound, collectable."""
    copy = _copy(folder, scratch)
    check_soundness(copy)
    with closing(sqlite3.connect(copy)) as db, db:
        # What was being uploaded is to go as a whole, like all else that nothing needs.
        db.execute("UPDATE upload SET expires = 0")
    store = await SQLiteStore.open(copy, create=False)
    try:
        for _ in range(2):
            scrub = store.maintenance.scrub()
            assert [damage async for step in scrub for damage in step.damage] == []
            await collect_all(store.maintenance, 0)
            await store.maintenance.compact()
    finally:
        await store.close()
    check_soundness(copy)
    check_segments(copy)
    assert _number(copy, _INCOMPLETE) == 0, "a content is not complete"
    assert _number(copy, _UNUSED) == 0, "a collection left what nothing needs"


def check_soundness(database: Path) -> None:
    """Check SQLite's own account of the file, and every reference."""
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def check_segments(database: Path) -> int:
    """Check that all segments have their files, and no others are there; return how many."""
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        needed = {segment for (segment,) in db.execute("SELECT id FROM segment")}
    folder = database.with_name(f"{database.name}-segments")
    found = {int(file.stem, 16) for file in folder.iterdir()} if folder.exists() else set()
    assert found == needed
    return len(found)


def _copy(folder: Path, scratch: Path) -> Path:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for path in (folder / DATABASE, folder / f"{DATABASE}-wal"):
        if path.exists():
            shutil.copy(path, scratch)
    segments = folder / f"{DATABASE}-segments"
    if segments.exists():
        shutil.copytree(segments, scratch / segments.name)
    return scratch / DATABASE


def _number(database: Path, query: str) -> int:
    with closing(sqlite3.connect(database)) as db:
        return int(db.execute(query).fetchone()[0])
