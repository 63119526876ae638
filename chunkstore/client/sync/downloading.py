"""Carrying a plan out in a folder of this machine, from files of a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from stat import S_ISLNK
from typing import Final, TypeAlias

from chunkstore.client.digests import naming
from chunkstore.client.errors import ClientError, ConditionFailed, ServerAway, Stopped
from chunkstore.client.options import PullOptions
from chunkstore.client.session import Session
from chunkstore.client.sync.local_tree import LocalFile
from chunkstore.client.sync.paths import SafeFolder
from chunkstore.client.sync.plan import (
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PutFile,
)
from chunkstore.client.targets import Target, sync_folders, target_at, target_below
from chunkstore.client.workers import run_each
from chunkstore.core.errors import ChunkstoreError, Forbidden

_SMALL_SIZE: Final = 1024 * 1024
# Of more files of one size, none is likely to be the one that was renamed.
_MOST_SEEDS: Final = 8
# Fetches a file of the source, by its name, and reports it.
PullFile: TypeAlias = Callable[[str, Target, PullOptions], object]


class Downloading:
    """Carries plans out in the folder `root`, where `files` are what was found there.

    What fails is told to the session's reporter, and counted.
    """

    def __init__(
        self,
        session: Session,
        root: Path,
        files: Mapping[str, LocalFile],
        pull: PullFile,
        *,
        follow_links: bool = False,
    ) -> None:
        self.failed = 0
        self.deleted = 0
        self._session = session
        self._root = root
        self._follow_links = follow_links
        self._folder = SafeFolder(root, follow_links=follow_links)
        self._files = files
        self._pull = pull
        self._seeds: Mapping[int, Sequence[Path]] = {}
        self._pulled: list[str] = []

    def make_room(self, plan: Plan) -> None:
        """Delete what is in the way of other steps, and folders that are empty then."""
        first = [step for step in plan.steps if isinstance(step, DeleteFile) and step.in_the_way]
        self._delete(plan, first)
        names = {step.name for step in plan.transfers}
        made = plan.made_folders
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder) and step.name in names:
                self._attempt(step.name, partial(self._delete_folder, step.name, made))

    def put(self, plan: Plan) -> None:
        """Make folders, and fetch files.

        Raises:
            ServerAway: the server went away; some of them may be there.
            ClientError: the folder cannot be made.
        """
        with naming(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
        self._seeds = self._find_seeds(plan)
        # The largest first, so that none of them is what is waited for at the end.
        steps = sorted(plan.transfers, key=lambda step: -step.size)
        large = [step for step in steps if step.size > _SMALL_SIZE]
        run_each(self._session.settings.transfers, large, self._put)
        # Small ones need one request each, and wait for the disk most of the time.
        run_each(self._session.settings.connections, steps[len(large) :], self._put)
        if not self._follow_links:
            sync_folders(self._root, self._pulled)
        for step in plan.steps:
            if isinstance(step, MakeEmptyFolder):
                self._attempt(step.name, partial(self._make_folder, step.name))

    def delete(self, plan: Plan) -> None:
        """Delete what the source does not have."""
        last = [step for step in plan.steps if isinstance(step, DeleteFile) and not step.in_the_way]
        self._delete(plan, last)
        made = plan.made_folders
        for step in plan.steps:
            if isinstance(step, DeleteEmptyFolder):
                self._attempt(step.name, partial(self._delete_folder, step.name, made))

    def _put(self, step: PutFile) -> None:
        self._attempt(step.name, partial(self._fetch, step))

    def _fetch(self, step: PutFile) -> None:
        with self._target(step.name) as target:
            self._require_expected(target, step.name)
            seeds = self._seeds.get(step.size, ()) if step.is_new else ()
            # Folders that links lead to are synced one by one, the others once at the end.
            options = PullOptions(seeds=seeds, sync_folder=self._follow_links)
            self._pull(step.name, target, options)
            self._pulled.append(target.path.relative_to(self._root).as_posix())

    def _find_seeds(self, plan: Plan) -> Mapping[int, Sequence[Path]]:
        """Return, by their sizes, files that are to be deleted: one may have got another name."""
        seeds: dict[int, list[Path]] = {}
        for step in plan.steps:
            if isinstance(step, DeleteFile) and not step.in_the_way:
                seeds.setdefault(step.size, []).append(self._files[step.name].path)
        return {size: paths for size, paths in seeds.items() if len(paths) <= _MOST_SEEDS}

    def _target(self, name: str) -> AbstractContextManager[Target]:
        """Open the folder in which a file is to be, through no link unless those are followed."""
        found = self._files.get(name)
        if found is None or (found.path == self._root / name and not self._follow_links):
            return target_below(self._root, name)
        # Not made from the name: the file system may have it in another form than NFC.
        self._folder.path_of(name)
        return target_at(found.path)

    def _require_expected(self, target: Target, name: str) -> None:
        found, now = self._files.get(name), target.status()
        if found is not None:
            self._require_unchanged(found)
        elif now is not None and S_ISLNK(now.st_mode):
            raise Forbidden(
                f"{target.path} is a symbolic link; it is neither followed nor replaced."
            )
        elif now is not None:
            raise ConditionFailed(f"{target.path} is there now; it was not when the sync began.")

    def _delete(self, plan: Plan, steps: Sequence[DeleteFile]) -> None:
        emptied, made = set(), plan.made_folders
        for step in steps:
            self._attempt(step.name, partial(self._delete_file, step.name))
            emptied.add(self._files[step.name].path.parent)
        for folder in sorted(emptied, key=lambda path: -len(path.parts)):
            self._remove_empty(folder, made)

    def _delete_file(self, name: str) -> None:
        found = self._files[name]
        self._folder.path_of(name)
        if os.path.lexists(found.path):
            self._require_unchanged(found)
            with naming(found.path):
                found.path.unlink()
        self.deleted += 1

    def _remove_empty(self, folder: Path, made: Set[str]) -> None:
        """Remove a folder that has nothing in it any more, and those that have only it."""
        while folder != self._root and folder.relative_to(self._root).as_posix() not in made:
            try:
                folder.rmdir()
            except OSError:
                return  # There is something in it.
            folder = folder.parent

    def _make_folder(self, name: str) -> None:
        path = self._folder.made_path_of(name)
        with naming(path):
            path.mkdir(exist_ok=True)

    def _delete_folder(self, name: str, made: Set[str]) -> None:
        self._remove_empty(self._folder.path_of(name), made)

    def _require_unchanged(self, found: LocalFile) -> None:
        if not found.is_unchanged():
            raise ConditionFailed(f"{found.path} was changed after the sync began; it is kept.")

    def _attempt(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except (ServerAway, Stopped):
            raise
        except ChunkstoreError as error:
            self._fail(name, error)
        except OSError as error:
            self._fail(name, ClientError(f"{error.filename or name}: {error.strerror or error}."))

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        self._session.reporter.failed(name, error)
