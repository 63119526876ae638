"""What whoever asks may do, name by name: each need of a request, and each edit, judged.

Refusals tell nothing of what is in the store, because nothing of it is asked. A guest is asked to
sign in; who has no right at all in a place is told what is told where there is nothing; and who may
do something there is told which verb lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from chunkstore.core.access import OPEN, Access, Verbs, words_of
from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL, Conditions
from chunkstore.core.errors import (
    ChunkstoreError,
    NotFound,
    SignInNeeded,
    VerbLacking,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access.audit import who_is
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import ANYBODY, Principal
from chunkstore.store.contract.audit import Who
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Patch,
    Put,
    is_folder_name,
)

PUTTING: Final = Verbs.CREATE | Verbs.WRITE
SEEING: Final = Verbs.LIST | Verbs.READ
# With one of these, whoever creates files learns which there are.
_LEARNING: Final = SEEING | Verbs.WRITE


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one request: those of `principal`, as `people` tells; None is the server.

    It comes from `address`.

    All errors that its methods raise are decided by the names alone:

    - SignInNeeded: a guest has no right to that.
    - NotFound: somebody has no right there at all, and none below.
    - VerbLacking: they have another one than is needed.
    """

    principal: Principal
    people: People | None = None
    address: str = ""

    @property
    def who(self) -> Who:
        """Who they are to the audit log."""
        return who_is(self.principal, self.address)

    @property
    def told_as(self) -> Who | None:
        """As whom the audit log tells of what they do, None if it does not."""
        if self.people is None or not self.people.audit.tells(is_open=self.is_open):
            return None
        return self.who

    @property
    def access(self) -> Access:
        """The rules that hold."""
        return self.principal.access

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, as there are no accounts."""
        return self.principal.access is OPEN

    async def at_this_moment(self) -> Rights:
        """Return the rights as they are by now: a body can have taken hours.

        Raises:
            SignInFailed: the account, token or session is not valid any more.
            StoreError: the store does not tell.
        """
        if self.people is None:
            return self
        access = await self.people.access_now(self.principal)
        if access is self.principal.access:
            return self
        return replace(self, principal=replace(self.principal, access=access))

    def putting(self, edits: Sequence[Edit]) -> AbstractAsyncContextManager[None]:
        """Return a context in which edits are made, of which what is put may be counted.

        Raises:
            LinkFull: a link takes no more.
        """
        visit = self.principal.visit
        if visit is None or self.people is None:
            return nullcontext()
        puts = [edit for edit in edits if isinstance(edit, Put)]
        return self.people.visiting.putting(visit, puts)

    def may_see(self, name: Name) -> bool:
        """Whether something can be done with a name or below it, so that more may be told."""
        if self.access.verbs(name):
            return True
        return self.access.leads_somewhere(folder_named(name))

    def refusal(self, name: Name, lacking: Verbs) -> ChunkstoreError:
        """Return what is said to somebody who lacks verbs that they need."""
        return absence_of(name) if self._hides(name) else self._lack(name, lacking)

    def _hides(self, name: Name) -> bool:
        """Whether somebody who is signed in is told that a name is not there, whatever is."""
        return not self.principal.is_guest and name != ROOT and not self.may_see(name)

    def _lack(self, name: Name, lacking: Verbs) -> ChunkstoreError:
        if self.principal.is_guest:
            return SignInNeeded()
        return VerbLacking(name, words_of(lacking))

    def require(self, verbs: Verbs, name: Name) -> None:
        """Require all of the verbs for a file, or in a folder itself."""
        granted = self.access.verbs(name)
        if verbs not in granted:
            raise self.refusal(name, verbs & ~granted)

    def require_everywhere(self, verbs: Verbs, folder: FolderName) -> None:
        """Require all of the verbs in a folder and everywhere below it."""
        lacking = verbs & ~self.access.everywhere(folder)
        if lacking:
            raise self.refusal(folder, lacking)

    def require_all(self, verbs: Verbs, name: Name) -> None:
        """Require the verbs for a file, or for a folder with all that is in it."""
        if is_folder_name(name):
            self.require_everywhere(verbs, FolderName(name))
        else:
            self.require(verbs, name)

    def require_somewhere(self, verbs: Verbs) -> None:
        """Require one of the verbs wherever it may be."""
        if not self.access.somewhere(verbs):
            raise self._lack(ROOT, verbs)

    def require_putting(self, name: FileName) -> Verbs:
        """Return which of `PUTTING` there are for a file, one at least.

        Where the folder of that name has a rule by which less is possible, that a file cannot be
        there would tell what is in it.
        """
        verbs = self.access.verbs(name)
        putting = verbs & PUTTING
        if not putting:
            if self._hides(name):
                # Who may see nothing there would take it for the answer to a GET.
                raise NotFound(f"There is no folder where you may put {name!r}.")
            raise self.refusal(name, PUTTING)
        self._require_whole(folder_named(name), verbs)
        return putting

    def _require_whole(self, folder: FolderName, verbs: Verbs) -> None:
        """Refuse a folder where a rule in it or below takes some of the verbs away."""
        whole = self.access.everywhere(folder)
        if whole == verbs:
            return
        lacking = verbs & (PUTTING | SEEING) & ~whole
        if lacking:
            raise self._lack(folder, lacking)

    def drops(self, name: FileName) -> bool:
        """Whether a file is put without learning of others: there is `CREATE`, and nothing else.

        What is taken is stored beside, and no answer tells that.
        """
        verbs = self.access.verbs(name)
        return Verbs.CREATE in verbs and not verbs & _LEARNING

    def reads_all(self) -> bool:
        """Whether everything may be read: then it may be told what of a content was known."""
        return Verbs.READ in self.access.everywhere(ROOT)

    def require_conditions(self, conditions: Conditions, name: Name) -> None:
        """Require `READ` where conditions tell of what is there, its digest and its times."""
        if conditions in (UNCONDITIONAL, CREATE_ONLY):
            return
        self.require(Verbs.READ, name)

    def judge(self, edit: Edit) -> Edit:
        """Return an edit with what it is allowed to do; raise if it is not allowed at all."""
        if self.is_open:
            return edit
        match edit:
            case Put():
                return self._judge_put(edit)
            case Delete():
                self.require_all(Verbs.DELETE, edit.name)
                self.require_conditions(edit.conditions, edit.name)
                return edit
            case Copy() | Move():
                return self._judge_transfer(edit)
            case MakeFolder():
                # That there is something of this name already, or below it, is told.
                self.require(Verbs.CREATE, edit.name)
                self._require_sight(edit.name)
                self._require_whole(edit.name, self.access.verbs(edit.name))
                return edit
            case Patch():
                self.require(Verbs.WRITE, edit.name)
                self.require_conditions(edit.conditions, edit.name)
                return edit

    def _judge_put(self, edit: Put) -> Put:
        allowed = self.require_putting(edit.name)
        if self.drops(edit.name):
            # As if there were nothing of this name.
            edit.conditions.require(None)
            return replace(edit, conditions=CREATE_ONLY, allowed=allowed, strict=False)
        self.require_conditions(edit.conditions, edit.name)
        return replace(edit, allowed=allowed)

    def _judge_transfer(self, edit: Copy | Move) -> Copy | Move:
        source, target = edit.source, edit.target
        needed = Verbs.READ if isinstance(edit, Copy) else Verbs.READ | Verbs.DELETE
        is_folder = is_folder_name(source)
        self.require_all(needed | Verbs.LIST if is_folder else needed, source)
        if is_folder:
            there = self.access.everywhere(FolderName(target))
            # A folder that is replaced goes with all that is in it.
            allowed = there & (PUTTING if Verbs.DELETE in there else Verbs.CREATE)
            if not allowed:
                raise self.refusal(target, (PUTTING | Verbs.DELETE) & ~there)
        else:
            allowed = self.require_putting(FileName(target))
            if edit.strict:
                # A folder whose place the file takes goes with all that is in it.
                allowed |= self.access.everywhere(folder_named(target)) & Verbs.DELETE
        self._require_sight(target)
        self.require_conditions(edit.target_conditions, target)
        return replace(edit, allowed=allowed)

    def _require_sight(self, name: Name) -> None:
        """Refuse who only drops files, where the answer would tell what is there."""
        if not self.access.verbs(name) & _LEARNING:
            raise self.refusal(name, Verbs.LIST)


EVERY_RIGHT: Final = Rights(ANYBODY)
"""Those of the server itself."""


def folder_named(name: Name) -> FolderName:
    """Return the folder that has the name of a file, or the folder itself."""
    return FolderName(name if is_folder_name(name) else f"{name}/")


def absence_of(name: Name) -> NotFound:
    """Return what is said where there is no such file or folder."""
    return NotFound(f"There is no {'folder' if is_folder_name(name) else 'file'} {name!r}.")
