"""The write locks of the store as one request may use them; see `allowed`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.dav.locks import Lock, path_of
from chunkstore.core.errors import Forbidden
from chunkstore.core.names import FolderName
from chunkstore.http.message.request import store_of
from chunkstore.http.security.guards import principal_of
from chunkstore.http.security.needs import require_locking
from chunkstore.http.security.rights import rights_of
from chunkstore.service.rights import PUTTING, Rights
from chunkstore.store.contract.edits import Name, is_folder_name
from chunkstore.store.contract.locks import Locks, Taken, WantedLock


@dataclass(frozen=True, slots=True)
class AllowedLocks:
    """The write locks that a request may take, refresh and end."""

    locks: Locks
    rights: Rights

    @property
    def principal(self) -> str:
        """Whose the locks are that it takes."""
        return principal_of(self.rights)

    async def take(self, wanted: WantedLock) -> Taken:
        """As `Locks.take`; a deep one needs rights in all of the folder.

        Raises:
            SignInNeeded, NotFound, VerbLacking: it may not.
        """
        if not self.rights.is_open:
            require_locking(self.rights, wanted.name)
            if wanted.is_deep and is_folder_name(wanted.name):
                self.rights.require_everywhere(Verbs.WRITE, FolderName(wanted.name))
            wanted = replace(wanted, allowed=self.rights.access.verbs(wanted.name))
        return await self.locks.take(wanted)

    async def find(self, path: str, token: str) -> Lock | None:
        """Return the lock with a token that covers a path, None if there is none."""
        found = await self.locks.covering([path])
        return next((each for each in found if each.token == token and each.covers(path)), None)

    def is_own(self, lock: Lock) -> bool:
        """Whether whoever asks has taken it."""
        return lock.principal == self.principal

    def may_end(self, lock: Lock) -> bool:
        """Whether whoever asks may end it: it is theirs, or they administer what it is on."""
        verbs = self.rights.access.verbs(lock.name)
        return Verbs.ADMIN in verbs or (self.is_own(lock) and bool(verbs & PUTTING))

    async def end(self, lock: Lock) -> None:
        """End a lock that holds, or has by now ended by itself or by somebody else.

        Raises:
            Forbidden: it is somebody else's, of whom the audit log tells if it may be ended.
        """
        if not self.may_end(lock):
            raise Forbidden("The lock is somebody else's.")
        ended = await self.release(lock.token)
        people = self.rights.people
        if ended is not None and not self.is_own(lock) and people is not None:
            await people.audit.note(self.rights.who, "locks break", lock.name)

    async def end_on(self, name: Name, tokens: Collection[str]) -> None:
        """End those that were taken on a name and have one of the tokens, all or none.

        Raises:
            SignInNeeded, NotFound, VerbLacking: nothing can be done with the name.
            Forbidden: one is somebody else's.
        """
        if not self.rights.access.verbs(name) & (PUTTING | Verbs.ADMIN):
            raise self.rights.refusal(name, PUTTING)
        covering = await self.locks.covering([path_of(name)])
        found = [lock for lock in covering if lock.name == name and lock.token in tokens]
        if not all(map(self.may_end, found)):
            raise Forbidden("The lock is somebody else's.")
        for lock in found:
            await self.end(lock)

    async def refresh(self, token: str, seconds: int) -> Lock | None:
        """As `Locks.refresh`."""
        return await self.locks.refresh(token, seconds)

    async def release(self, token: str) -> Lock | None:
        """As `Locks.release`."""
        return await self.locks.release(token)


def locks_of(request: web.Request) -> AllowedLocks:
    """Return the locks that the request may use."""
    return AllowedLocks(store_of(request).locks, rights_of(request))


async def locks_covering(request: web.Request, names: Sequence[Name]) -> Sequence[Lock]:
    """Return the locks on names that the request was told of."""
    if not names:
        return []
    return await store_of(request).locks.covering([path_of(name) for name in names])
