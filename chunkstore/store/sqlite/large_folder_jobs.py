"""The transactions of which a change of a folder with many names consists (`large_folders`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from chunkstore.core.names import FolderName
from chunkstore.store.contract.audit import Who, actions_of
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    Move,
    judge,
    judge_length,
    judge_source,
)
from chunkstore.store.contract.locks import Guard
from chunkstore.store.contract.values import Applied
from chunkstore.store.sqlite import locks
from chunkstore.store.sqlite.audit import add_actions
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.tree import (
    NameRange,
    below,
    copy_names,
    delete_names,
    find_to_edit,
    folder_changes,
    folder_named,
    keep_folder_of,
    load,
    longest_name,
    require_settled,
    transfer_file,
)
from chunkstore.store.sqlite.usage import FolderTurn, Usages

# Other writers wait for each step, and it waits for them.
_NAMES_A_STEP: Final = 256
STEP_SIZE: Final = EDIT_SIZE + _NAMES_A_STEP * FURTHER_EDIT_SIZE
# A name is stored in its table and in the index by manifest, with the rest of the row.
_COPIES_OF_A_NAME: Final = 2
_REST_OF_A_ROW: Final = 128


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """The job that runs another, unless what it changes is to be counted first."""

    turn: FolderTurn
    counted: Sequence[Usages]
    job: Job[None]
    file: Edit | None = None

    def run(self, db: sqlite3.Connection) -> bool:
        """Return whether it was run."""
        tally = self.turn.tally(self.counted)
        if tally is None:
            return False
        with nullcontext() if self.file is None else tally.counting(db, self.file, 0):
            self.job(db)
        tally.settle(db)
        return True


@dataclass(frozen=True, slots=True)
class CopyNames:
    """The job that copies the first names of `source` from `start` on."""

    source: FolderName
    target: FolderName
    start: str
    keep_times: bool

    def run(self, db: sqlite3.Connection) -> str | None:
        """Return where to continue, None at the end."""
        step = _next_step(db, NameRange(start=self.start, stop=below(self.source)["stop"]))
        if step is None:
            return None
        copy_names(db, step, self.source, self.target, keep_times=self.keep_times)
        return str(step["stop"])


def delete_some(db: sqlite3.Connection, folder: FolderName) -> bool:
    """Delete the first names of a hidden folder; return whether there were any.

    A backup to this store may have brought a folder of this name meanwhile, which is visible.
    """
    step = _next_step(db, below(folder)) if fetch_value(db, "is_hidden", prefix=folder) else None
    if step is not None:
        delete_names(db, step)
    return step is not None


def end_abandoned(db: sqlite3.Connection, active: Collection[str]) -> list[FolderName]:
    """End changes of folders that are not `active`; return the hidden ones, which are to go."""
    changes = [change for change in folder_changes(db) if change.prefix not in active]
    for change in changes:
        if not change.hidden:
            _settle(db, FolderName(change.prefix))
    return [FolderName(change.prefix) for change in changes if change.hidden]


def _judge(db: sqlite3.Connection, edit: Edit, guard: Guard) -> bool:
    """Judge an edit, and refuse it where a lock is in the way.

    While the folder cannot change, no lock is taken on what is in it.
    """
    replaced = judge(edit, load(db, edit))
    locks.require(db, edit, guard, replaced=replaced)
    return replaced


def begin_deletion(db: sqlite3.Connection, edit: Delete, guard: Guard) -> None:
    """Keep the folder from changing."""
    _judge(db, edit, guard)
    if edit.strict:
        keep_folder_of(db, edit.name)
    _put_change(db, FolderName(edit.name), hidden=False)


def end_deletion(db: sqlite3.Connection, edit: Delete, by: Who | None, guard: Guard) -> None:
    """Hide the folder, which is to go.

    Raises:
        What `locks.require` raises: what lay beside it may be gone by now, and so its folder goes.
    """
    locks.require(db, edit, guard, replaced=False)
    hide(db, FolderName(edit.name))
    _take_effect(db, edit, by, replaced=False)


def hide(db: sqlite3.Connection, name: FolderName) -> None:
    """Hide a folder, if there is one, and keep it from changing."""
    _put_change(db, name, hidden=True)


def begin_replacing(db: sqlite3.Connection, edit: Copy | Move, guard: Guard) -> None:
    """Keep the folder from changing whose place a file is to take."""
    _judge(db, edit, guard)
    _put_change(db, folder_named(edit.target), hidden=False)


def end_replacing(db: sqlite3.Connection, edit: Copy | Move, by: Who | None, guard: Guard) -> None:
    """Hide a folder, which is to go, and give a file its name.

    The file is judged again, as nothing has kept it from changing since `begin_replacing`.

    Raises:
        What `judge_source` and `locks.require` raise.
        StoreUnavailable: a folder that the file lies in is being changed in steps.
    """
    require_settled(db, edit.source)
    judge_source(edit, find_to_edit(db, edit.source))
    locks.require(db, edit, guard, replaced=True)
    if isinstance(edit, Move):
        keep_folder_of(db, edit.source)
    _put_change(db, folder_named(edit.target), hidden=True)
    transfer_file(db, edit)
    _take_effect(db, edit, by, replaced=True)


def begin_transfer(db: sqlite3.Connection, edit: Copy | Move, guard: Guard) -> bool:
    """Keep both folders from changing; return whether the edit replaces one."""
    replaced = _judge(db, edit, guard)
    _put_change(db, FolderName(edit.source), hidden=False)
    _put_change(db, FolderName(edit.target), hidden=False)
    return replaced


def end_transfer(
    db: sqlite3.Connection, edit: Copy | Move, by: Who | None, guard: Guard, replaced: bool
) -> None:
    """Show the target, and hide the source of a move; raise as `end_deletion`."""
    locks.require(db, edit, guard, replaced=replaced)
    _take_effect(db, edit, by, replaced=replaced)
    if edit.strict:
        execute(db, "delete_file", name=edit.target.removesuffix("/"))
        if isinstance(edit, Move):
            keep_folder_of(db, edit.source)
    _settle(db, FolderName(edit.target))
    if isinstance(edit, Copy):
        _settle(db, FolderName(edit.source))
    else:
        _put_change(db, FolderName(edit.source), hidden=True)


def _take_effect(db: sqlite3.Connection, edit: Edit, by: Who | None, *, replaced: bool) -> None:
    """Drop the locks of what an edit takes away, and tell who made it."""
    locks.drop(db, edit)
    if by is not None:
        add_actions(db, by, actions_of([edit], [Applied(replaced)]))


def is_empty_copy(edit: Copy | Move) -> bool:
    """Whether only the target is large: a copy without members replaces it."""
    return isinstance(edit, Copy) and not edit.with_members


def measure(db: sqlite3.Connection, edit: Copy | Move) -> int:
    """Return about how many bytes a copy takes, all names of which are short enough."""
    if is_empty_copy(edit):
        return EDIT_SIZE
    source, target = FolderName(edit.source), FolderName(edit.target)
    judge_length(source, target, longest_name(db, source))
    row = execute(db, "measure_names", **below(source)).fetchone()
    longer = len(target.encode()) - len(source.encode())
    return _COPIES_OF_A_NAME * int(row["size"] + row["count"] * (longer + _REST_OF_A_ROW))


def _put_change(db: sqlite3.Connection, name: FolderName, *, hidden: bool) -> None:
    execute(db, "put_folder_change", **below(name), hidden=int(hidden))


def _settle(db: sqlite3.Connection, name: FolderName) -> None:
    execute(db, "delete_folder_change", prefix=name)


def release(db: sqlite3.Connection, name: FolderName) -> None:
    """Let a folder change again, unless it is hidden."""
    if not fetch_value(db, "is_hidden", prefix=name):
        _settle(db, name)


def settle_emptied(db: sqlite3.Connection, name: FolderName) -> None:
    """Let a hidden folder change again, if nothing is left in it."""
    if fetch_value(db, "is_hidden", prefix=name) and _next_step(db, below(name)) is None:
        _settle(db, name)


def _next_step(db: sqlite3.Connection, names: NameRange) -> NameRange | None:
    """Return the range of as many of the first names as one step takes, None if there is none."""
    last = fetch_value(db, "last_of_first_names", **names, count=_NAMES_A_STEP)
    # No name contains NUL, so this is the least text after the last name.
    return None if last is None else NameRange(start=names["start"], stop=f"{last}\0")
