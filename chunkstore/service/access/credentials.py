"""Tokens, links and sessions as they are kept: found by digest, and remembered for some seconds.

What is remembered is forgotten when the revision of the records moves, so what is revoked anywhere
is dead when the directory next looks, within two seconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from chunkstore.core.errors import NoSuchAccount, RecordsChanged, StoreError
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.directory import read_all
from chunkstore.service.access.links import Link
from chunkstore.service.access.principal import NewCookie
from chunkstore.service.access.record_values import LINK, NEVER, SESSION, TOKEN, parse_all
from chunkstore.service.access.tokens import digest_of, is_token, new_secret
from chunkstore.service.access.values import Account, Session, Token, deletion_of, new_id
from chunkstore.store.contract.records import ABSENT, Record, Records

C = TypeVar("C", bound=Token | Session | Link)

_REMEMBERED_SECONDS: Final = 5.0
_MOST_REMEMBERED: Final = 10_000
# A session ends when it was not used for so long, and after so long anyway.
IDLE: Final = timedelta(days=7)
LONGEST: Final = timedelta(days=30)
# After so long it gets another cookie; requests under way with the old one may take so long.
_RENEWED: Final = timedelta(days=1)
_OVERLAP: Final = timedelta(seconds=60)
_ATTEMPTS: Final = 5
_NOTHING: Final = (-math.inf, None)


class Remembered(Generic[C]):
    """What the store was asked for lately, by its digest."""

    def __init__(
        self, records: Records, clock: Clock, kind: str, parse: Callable[[Record], C]
    ) -> None:
        self._records = records
        self._clock = clock
        self._kind = kind
        self._parse = parse
        self._revision = 0
        # Each with the time until which it is remembered.
        self._found: OrderedDict[str, tuple[float, C]] = OrderedDict()

    def recall(self, digest: str, revision: int) -> C | None:
        """Return what has a digest, as far as it is remembered."""
        if revision != self._revision:
            return None
        until, found = self._found.get(digest, _NOTHING)
        return found if self._clock.monotonic() < until else None

    async def find(self, digest: str, revision: int) -> C | None:
        """Return what has a digest, None if there is none, or it has expired.

        Raises:
            StoreDamaged: it is not what it should be.
        """
        found = self.recall(digest, revision)
        return await self._load(digest, revision) if found is None else found

    async def _load(self, digest: str, revision: int) -> C | None:
        if revision != self._revision:
            self._found.clear()
            self._revision = revision
        began, now = self._clock.monotonic(), self._clock.now()
        record = await self._records.find(self._kind, digest)
        self._found.pop(digest, None)
        if record is None:
            return None
        [found] = parse_all(self._parse, [record])
        left = _REMEMBERED_SECONDS
        if found.expires is not None:
            left = min(left, (found.expires - now).total_seconds())
        if revision == self._revision:
            self._found[digest] = (began + left, found)
            if len(self._found) > _MOST_REMEMBERED:
                self._found.popitem(last=False)
        return found if left > 0 else None

    def forget(self, digest: str) -> None:
        """Ask the store again for what has a digest."""
        self._found.pop(digest, None)


class Tokens:
    """The tokens of a store."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._remembered = Remembered[Token](records, clock, TOKEN, Token.of)
        # The last day on which this process noted a use, by digest.
        self._noted: OrderedDict[str, str] = OrderedDict()

    async def find(self, text: str, revision: int) -> Token | None:
        """Return the token of a text, None if there is none, or none any more.

        What was remembered before `revision` does not count.
        """
        digest = digest_of(text)
        token = self._remembered.recall(digest, revision)
        if token is None and is_token(text):
            token = await self.find_by(digest, revision)
            if token is not None:
                await self._note_use(token, self._clock.now().date().isoformat())
        return token

    async def find_by(self, digest: str, revision: int) -> Token | None:
        """Return the token with a digest, likewise."""
        return await self._remembered.find(digest, revision)

    async def _note_use(self, token: Token, today: str) -> None:
        """Note that a token was used today, once a day and process."""
        if today in (token.used, self._noted.get(token.digest)):
            return
        self._noted[token.digest] = today
        self._noted.move_to_end(token.digest)
        if len(self._noted) > _MOST_REMEMBERED:
            self._noted.popitem(last=False)
        used = replace(token, used=today)
        # Another may have noted it, or revoked the token; and a full disk keeps nobody out.
        with suppress(RecordsChanged, StoreError):
            await self._records.apply([used.to_record(token.revision)], announced=False)


