"""Making a folder like another: one of this machine like one of a server, or the other way round.

Both trees are looked at, a plan is made of what differs, and carried out: first what is in the way
is deleted, then all is transferred, and at last, if nothing failed, what the source does not have
is deleted. A sync that is repeated goes on with what is not yet done.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from chunkstore.client.errors import ClientError, ConditionFailed, InvalidPlace, Missing
from chunkstore.client.options import PullOptions
from chunkstore.client.places import LocalPlace, Place, RemotePlace
from chunkstore.client.pull_file import pull_to
from chunkstore.client.session import Session
from chunkstore.client.sync.checking import require_current
from chunkstore.client.sync.downloading import Downloading
from chunkstore.client.sync.filters import EVERYTHING, Filter
from chunkstore.client.sync.local_digests import LocalDigests
from chunkstore.client.sync.local_tree import LocalTree, scan
from chunkstore.client.sync.plan import (
    CopyFile,
    DigestsOf,
    Plan,
    PlanRules,
    PutFile,
    make_plan,
    with_all_digests,
)
from chunkstore.client.sync.remote_tree import RemoteTree, list_tree
from chunkstore.client.sync.staging import staged
from chunkstore.client.sync.tree import NotSynced, Tree
from chunkstore.client.sync.uploading import Uploading
from chunkstore.client.targets import Target, is_part_name
from chunkstore.core.digest import Digest
from chunkstore.core.units import format_count

_NOTHING_DELETED: Final = "Nothing is deleted, since not all went well."


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How to sync; `rules` say what is planned.

    `max_delete` is how many deletions there may be, None for any number. With `empty_folders`
    those are made and deleted, too. `atomic` changes a copy of the target, which replaces it.
    """

    rules: PlanRules = field(default_factory=PlanRules)
    chosen: Filter = EVERYTHING
    follow_links: bool = False
    empty_folders: bool = False
    max_delete: int | None = None
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync has come to."""

    deleted: int
    # Deletions that were not made, since something failed before.
    kept: int


class Sync:
    """A sync of the folder `source` with the folder `target`, one of which is on a server."""

    def __init__(
        self, session: Session, source: Place, target: Place, options: SyncOptions
    ) -> None:
        """Look at nothing yet.

        Raises:
            InvalidPlace: the places are not a folder of this machine and one of a server.
        """
        self._session = session
        self._options = options
        self._local, self._remote = _places(source, target)
        self._is_upload = isinstance(target, RemotePlace)
        if options.atomic and not self._is_upload:
            raise InvalidPlace("--atomic is for a TARGET on a server.")
        if self._remote.is_foreign:
            raise InvalidPlace(f"{self._remote} is on a server that has no lists of files.")
        self._folder = _folder_name(self._remote)
        self._server = session.server(self._remote)
        self._source: Tree = Tree()
        self._target: Tree = Tree()
        self._here = LocalTree({})
        self._there = RemoteTree({})

    def make_plan(self, *, complete: bool = False) -> Plan:
        """Look at both trees, and return what is to be done.

        What cannot take part is told to the reporter as failed, and then nothing is to be deleted.
        A plan that is `complete` has the digests of all files that it is about.

        Raises:
            Missing: there is no source.
            ClientError: a tree cannot be read.
        """
        self._look()
        self._report_failures()
        digests_here, digests_there = self._digests()
        plan = make_plan(self._source, self._target, self._rules(), digests_here, digests_there)
        if complete:
            plan = with_all_digests(plan, digests_here, digests_there)
        return plan

    def _report_failures(self) -> None:
        for failure in self._failures:
            self._session.reporter.failed(failure.name, failure.error)
        if self._failures and self._options.rules.delete:
            self._session.reporter.warned(_NOTHING_DELETED)

    def check(self, plan: Plan) -> None:
        """Make sure that a plan that was made before is still what has to be done.

        Raises:
            ConditionFailed: a file is not any more as the plan has it.
            ClientError: a tree cannot be read.
        """
        self._look()
        require_current(plan, self._source, self._target, *self._digests())

    def carry_out(self, plan: Plan) -> Synced:
        """Do what the plan says; what fails is told to the session's reporter.

        Raises:
            ConditionFailed: there are more deletions than `max_delete`.
            ServerAway: the server went away; the next sync goes on from there.
            ClientError: the server refuses all of it.
        """
        allowed = self._options.max_delete
        if allowed is not None and plan.deletions > allowed:
            raise ConditionFailed(
                f"It would delete {format_count(plan.deletions, 'file')},"
                " more than --max-delete allows."
            )
        reporter = self._session.reporter
        size = sum(step.size for step in plan.steps if isinstance(step, PutFile | CopyFile))
        copies = sum(isinstance(step, CopyFile) for step in plan.steps)
        reporter.planned(len(plan.transfers) + copies, size)
        if not plan.steps:
            return Synced(0, 0)
        self._require_all_if_atomic(len(self._failures))
        with self._hands() as hands:
            return self._carry_out(plan, hands)

    def _carry_out(self, plan: Plan, hands: Uploading | Downloading) -> Synced:
        hands.make_room(plan)
        hands.put(plan)
        if hands.failed:
            kept = plan.deletions - hands.deleted
            if kept:
                self._session.reporter.warned(_NOTHING_DELETED)
            self._require_all_if_atomic(hands.failed)
            return Synced(hands.deleted, kept)
        hands.delete(plan)
        self._require_all_if_atomic(hands.failed)
        return Synced(hands.deleted, 0)

    def _require_all_if_atomic(self, failed: int) -> None:
        if failed and self._options.atomic:
            raise ClientError("Nothing was changed, since not all went well.")

    @property
    def _failures(self) -> tuple[NotSynced, ...]:
        return (*self._source.failures, *self._target.failures)

    @contextmanager
    def _hands(self) -> Iterator[Uploading | Downloading]:
        if not self._is_upload:
            yield Downloading(
                self._session,
                self._local.path,
                self._here.files,
                self._pull,
                follow_links=self._options.follow_links,
            )
        elif self._options.atomic:
            with staged(self._session, self._remote, self._folder) as folder:
                yield self._uploading(folder)
        else:
            yield self._uploading(self._folder)

    def _pull(self, name: str, target: Target, options: PullOptions) -> None:
        folder = replace(self._remote, name=self._folder)
        place = replace(folder.joined(name), shown=name)
        file = self._there.files[name].file
        pull_to(self._session, place, target, options, file)

    def _uploading(self, folder: str) -> Uploading:
        place = replace(self._remote, name=folder)
        return Uploading(self._session, place, self._here.files, self._there.files)

    def _look(self) -> None:
        """Look at both trees at once."""
        with ThreadPoolExecutor(1) as other:
            listing = other.submit(self._list)
            try:
                here = self._scan()
                there = listing.result()
            except KeyboardInterrupt:
                self._session.stop()
                raise
        self._here, self._there = here, there
        self._source, self._target = (here, there) if self._is_upload else (there, here)
        if not self._is_upload and not there.exists:
            raise Missing(f"There is no folder {self._remote}.")

    def _scan(self) -> LocalTree:
        path, options = self._local.path, self._options
        if not self._is_upload and not path.exists():
            return LocalTree({})
        if not path.exists():
            raise Missing(f"There is no folder {path}.")
        tree = scan(
            path,
            options.chosen,
            prefix=self._folder,
            follow_links=options.follow_links,
            ignores=is_part_name,
            warn=self._session.reporter.warned if self._is_upload else lambda _: None,
        )
        empty_folders = tree.empty_folders if options.empty_folders else frozenset()
        # What no server could have is none of the sync's business in its target.
        return LocalTree(tree.files, empty_folders, tree.failures if self._is_upload else ())

    def _list(self) -> RemoteTree:
        return list_tree(
            self._server.files,
            self._folder,
            self._options.chosen,
            empty_folders=self._options.empty_folders,
            connections=self._session.settings.connections,
        )

    def _digests(self) -> tuple[DigestsOf, DigestsOf]:
        """Return what tells digests of the source, and of the target."""
        here: DigestsOf = LocalDigests(self._session, self._here)
        return (here, _none) if self._is_upload else (_none, here)

    def _rules(self) -> PlanRules:
        rules = self._options.rules
        return replace(rules, delete=rules.delete and not self._failures, copies=self._is_upload)


def _places(source: Place, target: Place) -> tuple[LocalPlace, RemotePlace]:
    for one, other in ((source, target), (target, source)):
        if isinstance(one, LocalPlace) and isinstance(other, RemotePlace):
            return one, other
    raise InvalidPlace("One of SOURCE and TARGET is a folder here, and the other on a server.")


def _folder_name(place: RemotePlace) -> str:
    return place.name if place.is_folder else f"{place.name}/"


def _none(_: object) -> dict[str, Digest]:
    """Return no digests: a server tells those of all its files in its lists."""
    return {}
