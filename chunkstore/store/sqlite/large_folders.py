"""Folders with many names, copied, moved and deleted in steps.

Other writers would wait for seconds for one transaction of all names. So each change is a row
in `folder_change` and many short transactions, and still takes effect for all readers at once:

- **Delete**: one transaction hides the folder; then its names are deleted.
- **Copy**: one transaction hides the target; names are added there; one transaction shows them.
- **Move**: as a copy, but the last transaction also hides the source, which is deleted then.
- **A file that takes a folder's place**: one transaction hides the folder and puts the file; then
  the folder's names are deleted. One whose place a folder takes goes in the copy's last one.

The first transaction judges the edit, and no name can change in a folder that has such a row: so
what was judged stays true until the last transaction. After a crash the next process removes the
rows: hidden folders are deleted, others stay as they are. So an interrupted copy is undone, and an
interrupted deletion is completed. A target that is replaced is deleted before the copy begins, as
RFC 4918 §9.8.4 has it, so for that long, and after a crash, there is neither the old one nor the
new one.

What is hidden counts for no quota. The transaction by which folders appear or disappear changes
what is used by what they come to, which a reader has counted before (`FolderTurn`). A transfer is
refused before anything is deleted for it, and undone if others have used too much by its end.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreFull
from chunkstore.core.names import FileName, FolderName
from chunkstore.core.tasks import retrieve_exception
from chunkstore.store.contract.audit import Who, actions_of
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    Move,
    is_folder_name,
    judge,
    judge_length,
    judge_source,
    names_in,
)
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.contract.values import Applied
from chunkstore.store.sqlite import locks
from chunkstore.store.sqlite.audit import add_actions
from chunkstore.store.sqlite.engine.connection import Job, Runner
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE, DiskReserve
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.tree import (
    NameRange,
    below,
    copy_folder_itself,
    copy_names,
    delete_names,
    find_to_edit,
    folder_changes,
    folder_named,
    keep_folder_of,
    load,
    longest_name,
    transfer_file,
)
from chunkstore.store.sqlite.usage import FolderTurn, QuotaFolders, Usages

T = TypeVar("T")

_logger = logging.getLogger(__name__)

# Other writers wait for each step, and it waits for them.
_NAMES_A_STEP: Final = 256
_STEP_SIZE: Final = EDIT_SIZE + _NAMES_A_STEP * FURTHER_EDIT_SIZE
# A name is stored in its table and in the index by manifest, with the rest of the row.
_COPIES_OF_A_NAME: Final = 2
_REST_OF_A_ROW: Final = 128


class LargeFolders:
    """Changes of large folders in one database. They go on if their caller is cancelled."""

    def __init__(
        self, readers: Runner, writer: Writer, reserve: DiskReserve, quotas: QuotaFolders
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._reserve = reserve
        self._quotas = quotas
        self._tasks: set[asyncio.Task[Any]] = set()
        # How many changes of each folder have begun, of which all but one will be refused.
        self._active: Counter[FolderName] = Counter()

    async def apply(self, edit: Edit, by: Who | None = None, guard: Guard = UNGUARDED) -> bool:
        """Make an edit of one large folder; return whether it replaced another.

        What is done by somebody is in the audit log from the transaction on in which it is seen.

        Raises:
            What `judge` raises.
        """
        match edit:
            case Delete():
                await self._shielded(self._delete(edit, by, guard), edit)
                return False
            case Copy() | Move() if is_folder_name(edit.source):
                return await self._shielded(self._transfer(edit, by, guard), edit)
            case Copy() | Move():
                await self._shielded(self._replace_by_file(edit, by, guard), edit)
                return True
            case _:
                raise TypeError(f"no large folder is changed by {edit}")

    async def _shielded(self, work: Coroutine[Any, Any, T], edit: Edit) -> T:
        return await asyncio.shield(self._start(work, *map(folder_named, names_in(edit))))

    async def recover(self) -> None:
        """End the changes of a crashed process, or failed ones; deletion goes on afterwards."""
        active = frozenset(self._active)
        for name in await self._writer.run(partial(_end_abandoned, active=active)):
            # Another call may have found it at the same moment.
            if name not in self._active:
                self._start(self._recover(name), name)

    async def finish_recovery(self) -> None:
        """Wait until the folders that `recover` found are deleted."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stop between two steps; the next process continues."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, T], *names: FolderName) -> asyncio.Task[T]:
        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            self._active.subtract(names)
            # Those of which no change is left.
            self._active = +self._active
            retrieve_exception(task)

        self._active.update(names)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _recover(self, name: FolderName) -> None:
        try:
            await self._remove(name)
        except ChunkstoreError as error:
            _logger.warning("The folder %r is not deleted yet: %s", name, error)

    async def _delete(self, edit: Delete, by: Who | None, guard: Guard) -> None:
        name = FolderName(edit.name)
        await self._writer.run(partial(_begin_deletion, edit=edit, guard=guard))
        try:
            await self._turn(
                FolderTurn(self._quotas, [name]), partial(_hide_and_tell, edit=edit, by=by)
            )
        except ChunkstoreError:
            await self._release(name)
            raise
        await self._remove(name)

    async def _transfer(self, edit: Copy | Move, by: Who | None, guard: Guard) -> bool:
        source, target = FolderName(edit.source), FolderName(edit.target)
        begin = partial(_begin_transfer, edit=edit, guard=guard)
        replaced = await self._writer.run(begin, size=EDIT_SIZE)
        came = None if _is_empty_copy(edit) else (source, target)
        gone = [source] if isinstance(edit, Move) else []
        try:
            await self._require_space(edit)
            await self._readers.run(FolderTurn(self._quotas, [*gone, target], came).check)
            hide = partial(_hide, name=target)
            await self._turn(FolderTurn(self._quotas, [target]), hide, size=EDIT_SIZE)
            await self._empty(target)
            await self._fill(edit)
            end = partial(_end_transfer, edit=edit, by=by, replaced=replaced)
            file = Delete(FileName(target.removesuffix("/"))) if edit.strict else None
            await self._turn(FolderTurn(self._quotas, gone, came), end, file=file)
        except ChunkstoreError:
            await self._release(source)
            await self._release(target)
            await self._remove(target)
            raise
        if isinstance(edit, Move):
            await self._remove(source)
        return replaced

    async def _turn(
        self, turn: FolderTurn, job: Job[None], *, size: int = 0, file: Edit | None = None
    ) -> None:
        """Run the job by which folders appear or disappear, and change what is used.

        It makes an edit of a `file` too, if that is not None.
        """
        taken = False
        while not taken:
            counted = await self._readers.run(turn.count)
            taken = await self._writer.run(_TakeTurn(turn, counted, job, file).run, size=size)

    async def _replace_by_file(self, edit: Copy | Move, by: Who | None, guard: Guard) -> None:
        """Copy or move a file to the name of a large folder."""
        folder = folder_named(edit.target)
        await self._writer.run(partial(_begin_replacing, edit=edit, guard=guard))
        turn, job = FolderTurn(self._quotas, [folder]), partial(_put_in_place, edit=edit, by=by)
        try:
            await self._turn(turn, job, size=EDIT_SIZE, file=replace(edit, strict=False))
        except ChunkstoreError:
            await self._release(folder)
            raise
        await self._remove(folder)

    async def _require_space(self, edit: Copy | Move) -> None:
        """Refuse a copy before anything of the target is deleted for it."""
        size = await self._readers.run(partial(_measure, edit=edit))
        reason = await asyncio.to_thread(self._reserve.why_full, size)
        if reason is not None:
            raise StoreFull(reason)

    async def _release(self, name: FolderName) -> None:
        """Let a folder change again, unless it is hidden."""
        await self._writer.run(partial(_release, name=name))

    async def _fill(self, edit: Copy | Move) -> None:
        """Write what comes to the target, which is hidden and empty."""
        source, target = FolderName(edit.source), FolderName(edit.target)
        if _is_empty_copy(edit):
            job = partial(copy_folder_itself, source=source, target=target)
            await self._writer.run(job, size=EDIT_SIZE)
            return
        start: str | None = source
        while start is not None:
            step = CopyNames(source, target, start, keep_times=isinstance(edit, Move))
            start = await self._writer.run(step.run, size=_STEP_SIZE, durable=False)

    async def _remove(self, name: FolderName) -> None:
        """Delete all names of a folder, then its row in `folder_change`, if it is hidden."""
        await self._empty(name)
        await self._writer.run(partial(_settle_emptied, name=name))

    async def _empty(self, name: FolderName) -> None:
        step = partial(_delete_some, folder=name)
        while await self._writer.run(step, log_size=_STEP_SIZE, durable=False):
            pass


