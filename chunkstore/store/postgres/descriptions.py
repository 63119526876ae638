"""Jobs on what is kept with names: properties and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chunkstore.core.dav.properties import changed_properties
from chunkstore.core.names import ROOT
from chunkstore.core.timestamps import to_datetime
from chunkstore.store.contract.edits import Name, Patch, Present, is_folder_name, judge
from chunkstore.store.contract.properties import Description, Properties
from chunkstore.store.contract.values import Applied
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.paths import path_of
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.postgres.tree import find_to_edit, lock
from chunkstore.store.postgres.usage import Tally
from chunkstore.store.shared.root_folder import SETTING, RootFolder, describe_root
from chunkstore.store.shared.times import Times


class PostgresProperties(Properties):
    """What is kept with the names of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def describe(
        self, names: Sequence[Name], *, bare: bool = True
    ) -> Mapping[Name, Description]:
        return await self._opened.database.read(describe, names, bare)


async def patch(db: Connection, edit: Patch, tally: Tally) -> Applied:
    """Change the properties and the times of a file or a folder.

    Raises:
        What `judge` raises; TooManyProperties: they would be too large.
    """
    await lock(db, tally, edit.name)
    judge(edit, Present(source=await find_to_edit(db, edit.name)))
    if edit.name == ROOT:
        await _patch_root(db, edit)
        return Applied(replaced=False)
    path, is_folder = path_of(edit.name), is_folder_name(edit.name)
    row = await db.fetchrow(QUERIES["describe_names"], [path], [is_folder])
    assert row is not None
    times = Times.of(edit.created, edit.modified)
    if is_folder:
        times = times.over(row["created"], row["modified"])
        await db.execute(QUERIES["keep_folder"], path, times.created)
    properties = changed_properties(row["properties"], edit.changes)
    await db.execute(QUERIES["describe_again"], path, times.created, times.modified, properties)
    return Applied(replaced=False)


async def _patch_root(db: Connection, edit: Patch) -> None:
    await db.execute(QUERIES["add_setting"], SETTING, RootFolder().format())
    kept = RootFolder.parse(await db.fetchval(QUERIES["lock_setting"], SETTING))
    await db.execute(QUERIES["put_setting"], SETTING, kept.patched(edit).format())


async def describe(db: Connection, names: Sequence[Name], bare: bool) -> dict[Name, Description]:
    """Return what is kept with those of the names that exist; `bare` as `Properties.describe`."""
    wanted = [name for name in names if name != ROOT]
    paths, are_folders = list(map(path_of, wanted)), list(map(is_folder_name, wanted))
    rows = await db.fetch(QUERIES["describe_names"], paths, are_folders)
    found = {
        name: _to_description(row)
        for row in rows
        for name in (wanted[row["place"] - 1],)
        if bare or row["properties"] is not None or is_folder_name(name)
    }
    if ROOT in names:
        row = await db.fetchrow(QUERIES["first_times"])
        nothing = Description(to_datetime(0), to_datetime(0))
        first = nothing if row is None else _to_description(row)
        found[ROOT] = describe_root(await db.fetchval(QUERIES["find_setting"], SETTING), first)
    return found


def _to_description(row: Row) -> Description:
    try:
        created, modified = to_datetime(row["created"]), to_datetime(row["modified"])
    except (TypeError, ValueError, OverflowError):
        # Those of a damaged entry, which lists tell of.
        created = modified = to_datetime(0)
    return Description(created, modified, row["properties"])
