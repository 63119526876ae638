"""Carrying a plan out on a server, from files of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from chunkstore.client.errors import ClientError, ConditionFailed, Missing, Refused, ServerAway
from chunkstore.client.server.conditions import ABSENT, ANYTHING, Condition, etag_of
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.client.sync.edits import CopyName, DeleteName, Edit, make_edits
from chunkstore.client.sync.forms import (
    LARGEST_IN_FORM,
    SmallFile,
    form_groups,
    post_small,
    read_small,
)
from chunkstore.client.sync.local_tree import LocalFile
from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PutFile,
)
from chunkstore.client.workers import run_each
from chunkstore.core.names import FolderName, parent

_EXISTS: Final = 405
_NO_PARENT: Final = 409
# Sends a file to a name in the folder, and reports it.
PushFile: TypeAlias = Callable[[Path, str, Condition], object]


class Uploading:
    """Carries plans out in `folder` of a server, whose name ends in `/` or is empty.

    `files` are those of the source by their names; what is larger than a chunk is sent by `push`.
    What fails is told to the session's reporter, and counted.
    """

    def __init__(
        self,
        session: Session,
        server: Server,
        folder: str,
        files: Mapping[str, LocalFile],
        push: PushFile,
    ) -> None:
        self.failed = 0
        self.deleted = 0
        self._session = session
        self._reporter = session.reporter
        self._server = server
        self._folder = folder
        self._files = files
        self._push = push

    def make_room(self, plan: Plan) -> None:
        """Delete what is in the way of other steps."""
        first = [step for step in plan.steps if isinstance(step, DeleteFile) and step.in_the_way]
        self._delete(first)
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder) and step.name in self._files:
                self._attempt(step.name, partial(self._delete_folder, plan, step.name))

    def put(self, plan: Plan) -> None:
        """Make folders, copies and files.

        Raises:
            ServerAway: the server went away; some of them may be there.
        """
        copies = [step for step in plan.steps if isinstance(step, CopyFile)]
        self._edit(
            [
                CopyName(
                    self._folder + step.name,
                    self._folder + step.source,
                    step.digest,
                    step.replaces,
                    step.is_new,
                )
                for step in copies
            ],
            {self._folder + step.name: step for step in copies},
        )
        run_each(self._session.settings.transfers, self._jobs(plan.transfers), lambda job: job())
        for step in plan.steps:
            if isinstance(step, MakeEmptyFolder):
                self._attempt(step.name, partial(self._make_folder, f"{self._folder}{step.name}/"))

    def delete(self, plan: Plan) -> None:
        """Delete what the source does not have."""
        self._delete(
            [step for step in plan.steps if isinstance(step, DeleteFile) and not step.in_the_way]
        )
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder) and step.name not in self._files:
                self._attempt(step.name, partial(self._delete_folder, plan, step.name))

    def _jobs(self, steps: Sequence[PutFile]) -> Iterator[Callable[[], None]]:
        # The largest first, so that none of them is what is waited for at the end.
        large = [step for step in steps if step.size > LARGEST_IN_FORM]
        for step in sorted(large, key=lambda step: -step.size):
            yield partial(self._push_one, step)
        for group in form_groups(step for step in steps if step.size <= LARGEST_IN_FORM):
            yield partial(self._post_group, group)

    def _post_group(self, group: Sequence[PutFile]) -> None:
        """Send a form; if the server does not take it whole, each of its files."""
        smalls = []
        for step in group:
            self._reporter.started(step.name, step.size)
            try:
                smalls.append(read_small(step, self._files[step.name]))
            except ClientError as error:
                self._fail(step.name, error)
        if not smalls:
            return
        try:
            post_small(self._session, self._server.files, self._folder, smalls)
        except ServerAway:
            raise
        except (ConditionFailed, Refused, Missing):
            for small in smalls:
                self._put_small(small)
        except ClientError as error:
            for small in smalls:
                self._fail(small.step.name, error)
        else:
            for small in smalls:
                size = len(small.content)
                self._reporter.transferred(small.step.name, size, size)
                self._reporter.finished(small.step.name)

    def _put_small(self, small: SmallFile) -> None:
        """Send one file of a form that was refused."""
        step = small.step
        with_name = self._folder + step.name
        try:
            there = self._server.files.find(with_name)
            # Of a form whose answer was lost, all is there.
            if there is None or there.digest != small.digest:
                size = len(small.content)
                condition = ABSENT if step.is_new else ANYTHING
                self._server.files.put(with_name, small.content, size, condition)
                self._reporter.transferred(step.name, size, size)
        except ServerAway:
            raise
        except ClientError as error:
            self._fail(step.name, error)
        else:
            self._reporter.finished(step.name)

    def _push_one(self, step: PutFile) -> None:
        if step.is_new:
            condition = ABSENT
        else:
            condition = ANYTHING if step.replaces is None else Condition(etag_of(step.replaces))
        path = self._files[step.name].path
        self._attempt(step.name, lambda: self._push(path, step.name, condition))

    def _delete(self, steps: Sequence[DeleteFile]) -> None:
        self._edit(
            [DeleteName(self._folder + step.name, step.digest) for step in steps],
            {self._folder + step.name: step for step in steps},
        )

    def _delete_folder(self, plan: Plan, name: str) -> None:
        """Delete a folder that is still empty, and those that had only it."""
        while name and name not in _made(plan):
            folder = f"{self._folder}{name}/"
            page = self._server.files.list(folder, limit=1)
            if page.files or page.folders:
                return
            self._server.files.delete(folder)
            name = name.rpartition("/")[0]

    def _make_folder(self, folder: str) -> None:
        """Make a folder, and those that it lies in."""
        try:
            self._server.files.make_folder(folder)
        except Refused as error:
            if error.status == _NO_PARENT and (above := parent(FolderName(folder))):
                self._make_folder(above)
                self._server.files.make_folder(folder)
            elif error.status != _EXISTS:
                raise

    def _edit(self, edits: Sequence[Edit], steps: Mapping[str, DeleteFile | CopyFile]) -> None:
        def ended(edit: Edit, error: ClientError | None) -> None:
            step = steps[edit.name]
            if error is not None:
                if isinstance(step, CopyFile) or self._server.files.find(edit.name) is not None:
                    self._fail(step.name, error)
                # Else somebody has deleted it meanwhile.
            elif isinstance(step, DeleteFile):
                self.deleted += 1
            else:
                self._reporter.started(step.name, step.size)
                self._reporter.spared(step.name, step.size)
                self._reporter.finished(step.name)

        make_edits(self._server, edits, ended)

    def _attempt(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except ServerAway:
            raise
        except ClientError as error:
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        self._reporter.failed(name, error)


def _made(plan: Plan) -> set[str]:
    """Return the folders that a plan makes, which is why they are not deleted when empty."""
    return {step.name for step in plan.steps if isinstance(step, MakeEmptyFolder)}