@dataclass(frozen=True, slots=True)
class _TakeTurn:
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


def _delete_some(db: sqlite3.Connection, folder: FolderName) -> bool:
    """Delete the first names of a hidden folder; return whether there were any.

    A backup to this store may have brought a folder of this name meanwhile, which is visible.
    """
    step = _next_step(db, below(folder)) if fetch_value(db, "is_hidden", prefix=folder) else None
    if step is not None:
        delete_names(db, step)
    return step is not None


def _end_abandoned(db: sqlite3.Connection, active: Collection[str]) -> list[FolderName]:
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


def _begin_deletion(db: sqlite3.Connection, edit: Delete, guard: Guard) -> None:
    """Keep the folder from changing."""
    _judge(db, edit, guard)
    if edit.strict:
        keep_folder_of(db, edit.name)
    _put_change(db, FolderName(edit.name), hidden=False)


def _hide_and_tell(db: sqlite3.Connection, edit: Delete, by: Who | None) -> None:
    _hide(db, FolderName(edit.name))
    _take_effect(db, edit, by, replaced=False)


def _take_effect(db: sqlite3.Connection, edit: Edit, by: Who | None, *, replaced: bool) -> None:
    """Drop the locks of what an edit takes away, and tell who made it."""
    locks.drop(db, edit)
    if by is not None:
        add_actions(db, by, actions_of([edit], [Applied(replaced)]))


