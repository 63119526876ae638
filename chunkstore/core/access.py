"""Who may do what under which name: rules, and the rights that follow from them.

A **rule** gives a subject verbs in a folder and everything below it. A subject is an account, a
group (`@name`) or `everyone`, who is anybody, signed in or not. What somebody may do with a name is
the sum, over the subjects they are, of the rule nearest above the name that the subject has: so a
nearer rule replaces what its own subject inherits, and takes nothing that another subject gives. A
rule of no verbs, written `-`, ends what its subject inherits.

A token or a link has a **scope**: folders with verbs, read in the same way. Its rights are those
that its owner has at that moment, as far as the scope has them too; those of a link only where its
owner may also `share`.

All of it is decided by the name alone, before anything is looked up, so that no answer can depend
on whether there is something of a name that one may not see. `docs/access.md` is the page on it.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
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
# For all who ask: folders with what may be done there, and regions of a folder.
_REMEMBERED: Final = 4096
_REMEMBERED_REGIONS: Final = 64


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

    Of two rules of one subject for one folder the later counts. What was found is remembered here,
    so that it goes with the rules.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._verbs: dict[str, dict[str, Verbs]] = {}
        for rule in rules:
            self._verbs.setdefault(rule.subject, {})[rule.folder] = rule.verbs
        self._folders = {subject: sorted(of_one) for subject, of_one in self._verbs.items()}
        self._in_folder = lru_cache(_REMEMBERED)(partial(_verbs_in, self._verbs))
        self._bounds = lru_cache(_REMEMBERED)(partial(_bounds_of, self._verbs, self._folders))
        self._everywhere = lru_cache(_REMEMBERED)(self._find_everywhere)
        self._somewhere = lru_cache(_REMEMBERED)(self._find_somewhere)
        # Also where these rules are not all that decides.
        self.of_access = lru_cache(_REMEMBERED)(_verbs_of)
        self.regions = lru_cache(_REMEMBERED_REGIONS)(Regions)

    def verbs(self, subjects: tuple[str, ...], name: str) -> Verbs:
        """Return what these subjects together may do with a file, or in a folder."""
        # Nothing but the folder that it is in matters; a folder is in itself.
        return self._in_folder(subjects, name[: name.rfind("/") + 1])

    def everywhere(self, subjects: tuple[str, ...], prefix: str) -> Verbs:
        """Return what these subjects may do with each name that begins so."""
        for subject in subjects:
            if _has_rule(self._folders.get(subject, ()), prefix):
                return self._everywhere(subjects, prefix)
        # As above it, which is remembered for all names there.
        return self.verbs(subjects, prefix[:-1])

    def somewhere(self, subjects: tuple[str, ...], folder: str) -> Verbs:
        """Return all that these subjects may do somewhere in a folder or below it."""
        return self._somewhere(subjects, folder)

    def _find_everywhere(self, subjects: tuple[str, ...], prefix: str) -> Verbs:
        found = self.verbs(subjects, prefix)
        least = reduce(or_, (self._bounds(one, prefix)[0] for one in subjects), NOTHING)
        if found == least:
            # As it is, unless one subject may do in one place what another may elsewhere.
            return found
        for folder in self.below(subjects, prefix):
            found &= self.verbs(subjects, folder)
            if found == least:
                break
        return found

    def _find_somewhere(self, subjects: tuple[str, ...], folder: str) -> Verbs:
        return reduce(or_, (self._bounds(subject, folder)[1] for subject in subjects), NOTHING)

    def nearest(self, subject: str, name: FileName | FolderName) -> Rule | None:
        """Return the rule of a subject that counts for a file, or in a folder."""
        of_one = self._verbs.get(subject, {})
        for folder in _folders_above(name):
            if folder in of_one:
                return Rule(subject, FolderName(folder), of_one[folder])
        return None

    def nearest_above(self, subject: str, folder: FolderName) -> Rule | None:
        """Return the rule of a subject that would count in a folder without one of its own."""
        if folder == ROOT:
            return None
        return self.nearest(subject, FileName(folder.removesuffix("/")))

    def below(self, subjects: Sequence[str], prefix: str) -> list[FolderName]:
        """Return each folder below a prefix for which one of the subjects has a rule, in order."""
        found = set[str]()
        for subject in subjects:
            found.update(_behind(self._folders.get(subject, ()), prefix))
        return [*map(FolderName, sorted(found))]


def _verbs_in(
    verbs: Mapping[str, Mapping[str, Verbs]], subjects: tuple[str, ...], folder: str
) -> Verbs:
    of_each = [verbs[subject] for subject in subjects if subject in verbs]
    if not of_each:
        return NOTHING
    folders = [*_folders_above(folder)]
    return reduce(or_, (_nearest(of_one, folders) for of_one in of_each), NOTHING)


def _verbs_of(access: Access, folder: str) -> Verbs:
    verbs = (grant.rules.verbs(grant.subjects, folder) for grant in access.grants)
    return reduce(and_, verbs)


def _bounds_of(
    verbs: Mapping[str, Mapping[str, Verbs]],
    folders: Mapping[str, Sequence[str]],
    subject: str,
    prefix: str,
) -> tuple[Verbs, Verbs]:
    """Return what a subject may do with each name that begins so, and what with one of them."""
    of_one = verbs.get(subject)
    if of_one is None:
        return NOTHING, NOTHING
    found = {of_one[folder] for folder in _behind(folders[subject], prefix)}
    found.add(_nearest(of_one, _folders_above(prefix)))
    return reduce(and_, found), reduce(or_, found)


def _has_rule(folders: Sequence[str], prefix: str) -> bool:
    """Whether one of the folders begins so, or is the one of this name."""
    place = bisect_left(folders, prefix)
    return place < len(folders) and folders[place].startswith(prefix)


def _behind(folders: Sequence[str], prefix: str) -> Sequence[str]:
    """Return those of the folders that begin so, but for the one of this name."""
    first, stop = bisect_right(folders, prefix), prefix_stop(prefix)
    return folders[first : len(folders) if stop is None else bisect_left(folders, stop, first)]


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


def _lent(own: Verbs, verbs: Verbs) -> Verbs:
    return own & verbs if Verbs.SHARE in own else NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """Subjects and their rules: one of the things that rights are the common part of."""

    rules: Rules
    subjects: tuple[str, ...]

    @classmethod
    def of_scope(cls, scope: Iterable[tuple[FolderName, Verbs]]) -> Grant:
        """Return what a scope grants."""
        rules = Rules(Rule(EVERYONE, folder, verbs) for folder, verbs in scope)
        return cls(rules, (EVERYONE,))


# Not compared by what they are of, since what is remembered is found by them.
@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """The rights of one request: what all of `grants` give.

    These are the rules of who asks, or of whose token or link it is, and the scopes of these.
    """

    grants: tuple[Grant, ...]

    def shared(self, folder: FolderName, verbs: Verbs) -> Access:
        """Return the rights that somebody can share in a folder: `verbs` where there is `SHARE`.

        They are rules of their own, since what may be done is the same between folders with rules.
        """
        places = [folder, *sorted({*self.below(folder)})]
        rules = Rules(Rule(EVERYONE, place, _lent(self.verbs(place), verbs)) for place in places)
        return Access((Grant(rules, (EVERYONE,)),))

    def narrowed(self, scope: Iterable[tuple[FolderName, Verbs]]) -> Access:
        """Return the rights that are left within a scope."""
        return Access((*self.grants, Grant.of_scope(scope)))

    def verbs(self, name: FileName | FolderName) -> Verbs:
        """Return what may be done with a file, or in a folder itself."""
        if not self.grants:
            return EVERYTHING
        return self.grants[0].rules.of_access(self, name[: name.rfind("/") + 1])

    def allowing(self, verb: Verbs) -> Callable[[str], bool]:
        """Return what says of names whether there is a verb; quickly, where they are in order."""
        last, allows = None, False

        def is_allowed(name: str) -> bool:
            nonlocal last, allows
            folder = name[: name.rfind("/") + 1]
            if folder != last:
                last, allows = folder, verb in self.verbs(FolderName(folder))
            return allows

        return is_allowed

    def everywhere(self, prefix: str) -> Verbs:
        """Return what may be done with each name that begins so, as in a folder and below it."""
        found = EVERYTHING
        for grant in self.grants:
            granted = grant.rules.everywhere(grant.subjects, prefix)
            # Flags are slow to combine, and this is asked for each file that is put.
            found = granted if found is EVERYTHING else found & granted
        return found

    def somewhere(self, verbs: Verbs, folder: FolderName = ROOT) -> bool:
        """Whether there is one of the verbs somewhere in a folder or below it."""
        found = verbs
        for grant in self.grants:
            found &= grant.rules.somewhere(grant.subjects, folder)
        if not found or len(self.grants) <= 1:
            return bool(found)
        # Whether it is in the same place for all; where one is narrow, it has few places.
        if self.verbs(folder) & found:
            return True
        return any(self.verbs(below) & found for below in self.below(folder))

    def leads_somewhere(self, folder: FolderName) -> bool:
        """Whether there is something to be done in a folder or below it: then it may be seen."""
        return self.somewhere(EVERYTHING, folder)

    def regions(self, folder: FolderName) -> Regions:
        """Return the regions of a folder, in order."""
        if not self.grants:
            return Regions(self, folder)
        return self.grants[0].rules.regions(self, folder)

    def borders(self, folder: FolderName) -> Sequence[str]:
        """Return where the regions of a folder begin, in order."""
        end, below = prefix_stop(folder), {*self.below(folder)}
        borders = {folder, *below, *map(prefix_stop, below)} - {end, None}
        return sorted(border for border in borders if border is not None)

    def below(self, folder: FolderName) -> Iterator[FolderName]:
        """Yield each folder below with a rule, those of the narrowest scope first."""
        for grant in reversed(self.grants):
            yield from grant.rules.below(grant.subjects, folder)


class Regions:
    """The regions of a folder in order, and what may be done in each.

    A region begins where a folder with a rule begins or ends, so all names of one are in the same
    of these folders as its start.
    """

    def __init__(self, access: Access, folder: FolderName) -> None:
        self._access = access
        self._stop = prefix_stop(folder)
        self._starts = access.borders(folder)

    def __iter__(self) -> Iterator[Region]:
        stops = [*self._starts[1:], self._stop]
        for start, stop in zip(self._starts, stops, strict=True):
            yield Region(start, stop, self._access.verbs(FileName(start)))

    def divide(self, prefix: str) -> bool:
        """Whether a region begins between names that begin so."""
        place, stop = bisect_right(self._starts, prefix), prefix_stop(prefix)
        return place < len(self._starts) and (stop is None or self._starts[place] < stop)

    def next_start(self, name: str, verb: Verbs) -> str | None:
        """Return where the next region with a verb begins behind a name, None for nowhere."""
        for place in range(bisect_right(self._starts, name), len(self._starts)):
            if verb in self._access.verbs(FileName(self._starts[place])):
                return self._starts[place]
        return None


OPEN: Final = Access(())
"""The rights of anybody at a store that has no accounts: everything."""
