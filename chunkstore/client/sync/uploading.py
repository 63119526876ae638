"""Carrying a plan out on a server, from files of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Final

from chunkstore.client.errors import ClientError, Refused, ServerAway, Stopped
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_many import Outgoing, push_files
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.sync.edits import CopyName, DeleteName, Edit, make_edits
from chunkstore.client.sync.local_tree import LocalFile
from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PutFile,
)
from chunkstore.client.sync.remote_tree import ListedFile
from chunkstore.core.names import FolderName, parent

_EXISTS: Final = 405
_NO_PARENT: Final = 409


class Uploading:
    """Carries plans out in `folder` of a server.

    `files` are those of the source by their names, `there` those that were found in the target.
    What fails is told to the session's reporter, and counted.
    """

    def __init__(
        self,
        session: Session,
        folder: RemotePlace,
        files: Mapping[str, LocalFile],
        there: Mapping[str, ListedFile],
    ) -> None:
        self.failed = 0
        self.deleted = 0
        self._session = session
        self._reporter = session.reporter
        self._server = session.server(folder)
        self._place = folder
        self._folder = folder.name
        self._files = files
        self._there = there

    def make_room(self, plan: Plan) -> None:
        """Delete what is in the way of other steps."""
        self._delete(
            [step for step in plan.steps if isinstance(step, DeleteFile) and step.in_the_way]
        )
        made = plan.made_folders
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder) and step.name in self._files:
                self._attempt(step.name, partial(self._delete_folder, step.name, made))

    def put(self, plan: Plan) -> None:
        """Make copies, files and folders.

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
        # The largest first, so that none of them is what is waited for at the end.
        self._push(sorted(plan.transfers, key=lambda step: -step.size))
        for step in plan.steps:
            if isinstance(step, MakeEmptyFolder):
                name = f"{self._folder}{step.name}/"
                self._attempt(step.name, partial(self._make_folder, name))

    def delete(self, plan: Plan) -> None:
        """Delete what the source does not have."""
        self._delete(
            [step for step in plan.steps if isinstance(step, DeleteFile) and not step.in_the_way]
        )
        made = plan.made_folders
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder) and step.name not in self._files:
                self._attempt(step.name, partial(self._delete_folder, step.name, made))

    def _push(self, steps: Iterable[PutFile]) -> None:
        files = (
            Outgoing(self._files[step.name].path, step.name, self._known(step)) for step in steps
        )
        failures = push_files(self._session, self._place, files, relative=True)
        self.failed += len(failures)

    def _known(self, step: PutFile) -> RemoteFile | None:
        return None if step.is_new else self._there[step.name].file

    def _delete(self, steps: Sequence[DeleteFile]) -> None:
        self._edit(
            [DeleteName(self._folder + step.name, step.digest) for step in steps],
            {self._folder + step.name: step for step in steps},
        )

    def _delete_folder(self, name: str, made: Set[str]) -> None:
        """Delete a folder that is still empty, and those that had only it."""
        while name and name not in made:
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
            if error is not None and not self._is_made(edit):
                self._fail(step.name, error)
            elif isinstance(step, DeleteFile):
                self.deleted += 1
            else:
                self._reporter.started(step.name, step.size)
                self._reporter.spared(step.name, step.size)
                self._reporter.finished(step.name)

        make_edits(self._server, edits, ended)

    def _is_made(self, edit: Edit) -> bool:
        """Whether all is as the edit makes it: its answer was lost, or another did the same."""
        found = self._server.files.find(edit.name)
        if isinstance(edit, DeleteName):
            return found is None
        return found is not None and found.digest == edit.digest

    def _attempt(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (ServerAway, Stopped):
            raise
        except ClientError as error:
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        self._reporter.failed(name, error)
