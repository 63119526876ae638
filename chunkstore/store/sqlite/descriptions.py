"""Jobs on what is kept with names: properties and times."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial

from chunkstore.core.dav.properties import changed_properties
from chunkstore.core.names import ROOT
from chunkstore.core.timestamps import to_datetime
from chunkstore.store.contract.edits import Name, Patch, is_folder_name
from chunkstore.store.contract.properties import Description, Properties
from chunkstore.store.shared.root_folder import SETTING, RootFolder, describe_root
from chunkstore.store.shared.times import Times
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.tree import below


class SQLiteProperties(Properties):
    """What is kept with the names of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def describe(
        self, names: Sequence[Name], *, bare: bool = True
    ) -> Mapping[Name, Description]:
        runner = self._database.runner_for(names)
        return await runner.run(partial(describe, names=names, bare=bare))


def describe(
    db: sqlite3.Connection, names: Sequence[Name], *, bare: bool
) -> dict[Name, Description]:
    """Return what is kept with those of the names that exist; `bare` as `Properties.describe`."""
    files = json.dumps([name for name in names if not is_folder_name(name)])
    found = {row["name"]: row for row in execute(db, "describe_files", names=files, bare=bare)}
    for name in names:
        if is_folder_name(name):
            found[name] = _description_row(db, name)
    rows = ((name, found.get(name)) for name in names)
    descriptions = {name: _to_description(row) for name, row in rows if row is not None}
    if ROOT in found:
        first = descriptions.get(ROOT, Description(to_datetime(0), to_datetime(0)))
        descriptions[ROOT] = describe_root(fetch_value(db, "find_setting", name=SETTING), first)
    return descriptions


def _description_row(db: sqlite3.Connection, name: Name) -> sqlite3.Row | None:
    if is_folder_name(name):
        cursor = execute(db, "describe_folder", name=name, **below(name))
    else:
        cursor = execute(db, "describe_file", name=name)
    row: sqlite3.Row | None = cursor.fetchone()
    return row


def _to_description(row: sqlite3.Row) -> Description:
    try:
        created, modified = to_datetime(row["created"]), to_datetime(row["modified"])
    except (TypeError, ValueError, OverflowError):
        # Those of a damaged entry, which lists tell of.
        created = modified = to_datetime(0)
    return Description(created, modified, row["properties"])


def patch(db: sqlite3.Connection, edit: Patch) -> None:
    """Change the properties and times of what exists.

    Raises:
        TooManyProperties: they would be too large.
    """
    if edit.name == ROOT:
        _patch_root(db, edit)
        return
    row = _description_row(db, edit.name)
    assert row is not None
    query, times = "describe_again", Times.of(edit.created, edit.modified)
    if is_folder_name(edit.name):
        query, times = "describe_folder_again", times.over(row["created"], row["modified"])
        execute(db, "keep_folder", name=edit.name, now=times.created)
    execute(
        db,
        query,
        name=edit.name,
        created=times.created,
        modified=times.modified,
        properties=changed_properties(row["properties"], edit.changes),
    )


def _patch_root(db: sqlite3.Connection, edit: Patch) -> None:
    root = RootFolder.parse(fetch_value(db, "find_setting", name=SETTING))
    execute(db, "put_setting", name=SETTING, value=root.patched(edit).format())
