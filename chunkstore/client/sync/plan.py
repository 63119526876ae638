"""What a sync will do: the steps that make one tree like another, found by comparing them.

Contents are compared by size and digest. A digest that a file of the tree lacks is asked for only
where the comparison depends on it. Deletions come last, so that nothing is lost before all else
is there; only what stands in the way of a name goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, TypeAlias

from chunkstore.client.sync.tree import Tree, TreeFile
from chunkstore.core.digest import Digest

# Larger contents need no copy to be spared: only a list of their chunks is sent.
LARGEST_COPIED: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PutFile:
    """Transfer a file; `replaces` is the digest of what has its name now, None if nothing has."""

    name: str
    size: int
    digest: Digest | None
    replaces: Digest | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class CopyFile:
    """Copy `source`, a file of the target's tree with the same content, to `name`."""

    name: str
    source: str
    size: int
    digest: Digest
    replaces: Digest | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class MakeEmptyFolder:
    """Make the folder `name`, which has no last `/`."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """Delete a file that the source lacks; `in_the_way` if a name of the source needs its place."""

    name: str
    size: int
    digest: Digest | None
    in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class DeleteEmptyFolder:
    """Delete the folder `name`, which has no last `/`, if it is still empty."""

    name: str


Step: TypeAlias = PutFile | CopyFile | MakeEmptyFolder | DeleteFile | DeleteEmptyFolder


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What a sync may do besides putting what is new or different.

    `delete`: delete what the source lacks. `existing`: put no file that is new, `ignore_existing`:
    none that is there. `size_only`: files of one size are alike. `copies`: the target's side can
    copy files by itself.
    """

    delete: bool = False
    existing: bool = False
    ignore_existing: bool = False
    size_only: bool = False
    copies: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they are done, and what needs none."""

    steps: tuple[Step, ...] = ()
    unchanged: int = 0
    unchanged_size: int = 0

    @property
    def deletions(self) -> int:
        """How many files and folders are deleted."""
        return sum(isinstance(step, DeleteFile | DeleteEmptyFolder) for step in self.steps)

    @property
    def transfers(self) -> tuple[PutFile, ...]:
        """The steps that need content."""
        return tuple(step for step in self.steps if isinstance(step, PutFile))

    @property
    def made_folders(self) -> frozenset[str]:
        """The folders that are made, and so are not deleted for being empty."""
        return frozenset(step.name for step in self.steps if isinstance(step, MakeEmptyFolder))


# Returns the digests of files of a tree, by name; those that cannot be read are left out.
DigestsOf: TypeAlias = Callable[[Iterable[str]], Mapping[str, Digest]]


def make_plan(
    source: Tree,
    target: Tree,
    rules: PlanRules,
    digests_in_source: DigestsOf,
    digests_in_target: DigestsOf,
) -> Plan:
    """Return the plan that makes `target` like `source`."""
    comparison = _Comparison(source, target, rules, digests_in_source, digests_in_target)
    return comparison.plan()


def with_all_digests(
    plan: Plan, digests_in_source: DigestsOf, digests_in_target: DigestsOf
) -> Plan:
    """Return the plan with the digests of all files that it is about, where they can be read."""
    puts = [step.name for step in plan.transfers if step.digest is None]
    taken = [
        step.name
        for step in plan.steps
        if (isinstance(step, DeleteFile) and step.digest is None)
        or (isinstance(step, PutFile) and not step.is_new and step.replaces is None)
    ]
    one, other = digests_in_source(puts), digests_in_target(taken)

    def completed(step: Step) -> Step:
        match step:
            case PutFile():
                digest = step.digest or one.get(step.name)
                return replace(step, digest=digest, replaces=step.replaces or other.get(step.name))
            case DeleteFile():
                return replace(step, digest=step.digest or other.get(step.name))
        return step

    return replace(plan, steps=tuple(completed(step) for step in plan.steps))


class _Comparison:
    """Compares two trees once."""

    def __init__(
        self,
        source: Tree,
        target: Tree,
        rules: PlanRules,
        digests_in_source: DigestsOf,
        digests_in_target: DigestsOf,
    ) -> None:
        self._source = source
        self._target = target
        self._rules = rules
        self._from_source = _with_known(source.files, digests_in_source)
        self._from_target = _with_known(target.files, digests_in_target)

    def plan(self) -> Plan:
        different = self._different()
        unchanged = self._source.files.keys() & self._target.files.keys() - different
        wanted = sorted(name for name in self._wanted(different))
        deletions = list(self._deletions()) if self._rules.delete else []
        cleared = {step.name for step in deletions if step.in_the_way}
        copies = self._copies(wanted, different | cleared)
        folders = sorted(self._superfluous_folders()) if self._rules.delete else []
        in_files = [name for name in folders if name in self._source.files]
        steps: list[Step] = [step for step in deletions if step.in_the_way]
        steps += [DeleteEmptyFolder(name) for name in in_files]
        steps += [copies[name] for name in wanted if name in copies]
        steps += [self._put(name) for name in wanted if name not in copies]
        steps += [MakeEmptyFolder(name) for name in sorted(self._missing_folders())]
        steps += [step for step in deletions if not step.in_the_way]
        steps += [DeleteEmptyFolder(name) for name in folders if name not in self._source.files]
        return Plan(
            tuple(steps), len(unchanged), sum(self._source.files[name].size for name in unchanged)
        )

    def _different(self) -> set[str]:
        """Return the names that both trees have, with different contents."""
        both = self._source.files.keys() & self._target.files.keys()
        alike = [
            name for name in both if self._source.files[name].size == self._target.files[name].size
        ]
        if self._rules.size_only or self._rules.ignore_existing:
            return both - set(alike)
        one, other = self._from_source(alike), self._from_target(alike)
        # What cannot be read in the source fails when it is put, and is told then.
        same = {name for name in alike if name in one and one.get(name) == other.get(name)}
        return both - same

    def _wanted(self, different: set[str]) -> Iterator[str]:
        if not self._rules.ignore_existing:
            yield from different
        if not self._rules.existing:
            yield from self._source.files.keys() - self._target.files.keys()

    def _deletions(self) -> Iterator[DeleteFile]:
        superfluous = sorted(self._target.files.keys() - self._source.files.keys())
        digests = self._from_target(
            name for name in superfluous if self._target.files[name].digest is not None
        )
        folders = {folder for name in self._source.files for folder in _folders_of(name)}
        folders |= self._source.empty_folders
        for name in superfluous:
            blocks = name in folders or any(
                folder in self._source.files for folder in _folders_of(name)
            )
            yield DeleteFile(name, self._target.files[name].size, digests.get(name), blocks)

    def _copies(self, wanted: list[str], changing: set[str]) -> dict[str, CopyFile]:
        """Return the copies that spare a transfer, by name, from files that stay as they are."""
        if not self._rules.copies:
            return {}
        present: dict[tuple[int, str, Digest], str] = {}
        sizes = set()
        for name, file in self._target.files.items():
            if name not in changing and file.digest is not None and file.size <= LARGEST_COPIED:
                present.setdefault((file.size, PurePosixPath(name).suffix, file.digest), name)
                sizes.add(file.size)
        candidates = [name for name in wanted if self._source.files[name].size in sizes]
        copies = {}
        for name, digest in self._from_source(candidates).items():
            size = self._source.files[name].size
            # A copy keeps its media type, which is that of the name's ending.
            source = present.get((size, PurePosixPath(name).suffix, digest))
            if source is not None:
                replaces, is_new = self._replaced(name)
                copies[name] = CopyFile(name, source, size, digest, replaces, is_new)
        return copies

    def _put(self, name: str) -> PutFile:
        file = self._source.files[name]
        replaces, is_new = self._replaced(name)
        return PutFile(name, file.size, file.digest, replaces, is_new)

    def _replaced(self, name: str) -> tuple[Digest | None, bool]:
        file = self._target.files.get(name)
        return (None, True) if file is None else (file.digest, False)

    def _missing_folders(self) -> frozenset[str]:
        return self._source.empty_folders - self._target.empty_folders

    def _superfluous_folders(self) -> set[str]:
        needed = {folder for name in self._source.files for folder in _folders_of(name)}
        for folder in self._source.empty_folders:
            needed |= {folder, *_folders_of(folder)}
        return set(self._target.empty_folders - needed)


def _with_known(files: Mapping[str, TreeFile], compute: DigestsOf) -> DigestsOf:
    """Return what tells the digests that are known, and asks for those that are not."""

    def digests_of(names: Iterable[str]) -> Mapping[str, Digest]:
        found: dict[str, Digest] = {}
        unknown = []
        for name in names:
            digest = files[name].digest
            if digest is None:
                unknown.append(name)
            else:
                found[name] = digest
        return {**found, **compute(unknown)} if unknown else found

    return digests_of


def _folders_of(name: str) -> Iterator[str]:
    """Yield the folders that contain `name`, without their last `/`."""
    stop = name.find("/")
    while stop >= 0:
        yield name[:stop]
        stop = name.find("/", stop + 1)