def _hide(db: sqlite3.Connection, name: FolderName) -> None:
    _put_change(db, name, hidden=True)


def _begin_replacing(db: sqlite3.Connection, edit: Copy | Move, guard: Guard) -> None:
    """Keep the folder from changing whose place a file is to take."""
    _judge(db, edit, guard)
    _put_change(db, folder_named(edit.target), hidden=False)


def _put_in_place(db: sqlite3.Connection, edit: Copy | Move, by: Who | None) -> None:
    """Hide a folder, which is to go, and give a file its name.

    Raises:
        NotFound: the file has gone meanwhile.
    """
    judge_source(edit, find_to_edit(db, edit.source))
    if isinstance(edit, Move):
        keep_folder_of(db, edit.source)
    _put_change(db, folder_named(edit.target), hidden=True)
    transfer_file(db, edit)
    _take_effect(db, edit, by, replaced=True)


def _begin_transfer(db: sqlite3.Connection, edit: Copy | Move, guard: Guard) -> bool:
    """Keep both folders from changing; return whether the edit replaces one."""
    replaced = _judge(db, edit, guard)
    _put_change(db, FolderName(edit.source), hidden=False)
    _put_change(db, FolderName(edit.target), hidden=False)
    return replaced


def _end_transfer(
    db: sqlite3.Connection, edit: Copy | Move, by: Who | None, replaced: bool
) -> None:
    """Show the target, and hide the source of a move."""
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


def _is_empty_copy(edit: Copy | Move) -> bool:
    """Whether only the target is large: a copy without members replaces it."""
    return isinstance(edit, Copy) and not edit.with_members


def _measure(db: sqlite3.Connection, edit: Copy | Move) -> int:
    """Return about how many bytes a copy takes, all names of which are short enough."""
    if _is_empty_copy(edit):
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


def _release(db: sqlite3.Connection, name: FolderName) -> None:
    if not fetch_value(db, "is_hidden", prefix=name):
        _settle(db, name)


def _settle_emptied(db: sqlite3.Connection, name: FolderName) -> None:
    if fetch_value(db, "is_hidden", prefix=name) and _next_step(db, below(name)) is None:
        _settle(db, name)


def _next_step(db: sqlite3.Connection, names: NameRange) -> NameRange | None:
    """Return the range of as many of the first names as one step takes, None if there is none."""
    last = fetch_value(db, "last_of_first_names", **names, count=_NAMES_A_STEP)
    # No name contains NUL, so this is the least text after the last name.
    return None if last is None else NameRange(start=names["start"], stop=f"{last}\0")