class Links:
    """The links of a store."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._remembered = Remembered[Link](records, clock, LINK, Link.of)

    async def find(self, token: str, revision: int) -> Link | None:
        """Return the link of a token, None if there is none; it may have ended.

        What was remembered before `revision` does not count.
        """
        return await self.find_by(digest_of(token), revision)

    async def find_by(self, digest: str, revision: int) -> Link | None:
        """Return the link with a digest, likewise."""
        return await self._remembered.find(digest, revision)


class Sessions:
    """The sessions of a store."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._remembered = Remembered[Session](records, clock, SESSION, Session.of)

    def new(self, account: Account, proved_at: datetime | None) -> tuple[Session, NewCookie]:
        """Return a session that is not kept yet, and its cookie.

        `proved_at` is when they gave the password, or proved otherwise who they are, if that is
        known.
        """
        now = self._clock.now()
        secret = new_secret()
        session = Session(
            digest=digest_of(secret),
            id=new_id(),
            account=account.key,
            account_id=account.id,
            epoch=account.epoch,
            begun=now,
            created=now,
            password_at=proved_at or NEVER,
            expires=now + IDLE,
        )
        return session, _cookie_of(secret, session, now)

    async def begin(
        self, account: Account, proved_at: datetime | None
    ) -> tuple[Session, NewCookie]:
        """Begin a session; return it and its cookie."""
        session, cookie = self.new(account, proved_at)
        await self._records.apply([session.to_record(ABSENT)], announced=False)
        return session, cookie

    async def note_browser(self, digest: str, browser: str) -> None:
        """Note where a session has just begun, so that people tell theirs from others.

        If that is not possible, it is not known.
        """
        with suppress(RecordsChanged, StoreError):
            record = await self._records.find(SESSION, digest)
            for session in parse_all(Session.of, [] if record is None else [record]):
                noted = replace(session, browser=browser)
                await self._records.apply([noted.to_record(session.revision)], announced=False)
                self._remembered.forget(digest)

    async def find(self, cookie: str, revision: int) -> Session | None:
        """Return the session of a cookie, None if there is none, or it has ended."""
        return await self._remembered.find(digest_of(cookie), revision)

    async def find_by(
        self, digest: str, session_id: str, account: str, revision: int
    ) -> Session | None:
        """Return a session by the digest of a cookie that it had, or by its id, likewise."""
        session = await self._remembered.find(digest, revision)
        if session is not None:
            return session
        found = [one for one in await self.list(account) if one.id == session_id]
        return max(found, key=lambda one: one.created, default=None)

    async def renew(self, session: Session) -> NewCookie | None:
        """Give a session another cookie if its own is a day old, None if it keeps it."""
        now = self._clock.now()
        if now - session.created < _RENEWED or session.expires - now <= _OVERLAP:
            return None
        try:
            return await self._replace(session, session.password_at)
        except (RecordsChanged, StoreError):
            # Another request has renewed it, and got the new cookie; a full disk ends no session.
            return None

    async def confirm(self, session: Session) -> NewCookie:
        """Note that the password was just given in a session, which gets another cookie.

        Raises:
            RecordsChanged: the session has just got another one, or has ended.
        """
        return await self._replace(session, self._clock.now())

    async def _replace(self, session: Session, password_at: datetime) -> NewCookie:
        now, secret = self._clock.now(), new_secret()
        renewed = replace(
            session,
            digest=digest_of(secret),
            created=now,
            password_at=password_at,
            expires=min(now + IDLE, session.begun + LONGEST),
        )
        # The old cookie lasts for requests that are under way, and cannot be renewed again.
        ending = session.expiring(min(session.expires, now + _OVERLAP))
        changes = [renewed.to_record(ABSENT), ending.to_record(session.revision)]
        self._remembered.forget(session.digest)
        await self._records.apply(changes, announced=False)
        return _cookie_of(secret, renewed, now)

    async def end(self, account: str, session_id: str) -> None:
        """End a session of an account, with all cookies that it has.

        Raises:
            NoSuchAccount: there is none with this id.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            ended = [one for one in await self.list(account) if one.id == session_id]
            if not ended:
                raise NoSuchAccount("There is no such session.")
            for one in ended:
                self._remembered.forget(one.digest)
            try:
                await self._records.apply([deletion_of(one) for one in ended])
                break
            except RecordsChanged:
                if attempt == _ATTEMPTS:
                    raise

    async def list(self, account: str) -> list[Session]:
        """Return the sessions of an account by its key, also those that are being replaced."""
        return parse_all(Session.of, await read_all(self._records, SESSION, account))


def _cookie_of(secret: str, session: Session, now: datetime) -> NewCookie:
    return NewCookie(secret, int((session.expires - now).total_seconds()))
