"""Second factors of accounts: adding one, giving its codes, removing it.

Whoever has one begins no session without a code, however they proved who they are; programs need
tokens. Codes can be guessed by those who have the password already, so they have an allowance of
their own, small, and from wherever they come.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from chunkstore.core.errors import (
    AlreadyExists,
    CodeRefused,
    NotFound,
    PasswordNeeded,
    RecordsChanged,
    SignInFailed,
)
from chunkstore.service.access.administration import Administration
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.credentials import Sessions
from chunkstore.service.access.directory import Directory, Snapshot, read_all
from chunkstore.service.access.factors import Factor, WaitingSignIn, normalized
from chunkstore.service.access.limiter import Limiter
from chunkstore.service.access.principal import CodeNeeded, NewCookie, Principal
from chunkstore.service.access.record_values import FACTOR, SESSION, SIGN_IN, parse_all
from chunkstore.service.access.tokens import digest_of, new_secret
from chunkstore.service.access.totp import is_code, new_totp_secret, to_uri
from chunkstore.service.access.values import Account, Session, new_id
from chunkstore.store.contract.records import ABSENT, DeleteRecord, RecordChange, Records

# How long a new factor waits for its first code, and a sign-in for one.
_UNCONFIRMED: Final = timedelta(minutes=15)
_WAITING: Final = timedelta(minutes=5)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor that counts once a code of it was given.

    `secret` is for typing into an app, in base32, `uri` the same for a QR code.
    """

    id: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A second factor that counts from now on; nobody can be told its recovery codes again."""

    recovery_codes: tuple[str, ...] = field(repr=False)
    cookie: NewCookie
    # Of the new session, the only one.
    digest: str


class SecondFactors:
    """The second factors of a store's accounts."""

    def __init__(
        self,
        records: Records,
        directory: Directory,
        accounts: Administration,
        sessions: Sessions,
        limiter: Limiter,
        clock: Clock,
    ) -> None:
        self._records = records
        self._directory = directory
        self._accounts = accounts
        self._sessions = sessions
        self._limiter = limiter
        self._clock = clock

    async def begin(self, principal: Principal, place: str = "chunkstore") -> Enrolment:
        """Make a secret for an account that has none yet; `place` is what apps call the server.

        Raises:
            PasswordNeeded: they have not just signed in.
            AlreadyExists: the account has a second factor; it has to be removed first.
            RecordsChanged: they do the same elsewhere.
        """
        account = await self._account_of(principal)
        _require_none(account)
        factor = Factor(
            id=new_id(),
            account=account.key,
            account_id=account.id,
            secret=new_totp_secret(),
            expires=self._clock.now() + _UNCONFIRMED,
        )
        unfinished = [
            DeleteRecord(FACTOR, record.key, record.revision)
            for record in await read_all(self._records, FACTOR, account.key)
            if record.expires is not None
        ]
        await self._records.apply([factor.to_record(ABSENT), *unfinished], announced=False)
        return Enrolment(factor.id, factor.secret, to_uri(factor.secret, place, account.name))

    async def confirm(self, principal: Principal, factor_id: str, code: str) -> Enrolled:
        """Have a new factor count, by its first code. All other sessions of the account end.

        Raises:
            PasswordNeeded, AlreadyExists: as `begin`.
            NotFound: nobody began it for this account, or too long ago.
            CodeRefused: the code is not right.
            TooManyAttempts: too many were not.
        """
        account = await self._account_of(principal)
        _require_none(account)
        factor = await self._find(factor_id, account)
        if factor is None:
            raise NotFound("This second factor is not there any more; begin again.")
        taken = self._take(account, factor, code)
        confirmed, codes = replace(taken, expires=None).with_recovery_codes()
        changed = replace(account, totp=factor.id, epoch=new_id())
        session, cookie = self._sessions.new(changed, principal.password_at)
        ended = [
            DeleteRecord(SESSION, record.key)
            for record in await read_all(self._records, SESSION, account.key)
        ]
        await self._make(
            changed.to_record(account.revision),
            confirmed.to_record(factor.revision),
            session.to_record(ABSENT),
            *ended,
        )
        return Enrolled(codes, cookie, session.digest)

    async def remove(self, principal: Principal, code: str) -> None:
        """Remove the second factor of an account, which it gives a last code of.

        Raises:
            PasswordNeeded: they have not just signed in.
            NotFound: there is none.
            CodeRefused, TooManyAttempts: as `confirm`.
        """
        account = await self._account_of(principal)
        factor = await self._get(account)
        self._take(account, factor, code)
        await self._make(
            replace(account, totp=None).to_record(account.revision),
            DeleteRecord(FACTOR, factor.id, factor.revision),
        )

    async def remove_of(self, name: str) -> None:
        """Remove the second factor of an account whose owner has lost it.

        Raises:
            NoSuchAccount: there is no such account.
            NotFound: it has no second factor.
        """

        async def plan(snapshot: Snapshot) -> list[RecordChange]:
            account = snapshot.get(name)
            if account.totp is None:
                raise NotFound(f"{name} has no second factor.")
            changed = replace(account, totp=None)
            return [changed.to_record(account.revision), DeleteRecord(FACTOR, account.totp)]

        await self._accounts.change(plan)

    async def renew_recovery_codes(self, principal: Principal, code: str) -> tuple[str, ...]:
        """Return other recovery codes, in the place of those that were there.

        Raises: as `remove`.
        """
        account = await self._account_of(principal)
        factor = await self._get(account)
        renewed, codes = self._take(account, factor, code).with_recovery_codes()
        await self._make(renewed.to_record(factor.revision))
        return codes

    async def recovery_codes_left(self, account: Account) -> int | None:
        """Return how many recovery codes an account has, None if it has no second factor."""
        if account.totp is None:
            return None
        factor = await self._find(account.totp, account)
        return 0 if factor is None else len(factor.recovery)

    async def wait_for_code(
        self, account: Account, proved_at: datetime, next_path: str
    ) -> CodeNeeded:
        """Return the cookie of somebody who has proved who they are but for a code."""
        secret = new_secret()
        waiting = WaitingSignIn(
            digest=digest_of(secret),
            account=account.key,
            account_id=account.id,
            epoch=account.epoch,
            proved_at=proved_at,
            next=next_path,
            expires=self._clock.now() + _WAITING,
        )
        await self._records.apply([waiting.to_record(ABSENT)], announced=False)
        return CodeNeeded(NewCookie(secret, int(_WAITING.total_seconds())))

    async def begin_session(
        self, cookie: str, code: str, address: str
    ) -> tuple[Account, Session, NewCookie, str]:
        """Begin the session that waits for a code; return where it is led with it.

        Raises:
            SignInFailed: nothing waits with this cookie any more.
            CodeRefused, TooManyAttempts: as `confirm`.
        """
        waiting = await self._find_waiting(cookie, await self._directory.fresh())
        if waiting is None:
            raise SignInFailed("Your sign-in took too long, or has ended; begin again.")
        account, sign_in = waiting
        attempt = self._limiter.attempt(address)
        factor = await self._get(account)
        taken = self._take(account, factor, code)
        session, new_cookie = self._sessions.new(account, sign_in.proved_at)
        await self._make(
            taken.to_record(factor.revision),
            sign_in.deletion(),
            session.to_record(ABSENT),
            announced=False,
        )
        self._limiter.succeeded(attempt)
        self._limiter.signed_in(address, account.key)
        return account, session, new_cookie, sign_in.next

    def _take(self, account: Account, factor: Factor, code: str) -> Factor:
        # Nobody guesses a recovery code, so these are left to who is kept waiting by guesses.
        if is_guessable := is_code(normalized(code)):
            self._limiter.attempt_code(account.key)
        taken = factor.taking(code, self._clock.now())
        if taken is None:
            _logger.warning("%s gave a code that is not right.", account.name)
            raise CodeRefused
        if is_guessable:
            self._limiter.code_was_right(account.key)
        return taken

    async def _make(self, *changes: RecordChange, announced: bool = True) -> None:
        """Make changes with which a code is taken.

        Raises:
            CodeRefused: the same code, or another, was taken meanwhile.
        """
        try:
            await self._records.apply(changes, announced=announced)
        except RecordsChanged as error:
            raise CodeRefused from error
        if announced:
            await self._directory.reload()

    async def _account_of(self, principal: Principal) -> Account:
        if not principal.may_change_credentials(self._clock.now()) or principal.account is None:
            raise PasswordNeeded
        known = principal.account
        account = (await self._directory.reload()).find_valid(known.key, known.id)
        if account is None or account.epoch != known.epoch:
            raise PasswordNeeded
        return account

    async def _get(self, account: Account) -> Factor:
        factor = None if account.totp is None else await self._find(account.totp, account)
        if factor is None:
            raise NotFound("There is no second factor.")
        return factor

    async def _find(self, factor_id: str, account: Account) -> Factor | None:
        record = await self._records.find(FACTOR, factor_id)
        if record is None or record.owner != account.key:
            return None
        [factor] = parse_all(Factor.of, [record])
        return factor if factor.account_id == account.id else None

    async def _find_waiting(
        self, cookie: str, snapshot: Snapshot
    ) -> tuple[Account, WaitingSignIn] | None:
        record = await self._records.find(SIGN_IN, digest_of(cookie))
        if record is None:
            return None
        [waiting] = parse_all(WaitingSignIn.of, [record])
        account = snapshot.find_valid(waiting.account, waiting.account_id)
        if account is None or account.totp is None or account.epoch != waiting.epoch:
            return None
        return (account, waiting) if waiting.expires > self._clock.now() else None


def _require_none(account: Account) -> None:
    if account.totp is not None:
        raise AlreadyExists("There is a second factor; remove it first.")
