"""Folders with many names in them, copied, moved and removed in steps.

One transaction for all their names would hold up everybody else who writes, for seconds. So each
change is a row in `folder_change` and many short transactions, and still takes effect at once for
all who look:

- **Removed**: one transaction hides the folder; then its names are removed.
- **Copied**: one transaction hides the target; names are added there; one transaction shows them.
- **Moved**: as copied, but the last transaction also hides the source, which is removed then.

Nobody changes a name in a folder whose row is there, or the copy would not be one. If the process
dies, the next one takes the rows away: what is hidden is removed, what is not stays as it is. So a
copy that did not come to its end is gone, and a removal that had begun is complete. A target that
is replaced is removed before the copy begins, as RFC 4918 §9.8.4 has it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreFull
from chunkstore.core.names import FolderName
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    Move,
    judge,
    judge_length,
    names_in,
)
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE, DiskReserve
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.rows import QUERIES
from chunkstore.store.sqlite.tree import (
    below,
    folder_changes,
    load,
    longest_name_below,
    make_folder,
    skipping,
)

T = TypeVar("T")

_logger = logging.getLogger(__name__)

# Others wait for each step, and it for them.
_NAMES_A_STEP: Final = 256
_STEP_SIZE: Final = EDIT_SIZE + _NAMES_A_STEP * FURTHER_EDIT_SIZE
# In the table of names, and in its index by content, with the rest of the row.
_TIMES_A_NAME: Final = 2
_REST_OF_A_ROW: Final = 128


class LargeFolders:
    """Changes of large folders in one database. They go on when their caller is cancelled."""

    def __init__(self, readers: Runner, writer: Writer, reserve: DiskReserve) -> None:
        self._readers = readers
        self._writer = writer
        self._reserve = reserve
        self._tasks: set[asyncio.Task[Any]] = set()
        self._active: set[FolderName] = set()

    async def apply(self, edit: Edit) -> bool:
        """Make an edit of one large folder; return whether it replaced another.

        Raises:
            What `judge` raises.
        """
        match edit:
            case Delete():
                await self._begin(self._delete(edit), edit)
                return False
            case Copy(with_members=False):
                # What is large is the folder that gives way.
                folder = Delete(edit.target)
                await self._begin(self._delete(folder), folder)
                await self._writer.run(
                    partial(make_folder, name=FolderName(edit.target)), size=EDIT_SIZE
                )
                return True
            case Copy() | Move():
                return await self._begin(self._transfer(edit), edit)
            case _:
                raise TypeError(f"no large folder is changed by {edit}")

    async def _begin(self, work: Coroutine[Any, Any, T], edit: Edit) -> T:
        return await asyncio.shield(self._start(work, *map(FolderName, names_in(edit))))

    async def recover(self) -> None:
        """End what a process that died had begun, or what failed; removing goes on afterwards."""
        active = frozenset(self._active)
        for name in await self._writer.run(partial(_abandoned, active=active)):
            self._start(self._recover(name), name)

    async def finish_recovery(self) -> None:
        """Wait until no name is left of what `recover` found."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stop between two steps; the next process goes on."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, T], *names: FolderName) -> asyncio.Task[T]:
        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            self._active.difference_update(mine)
            if not task.cancelled():
                task.exception()  # asyncio warns of an error that nobody looks at.

        # Two that ask for the same begin one after the other, and the second is refused.
        mine = {name for name in names if name not in self._active}
        self._active |= mine
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _recover(self, name: FolderName) -> None:
        try:
            await self._remove(name)
        except ChunkstoreError as error:
            _logger.warning("The folder %r is not removed yet: %s", name, error)

    async def _delete(self, edit: Delete) -> None:
        await self._writer.run(partial(_hide, edit=edit))
        await self._remove(FolderName(edit.name))

    async def _transfer(self, edit: Copy | Move) -> bool:
        source, target = FolderName(edit.source), FolderName(edit.target)
        keep_source = isinstance(edit, Copy)
        replaced = await self._writer.run(partial(_begin_transfer, edit=edit), size=EDIT_SIZE)
        hidden = False
        try:
            await self._require_room(source, target)
            await self._writer.run(partial(_put_change, name=target, hidden=True), size=EDIT_SIZE)
            hidden = True
            await self._empty(target)
            await self._copy(source, target, keep_times=not keep_source)
        except ChunkstoreError:
            await self._settle(source)
            await (self._remove(target) if hidden else self._settle(target))
            raise
        end = partial(_end_transfer, source=source, target=target, keep_source=keep_source)
        await self._writer.run(end)
        if not keep_source:
            await self._remove(source)
        return replaced

    async def _require_room(self, source: FolderName, target: FolderName) -> None:
        """Refuse a copy before anything of the target is removed for it."""
        size = await self._readers.run(partial(_measure, source=source, target=target))
        reason = await asyncio.to_thread(self._reserve.why_full, size)
        if reason is not None:
            raise StoreFull(reason)

    async def _settle(self, name: FolderName) -> None:
        await self._writer.run(partial(_settle, name=name))

    async def _copy(self, source: FolderName, target: FolderName, *, keep_times: bool) -> None:
        start: str | None = source
        while start is not None:
            step = partial(
                _copy_some, source=source, start=start, target=target, keep_times=keep_times
            )
            start = await self._writer.run(step, size=_STEP_SIZE, durable=False)

    async def _remove(self, name: FolderName) -> None:
        """Remove all names of a hidden folder, and what says that it is hidden."""
        await self._empty(name)
        await self._writer.run(partial(_settle_emptied, name=name))

    async def _empty(self, name: FolderName) -> None:
        step = partial(_remove_some, name=name)
        while await self._writer.run(step, log_size=_STEP_SIZE, durable=False):
            pass


