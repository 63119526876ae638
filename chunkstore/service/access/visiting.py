"""Coming by a link: who has its token, and its password if it has one, may do what it gives.

A link that is not there, one that has ended or been revoked, and one whose creator is disabled or
may not share its target any more are told alike. The password is asked for before anything else is
told. What proves that it was given is a cookie that the link signs, and that another password ends.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from chunkstore.core.access import Access
from chunkstore.core.errors import (
    InvalidName,
    InvalidRequest,
    LinkContentReplaced,
    LinkPasswordNeeded,
    LinkPasswordWrong,
    NoSuchLink,
    NotFound,
    StoreError,
)
from chunkstore.core.names import MAX_NAME_SIZE, FileName, FolderName, parse_folder_name
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.credentials import Links
from chunkstore.service.access.directory import Directory, Snapshot
from chunkstore.service.access.limiter import network_of
from chunkstore.service.access.link_uses import LinkUses
from chunkstore.service.access.links import FirstUse, Link, Visit, format_visit, parse_visit
from chunkstore.service.access.principal import Basic, Credentials, NewCookie, Principal, Via
from chunkstore.service.access.tokens import new_mark
from chunkstore.service.access.values import Account
from chunkstore.service.access.verifying import Verifier
from chunkstore.store.contract.edits import Put
from chunkstore.store.contract.records import Records

_COOKIE_LASTS: Final = timedelta(days=1)
_NONCE_BYTES: Final = 16
_COOKIE: Final = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})")
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a request brings that comes by a link.

    `visit` is what its URL has for a visit, "" for none. `cookie` is the one of this link. What
    `puts` files begins a visit where there is none.
    """

    token: str
    credentials: Credentials
    address: str
    agent: str = ""
    cookie: str = ""
    visit: str = ""
    puts: bool = False


