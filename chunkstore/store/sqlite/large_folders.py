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
new one. The transactions themselves are in `large_folder_jobs`.

What is hidden counts for no quota. The transaction by which folders appear or disappear changes
what is used by what they come to, which a reader has counted before (`FolderTurn`). A transfer is
refused before anything is deleted for it, and undone if others have used too much by its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreFull
from chunkstore.core.names import FileName, FolderName
from chunkstore.core.tasks import retrieve_exception
from chunkstore.store.contract.audit import Who
from chunkstore.store.contract.edits import Copy, Delete, Edit, Move, is_folder_name, names_in
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.sqlite import large_folder_jobs as jobs
from chunkstore.store.sqlite.engine.connection import Job, Runner
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, DiskReserve
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.tree import copy_folder_itself, folder_named
from chunkstore.store.sqlite.usage import FolderTurn, QuotaFolders

T = TypeVar("T")

_logger = logging.getLogger(__name__)


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
        for name in await self._writer.run(partial(jobs.end_abandoned, active=active)):
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
        await self._writer.run(partial(jobs.begin_deletion, edit=edit, guard=guard))
        try:
            await self._turn(
                FolderTurn(self._quotas, [name]),
                partial(jobs.end_deletion, edit=edit, by=by, guard=guard),
            )
        except ChunkstoreError:
            await self._release(name)
            raise
        await self._remove(name)

    async def _transfer(self, edit: Copy | Move, by: Who | None, guard: Guard) -> bool:
        source, target = FolderName(edit.source), FolderName(edit.target)
        begin = partial(jobs.begin_transfer, edit=edit, guard=guard)
        replaced = await self._writer.run(begin, size=EDIT_SIZE)
        came = None if jobs.is_empty_copy(edit) else (source, target)
        gone = [source] if isinstance(edit, Move) else []
        try:
            await self._require_space(edit)
            await self._readers.run(FolderTurn(self._quotas, [*gone, target], came).check)
            hide = partial(jobs.hide, name=target)
            await self._turn(FolderTurn(self._quotas, [target]), hide, size=EDIT_SIZE)
            await self._empty(target)
            await self._fill(edit)
            end = partial(jobs.end_transfer, edit=edit, by=by, guard=guard, replaced=replaced)
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
            taken = await self._writer.run(jobs.TakeTurn(turn, counted, job, file).run, size=size)

    async def _replace_by_file(self, edit: Copy | Move, by: Who | None, guard: Guard) -> None:
        """Copy or move a file to the name of a large folder."""
        folder = folder_named(edit.target)
        await self._writer.run(partial(jobs.begin_replacing, edit=edit, guard=guard))
        turn = FolderTurn(self._quotas, [folder])
        job = partial(jobs.end_replacing, edit=edit, by=by, guard=guard)
        try:
            await self._turn(turn, job, size=EDIT_SIZE, file=replace(edit, strict=False))
        except ChunkstoreError:
            await self._release(folder)
            raise
        await self._remove(folder)

    async def _require_space(self, edit: Copy | Move) -> None:
        """Refuse a copy before anything of the target is deleted for it."""
        size = await self._readers.run(partial(jobs.measure, edit=edit))
        reason = await asyncio.to_thread(self._reserve.why_full, size)
        if reason is not None:
            raise StoreFull(reason)

    async def _release(self, name: FolderName) -> None:
        """Let a folder change again, unless it is hidden."""
        await self._writer.run(partial(jobs.release, name=name))

    async def _fill(self, edit: Copy | Move) -> None:
        """Write what comes to the target, which is hidden and empty."""
        source, target = FolderName(edit.source), FolderName(edit.target)
        if jobs.is_empty_copy(edit):
            job = partial(copy_folder_itself, source=source, target=target)
            await self._writer.run(job, size=EDIT_SIZE)
            return
        start: str | None = source
        while start is not None:
            step = jobs.CopyNames(source, target, start, keep_times=isinstance(edit, Move))
            start = await self._writer.run(step.run, size=jobs.STEP_SIZE, durable=False)

    async def _remove(self, name: FolderName) -> None:
        """Delete all names of a folder, then its row in `folder_change`, if it is hidden."""
        await self._empty(name)
        await self._writer.run(partial(jobs.settle_emptied, name=name))

    async def _empty(self, name: FolderName) -> None:
        step = partial(jobs.delete_some, folder=name)
        while await self._writer.run(step, log_size=jobs.STEP_SIZE, durable=False):
            pass
