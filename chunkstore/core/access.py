"""Who may do what under which name: rules, and the rights that follow from them.

A **rule** gives a subject verbs in a folder and everything below it. A subject is an account, a
group (`@name`) or `everyone`, who is anybody, signed in or not. What somebody may do with a name is
the sum, over the subjects they are, of the rule nearest above the name that the subject has: so a
nearer rule replaces what its own subject inherits, and takes nothing that another subject gives. A
rule of no verbs, written `-`, ends what its subject inherits.

A token or a link has a **scope**: folders with verbs, read in the same way. Its rights are those
that its owner has at that moment, as far as the scope has them too.

All of it is decided by the name alone, before anything is looked up, so that no answer can depend
on whether there is something of a name that one may not see. `docs/access.md` is the page on it.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Final

from chunkstore.core.names import ROOT, FileName, FolderName, prefix_stop


class Verbs(enum.Flag):
    """What can be done in a folder.

    `CREATE` is of names that are not there yet, `WRITE` replaces; `DELETE` also moves away;
    `SHARE` makes links; `ADMIN` changes the rules and quotas of a folder.
    """

    LIST = enum.auto()
    READ = enum.auto()
    CREATE = enum.auto()
    WRITE = enum.auto()
    DELETE = enum.auto()
    SHARE = enum.auto()
    ADMIN = enum.auto()


NOTHING: Final = Verbs(0)
EVERYTHING: Final = reduce(or_, Verbs)
EVERYONE: Final = "everyone"
GROUP_MARK: Final = "@"

_READER: Final = Verbs.LIST | Verbs.READ
_CONTRIBUTOR: Final = _READER | Verbs.CREATE
ROLES: Final[Mapping[str, Verbs]] = {
    "reader": _READER,
    "contributor": _CONTRIBUTOR,
    "editor": _CONTRIBUTOR | Verbs.WRITE | Verbs.DELETE | Verbs.SHARE,
    "dropper": Verbs.CREATE,
    "owner": EVERYTHING,
}
_NAMES: Final = {verb.name.lower(): verb for verb in Verbs if verb.name is not None}
_NO_VERBS: Final = "-"


def parse_verbs(text: str) -> Verbs:
    """Parse a role, verbs separated by commas, or `-` for none.

    Raises:
        ValueError: it is none of these.
    """
    if text == _NO_VERBS:
        return NOTHING
    if text in ROLES:
        return ROLES[text]
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in _NAMES]:
        raise ValueError(
            f"{unknown[0]!r} is neither a role ({', '.join(ROLES)})"
            f" nor a verb ({', '.join(_NAMES)}); `-` is none"
        )
    return reduce(or_, (_NAMES[word] for word in words))


def format_verbs(verbs: Verbs) -> str:
    """Return the role that has these verbs, or the verbs, as `parse_verbs` takes them."""
    for role, of_role in ROLES.items():
        if verbs == of_role:
            return role
    return ",".join(name for name, verb in _NAMES.items() if verb in verbs) or _NO_VERBS


def words_of(verbs: Verbs) -> str:
    """Return the verbs as a sentence names them."""
    return " and ".join(name for name, verb in _NAMES.items() if verb in verbs)


@dataclass(frozen=True, slots=True)
class Rule:
    """A subject's verbs in a folder."""

    subject: str
    folder: FolderName
    verbs: Verbs


@dataclass(frozen=True, slots=True)
class Region:
    """Names from `start` on, up to `stop` or the last one, in all of which one has `verbs`."""

    start: str
    stop: str | None
    verbs: Verbs