class Visiting:
    """Those who come by links."""

    def __init__(
        self,
        records: Records,
        directory: Directory,
        verifier: Verifier,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._verifier = verifier
        self._clock = clock
        self._links = Links(records, clock)
        self.uses = LinkUses(records, clock)

    async def enter(self, arrival: Arrival) -> Principal:
        """Return who comes by a link, and what they may do.

        Raises:
            NoSuchLink: there is none, or it is not valid any more.
            LinkPasswordNeeded, LinkPasswordWrong: it has a password.
            LinkUsedUp: another visit is one too many.
            LinkFull: it puts files, and the link takes no more.
            TooManyAttempts, SignInBusy: as `People.sign_in`.
            StoreError: the store does not tell.
        """
        snapshot, link, account = await self._find(arrival.token, arrival.address)
        nonce = self._nonce_of(link, arrival.cookie)
        if link.password is not None and nonce is None:
            await self._check_password(link, arrival.credentials, arrival.address)
        known_by = _known_by(link, nonce, arrival)
        visit = await self._visit_of(link, arrival, known_by)
        return _principal(visit, snapshot.access_of_visit(visit, account))

    async def _visit_of(self, link: Link, arrival: Arrival, known_by: tuple[str, ...]) -> Visit:
        text, room, first_use = arrival.visit, None, None
        if arrival.puts and link.takes_files:
            room = await self.uses.room(link)
            if not text:
                text, first_use = await self._begin(link, ""), FirstUse()
        if not text:
            return Visit(link, known_by=known_by)
        segment = parse_visit(link, text)
        if segment is None:
            raise NoSuchLink
        own = FolderName(f"{link.folder}{segment}/")
        return Visit(link, own, text, known_by, room, first_use)

    @asynccontextmanager
    async def putting(self, visit: Visit, puts: Sequence[Put]) -> AsyncIterator[None]:
        """Take room for files that are put within the context, as `LinkUses.putting`."""
        with visit.putting():
            async with self.uses.putting(visit.link, puts):
                yield

    async def leave(self, visit: Visit) -> None:
        """Give back the use of a visit that a request began and put nothing in.

        Nobody else knows of the visit then.
        """
        if visit.first_use is not None and not visit.first_use.puts:
            # What cannot be given back has been used: there are never more than there may be.
            with suppress(StoreError):
                await self.uses.give_back(visit.link)

    async def begin_visit(self, principal: Principal, name: str) -> str:
        """Begin a visit of somebody who says that they are called `name`; return its text for URLs.

        Raises:
            LinkUsedUp: it would be one too many.
            InvalidRequest: the link takes no files.
            InvalidName: the name has what no folder's name can have.
        """
        if principal.visit is None or not principal.visit.link.takes_files:
            raise InvalidRequest("Nothing can be sent by this link.")
        return await self._begin(principal.visit.link, name)

    async def _begin(self, link: Link, name: str) -> str:
        day = f"{self._clock.now():%Y-%m-%d}"
        called = " ".join(name.split())
        if len(called) > _LONGEST_NAME or "/" in called:
            raise InvalidName(f"A name has at most {_LONGEST_NAME} characters, and no slash.")
        segment = " ".join(filter(None, (day, called, new_mark())))
        segment = parse_folder_name(segment).removesuffix("/")
        if len(f"{link.folder}{segment}/".encode()) > MAX_NAME_SIZE:
            raise InvalidName("The name is too long.")
        await self.uses.count(link, (), from_start=True)
        return format_visit(link, segment)

    async def unlock(self, token: str, password: str, address: str) -> NewCookie:
        """Return the cookie of somebody who gives a link's password.

        Raises: as `enter`.
        """
        _, link, _ = await self._find(token, address)
        if link.password is not None:
            await self._check_password(link, Basic("", password), address)
        return self.new_cookie(link)

    def new_cookie(self, link: Link) -> NewCookie:
        """Return a new cookie, by which a visitor is known again."""
        ends = int((self._clock.now() + _COOKIE_LASTS).timestamp())
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        mac = link.sign(f"cookie {ends} {nonce} {link.password_mark}")
        return NewCookie(f"{ends}.{nonce}.{mac}", int(_COOKIE_LASTS.total_seconds()))

    async def access_now(self, principal: Principal) -> Access:
        """Return what somebody may do now who came by a link before.

        Raises:
            NoSuchLink: the link is not valid any more, or its password is another.
            StoreError: the store does not tell.
        """
        visit = principal.visit
        assert visit is not None
        snapshot = await self._directory.current()
        link = await self._links.find_by(principal.digest, snapshot.revision)
        account = None if link is None else self._creator_of(link, snapshot)
        if link is None or account is None or link.password != visit.link.password:
            raise NoSuchLink
        return snapshot.access_of_visit(visit, account)

    async def _find(self, token: str, address: str) -> tuple[Snapshot, Link, Account]:
        snapshot = await self._directory.current()
        link = await self._links.find(token, snapshot.revision)
        account = None if link is None else self._creator_of(link, snapshot)
        if link is None or account is None:
            self._verifier.limiter.attempt(address)
            raise NoSuchLink
        return snapshot, link, account

    def _creator_of(self, link: Link, snapshot: Snapshot) -> Account | None:
        """Return who made a link, None if it does not count any more."""
        account = snapshot.find_valid(link.account, link.account_id)
        if account is None or not link.is_valid_at(self._clock.now()):
            return None
        may = snapshot.access_of(account).verbs(link.target)
        return account if link.needed in may else None

    async def _check_password(self, link: Link, credentials: Credentials, address: str) -> None:
        """Require the password of a link, whatever name comes with it."""
        if not isinstance(credentials, Basic):
            raise LinkPasswordNeeded
        # No account has a name with a space.
        key, password = f"link {link.id}", credentials.password
        if self._verifier.passwords.is_remembered(key, password, link.password):
            return
        if not await self._verifier.verify(key, password, link.password, address):
            raise LinkPasswordWrong
        self._verifier.limiter.signed_in(address, key)

    def _nonce_of(self, link: Link, cookie: str) -> str | None:
        """Return what a cookie of a link has of its own, None if it is not valid."""
        found = _COOKIE.fullmatch(cookie)
        if found is None:
            return None
        ends, nonce, mac = found.groups()
        if int(ends) <= self._clock.now().timestamp():
            return None
        return nonce if link.signs(f"cookie {ends} {nonce} {link.password_mark}", mac) else None


def require_shown(visit: Visit, name: FileName, digest: str | None) -> None:
    """Check that a file is the one that a link is of, and has the content that it was made for.

    Raises:
        NotFound: it is another.
        LinkContentReplaced: it has other content; or, where there is no digest, is not there.
    """
    if visit.link.only not in (None, name):
        raise NotFound
    if visit.link.pin not in (None, digest):
        raise LinkContentReplaced


def _principal(visit: Visit, access: Access) -> Principal:
    link = visit.link
    return Principal(
        access,
        Via.LINK,
        id=visit.id,
        credential_id=link.id,
        digest=link.digest,
        label=link.label,
        visit=visit,
    )


def _known_by(link: Link, nonce: str | None, arrival: Arrival) -> tuple[str, ...]:
    """Return by what a visitor is known again: a cookie, or an address and the program there."""
    place = f"{network_of(arrival.address)} {arrival.agent}"
    # What a client sends need not be UTF-8.
    place = sha256(place.encode(errors="surrogateescape")).hexdigest()
    known_by = (link.sign(f"place {place}"),)
    return known_by if nonce is None else (link.sign(f"nonce {nonce}"), *known_by)