def _abandoned(db: sqlite3.Connection, active: Collection[str]) -> list[FolderName]:
    """Return the hidden folders that nobody works on; of others that are not, all is as it was."""
    changes = [change for change in folder_changes(db) if change.prefix not in active]
    for change in changes:
        if not change.hidden:
            _settle(db, FolderName(change.prefix))
    return [FolderName(change.prefix) for change in changes if change.hidden]


def _hide(db: sqlite3.Connection, edit: Delete) -> None:
    judge(edit, load(db, edit))
    _put_change(db, FolderName(edit.name), hidden=True)


def _begin_transfer(db: sqlite3.Connection, edit: Copy | Move) -> bool:
    """Keep both folders from changing; return whether one will be replaced."""
    replaced = judge(edit, load(db, edit))
    _put_change(db, FolderName(edit.source), hidden=False)
    _put_change(db, FolderName(edit.target), hidden=False)
    return replaced


def _measure(db: sqlite3.Connection, source: FolderName, target: FolderName) -> int:
    """Return about how many bytes a copy takes, all names of which are short enough."""
    judge_length(source, target, longest_name_below(db, source))
    count, size = db.execute(QUERIES["measure_names"], below(source)).fetchone()
    size += count * (len(target.encode()) - len(source.encode()) + _REST_OF_A_ROW)
    return _TIMES_A_NAME * int(size)


def _end_transfer(
    db: sqlite3.Connection, source: FolderName, target: FolderName, *, keep_source: bool
) -> None:
    _settle(db, target)
    if keep_source:
        _settle(db, source)
    else:
        _put_change(db, source, hidden=True)


def _put_change(db: sqlite3.Connection, name: FolderName, *, hidden: bool) -> None:
    db.execute(QUERIES["put_folder_change"], {**below(name), "hidden": int(hidden)})


def _settle(db: sqlite3.Connection, name: FolderName) -> None:
    db.execute(QUERIES["delete_folder_change"], {"start": name})


def _settle_emptied(db: sqlite3.Connection, name: FolderName) -> None:
    if _stop_of_step(db, below(name)) is None:
        _settle(db, name)


def _copy_some(
    db: sqlite3.Connection, source: FolderName, start: str, target: FolderName, *, keep_times: bool
) -> str | None:
    """Copy the first names from `start` on; return where to go on, None at the end."""
    bounds = {**below(source), "start": start}
    stop = _stop_of_step(db, bounds)
    if stop is not None:
        change = {**bounds, "stop": stop, "target": target, **skipping(source)}
        suffix = "_with_times" if keep_times else ""
        db.execute(QUERIES[f"copy_files_below{suffix}"], change)
        db.execute(QUERIES[f"copy_folders_below{suffix}"], change)
    return stop


def _remove_some(db: sqlite3.Connection, name: FolderName) -> bool:
    """Remove the first names of a hidden folder; return whether there were any.

    A backup to this store may have brought a folder of this name meanwhile, which is not hidden.
    """
    bounds = below(name)
    if not db.execute(QUERIES["is_hidden"], bounds).fetchone()[0]:
        return False
    stop = _stop_of_step(db, bounds)
    if stop is None:
        return False
    db.execute(QUERIES["delete_files_below"], {**bounds, "stop": stop})
    db.execute(QUERIES["delete_folders_below"], {**bounds, "stop": stop})
    return True


def _stop_of_step(db: sqlite3.Connection, bounds: dict[str, Any]) -> str | None:
    """Return where the first names in a range end that are as many as one step takes."""
    step = {**bounds, "count": _NAMES_A_STEP}
    last = db.execute(QUERIES["last_of_first_names"], step).fetchone()[0]
    # No name has a NUL in it, so this is the least text behind the last one.
    return None if last is None else f"{last}\0"
