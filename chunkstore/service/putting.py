"""Making edits on behalf of somebody, as far as they may by the moment of the commit.

Who may only drop files learns nothing of others: what they put under a name that is taken is stored
beside it, under a name with a random ending, as often as it takes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, overload

from chunkstore.core.access import Verbs
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.errors import (
    ChunkstoreError,
    Locked,
    NameConflict,
    NotFound,
    PreconditionFailed,
    SignInNeeded,
    VerbLacking,
)
from chunkstore.core.names import MAX_NAME_SIZE, FileName, parent
from chunkstore.service.quotas import find_room, telling
from chunkstore.service.rights import Rights
from chunkstore.service.room import NO_BOUND, Room
from chunkstore.service.visible_names import VisibleNames
from chunkstore.store.contract.audit import Who
from chunkstore.store.contract.edits import (
    Copy,
    Edit,
    MakeFolder,
    Move,
    Name,
    Put,
)
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.quotas import Quotas
from chunkstore.store.contract.values import Applied, Committed

_ENDING_BYTES: Final = 5


class Putting(Protocol):
    """Makes files, as far as somebody may."""

    async def check(
        self, name: FileName, conditions: Conditions = UNCONDITIONAL, size: int | None = None
    ) -> None:
        """Raise what `put` would raise now, before content is sent for nothing.

        It has `size` bytes, or more; None if nothing is known of that.
        """

    async def room(self, name: FileName) -> Room:
        """Return how large the file may become, to be asked as its content comes."""

    async def put(self, put: Put) -> Committed:
        """Make a file; raise as `Names.apply`, and what `Rights.judge` raises."""


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """The edits of names that `rights` and write locks allow (`Putting`)."""

    names: Names
    rights: Rights
    quotas: Quotas | None = None
    guard: Guard = UNGUARDED

    async def check(
        self,
        name: FileName,
        conditions: Conditions = UNCONDITIONAL,
        size: int | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """Raise what `put` would raise now, if the edit is `strict` or not."""
        await self._check(name, conditions, strict=strict)
        (await self.room(name)).check(size or 0)

    async def room(self, name: FileName) -> Room:
        if self.quotas is None:
            return NO_BOUND
        return await find_room(self.names, self.quotas, name, self.rights)

    async def _check(self, name: FileName, conditions: Conditions, *, strict: bool) -> None:
        rights = self.rights
        if rights.is_open:
            await self.names.check_put(name, conditions, strict=strict, guard=self.guard)
            return
        allowed = rights.require_putting(name)
        if rights.drops(name):
            conditions.require(None)
            return
        rights.require_conditions(conditions, name)
        with _guests_asked_to_sign_in(rights), telling_locks(rights):
            await self._require_place(name, strict=strict)
            check = partial(self.names.check_put, strict=strict, guard=self.guard)
            await check(name, conditions, allowed)

    async def put(self, put: Put) -> Committed:
        [committed] = await self.apply([put])
        return committed

    @overload
    async def apply(self, edits: Sequence[Put]) -> Sequence[Committed]: ...

    @overload
    async def apply(self, edits: Sequence[Edit]) -> Sequence[Applied]: ...

    async def apply(self, edits: Sequence[Edit]) -> Sequence[Applied]:
        """Make all edits, or none; raise as `Names.apply`, and what `Rights.judge` raises.

        The rights are judged anew: for what came with a long body they may be others by now.
        """
        rights = await self.rights.at_this_moment()
        if rights.is_open:
            return await self.names.apply(edits, rights.told_as, self.guard)
        with telling(rights), telling_locks(rights):
            return await self._judge_and_apply(edits, rights)

    async def _judge_and_apply(self, edits: Sequence[Edit], rights: Rights) -> Sequence[Applied]:
        judged: list[Edit] = []
        for place, edit in enumerate(edits):
            try:
                allowed = rights.judge(edit)
                judged.append(allowed)
                if isinstance(allowed, MakeFolder):
                    await self._require_parent(allowed.name, rights)
                elif isinstance(allowed, Put | Copy | Move):
                    target = allowed.name if isinstance(allowed, Put) else allowed.target
                    await self._require_place(target, strict=allowed.strict)
            except ChunkstoreError as error:
                error.edit = place
                raise
        dropped = {
            place: names_beside(edit.name, rights)
            for place, edit in enumerate(judged)
            if isinstance(edit, Put) and rights.drops(edit.name)
        }
        for place, names in dropped.items():
            judged[place] = await self._free(judged[place], names)
        async with rights.putting(judged):
            with _guests_asked_to_sign_in(rights):
                return await self._apply(judged, dropped, rights.told_as)

    async def _free(self, edit: Edit, names: Iterator[FileName]) -> Edit:
        """Return what somebody drops under a name that is free.

        It takes one look-up whether it is taken or not, so its time tells nothing either.
        """
        assert isinstance(edit, Put)
        try:
            await self.names.check_put(edit.name, edit.conditions, edit.allowed)
        except (PreconditionFailed, NameConflict):
            return replace(edit, name=next(names, edit.name))
        return edit

    async def _require_place(self, target: Name, *, strict: bool) -> None:
        """Refuse a strict edit as where there is no folder for its target, if one is hidden."""
        if not strict:
            return
        try:
            await self._require_parent(target, self.rights)
        except NotFound as error:
            raise NameConflict(str(error)) from error

    async def _require_parent(self, folder: Name, rights: Rights) -> None:
        """Refuse to make a folder where it would tell that there is something hidden beside it.

        Where nothing can be hidden, the commit judges, which sees what edits before it have made.
        """
        above, visible = parent(folder), VisibleNames(self.names, rights.access)
        if not visible.lists_all(above) and not await visible.exists(above):
            raise NotFound(f"There is no folder {above!r} to make it in.")

    async def _apply(
        self, edits: list[Edit], dropped: dict[int, Iterator[FileName]], by: Who | None
    ) -> Sequence[Applied]:
        """Make the edits; those in `dropped` get other names until they fit.

        All from the one on that does not fit: names that are in each other's way, as of one form,
        take a few transactions then, and not one each.
        """
        while True:
            try:
                return await self.names.apply(edits, by, self.guard)
            except (PreconditionFailed, NameConflict) as error:
                failed = 0 if error.edit is None else error.edit
                name = next(dropped.get(failed, iter(())), None)
                if name is None:
                    raise
                edits[failed] = _renamed(edits[failed], name)
                for place in dropped:
                    if place > failed:
                        found = next(dropped[place], None)
                        edits[place] = _renamed(edits[place], found)


def _renamed(edit: Edit, name: FileName | None) -> Edit:
    assert isinstance(edit, Put)
    return edit if name is None else replace(edit, name=name)


@contextmanager
def telling_locks(rights: Rights) -> Iterator[None]:
    """Tell only of those locks whose names somebody may know of, and which of them are theirs."""
    try:
        yield
    except Locked as error:
        # The type does not tell a folder's name, which ends in a slash, from a file's.
        error.locks = [lock for lock in error.locks if rights.may_see(FileName(lock.name))]
        error.asker = rights.principal.id
        raise


@contextmanager
def _guests_asked_to_sign_in(rights: Rights) -> Iterator[None]:
    """Have a guest who lacks a verb sign in."""
    try:
        yield
    except VerbLacking as error:
        if not rights.principal.is_guest:
            raise
        needed = SignInNeeded()
        needed.edit = error.edit
        raise needed from error


def names_beside(name: FileName, rights: Rights) -> Iterator[FileName]:
    """Yield names like `name` that are likely free, all where one may create files.

    First the file's own name has another ending, then that of a folder above it, the outermost
    first: a file may be where one of these is to be, and of many it is not known where.
    """
    segments = name.split("/")
    for place in (len(segments) - 1, *range(len(segments) - 1)):
        before, segment, behind = segments[:place], segments[place], segments[place + 1 :]
        for changed in (
            [*before, _with_ending(segment, is_file=not behind), *behind],
            # Shorter, where that is too long.
            [*before, secrets.token_hex(_ENDING_BYTES)],
        ):
            found = FileName("/".join(changed))
            if len(found.encode()) <= MAX_NAME_SIZE and Verbs.CREATE in rights.access.verbs(found):
                yield found


def _with_ending(segment: str, *, is_file: bool) -> str:
    mark = secrets.token_hex(_ENDING_BYTES)
    stem, dot, suffix = segment.rpartition(".") if is_file else (segment, "", "")
    return f"{stem}-{mark}{dot}{suffix}" if stem else f"{segment}-{mark}"