class Rules:
    """Rules, ordered so that a name's rights take a few look-ups, however many rules there are.

    Of two rules of one subject for one folder the later counts.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._verbs: dict[str, dict[str, Verbs]] = {}
        for rule in rules:
            self._verbs.setdefault(rule.subject, {})[rule.folder] = rule.verbs
        self._folders = {subject: sorted(of_one) for subject, of_one in self._verbs.items()}

    def verbs(self, subjects: Sequence[str], name: FileName | FolderName) -> Verbs:
        """Return what these subjects together may do with a file, or in a folder."""
        of_each = [self._verbs[subject] for subject in subjects if subject in self._verbs]
        if not of_each:
            return NOTHING
        folders = [*_folders_above(name)]
        return reduce(or_, (_nearest(of_one, folders) for of_one in of_each), NOTHING)

    def below(self, subjects: Sequence[str], folder: FolderName) -> Iterator[FolderName]:
        """Yield each folder below `folder` for which one of the subjects has a rule, in order."""
        stop = prefix_stop(folder)
        found = set[str]()
        for subject in subjects:
            folders = self._folders.get(subject, [])
            first = bisect_right(folders, folder)
            last = len(folders) if stop is None else bisect_right(folders, stop, first)
            found.update(folders[first:last])
        found.discard(stop or "")
        return map(FolderName, sorted(found))


def _folders_above(name: str) -> Iterator[str]:
    """Yield the folders that a name is in, nearest first; a folder is in itself."""
    slash = len(name)
    while (slash := name.rfind("/", 0, slash)) >= 0:
        yield name[: slash + 1]
    yield ROOT


def _nearest(of_one: Mapping[str, Verbs], folders: Iterable[str]) -> Verbs:
    for folder in folders:
        verbs = of_one.get(folder)
        if verbs is not None:
            return verbs
    return NOTHING


@dataclass(frozen=True, slots=True)
class Grant:
    """Subjects and their rules: one of the things that rights are the common part of."""

    rules: Rules
    subjects: tuple[str, ...]

    @classmethod
    def of_scope(cls, scope: Iterable[tuple[FolderName, Verbs]]) -> Grant:
        """Return what a scope grants."""
        rules = Rules(Rule(EVERYONE, folder, verbs) for folder, verbs in scope)
        return cls(rules, (EVERYONE,))


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of one request: what all of `grants` give.

    These are the rules of who asks, or of whose token or link it is, and the scopes of these.
    """

    grants: tuple[Grant, ...]

    def narrowed(self, scope: Iterable[tuple[FolderName, Verbs]]) -> Access:
        """Return the rights that are left within a scope."""
        return Access((*self.grants, Grant.of_scope(scope)))

    def verbs(self, name: FileName | FolderName) -> Verbs:
        """Return what may be done with a file, or in a folder itself."""
        return reduce(
            and_, (grant.rules.verbs(grant.subjects, name) for grant in self.grants), EVERYTHING
        )

    def everywhere(self, folder: FolderName) -> Verbs:
        """Return what may be done in a folder and in all that is below it.

        It takes a look-up for each rule below, and none for a file.
        """
        return reduce(and_, map(self.verbs, self._below(folder)), self.verbs(folder))

    def leads_somewhere(self, folder: FolderName) -> bool:
        """Whether there is something to be done in a folder or below it: then it may be seen."""
        return bool(self.verbs(folder)) or any(map(self.verbs, self._below(folder)))

    def regions(self, folder: FolderName) -> Iterator[Region]:
        """Yield the regions of a folder in order, each with what may be done in it.

        A region begins where a folder with a rule begins or ends, so all names of one are in the
        same of these folders as its start.
        """
        starts = self.borders(folder)
        for start, stop in zip(starts, [*starts[1:], prefix_stop(folder)], strict=True):
            yield Region(start, stop, self.verbs(FileName(start)))

    def borders(self, folder: FolderName) -> Sequence[str]:
        """Return where the regions of a folder begin, in order."""
        end, below = prefix_stop(folder), self._below(folder)
        borders = {folder, *below, *map(prefix_stop, below)} - {end, None}
        return sorted(border for border in borders if border is not None)

    def _below(self, folder: FolderName) -> list[FolderName]:
        found = {
            below for grant in self.grants for below in grant.rules.below(grant.subjects, folder)
        }
        return sorted(found)


OPEN: Final = Access(())
"""The rights of anybody at a store that has no accounts: everything."""
