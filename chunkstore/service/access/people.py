"""Signing in: who a request's credentials say that it is, and the sessions of browsers.

The order is the same whatever carries the credentials, and no answer tells more than that they are
not right: what costs nothing and proves enough (a token, a session, a password that was right just
now) comes before the limiter, so strangers who guess keep nobody out; all else is counted first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from chunkstore.core.access import Access
from chunkstore.core.errors import CodeRefused, SignInFailed, SignOnFailed
from chunkstore.service.access.account_names import fold
from chunkstore.service.access.administration import Administration
from chunkstore.service.access.audit import Audit, Audited, who_is, who_tries
from chunkstore.service.access.clock import Clock, SystemClock
from chunkstore.service.access.credentials import Sessions, Tokens
from chunkstore.service.access.directory import Directory, Snapshot
from chunkstore.service.access.identities import Identities
from chunkstore.service.access.limiter import Limiter
from chunkstore.service.access.link_administration import LinkAdministration
from chunkstore.service.access.oidc import Claims
from chunkstore.service.access.passwords import Passwords
from chunkstore.service.access.principal import (
    ANYBODY,
    CLEARED,
    Basic,
    Bearer,
    CodeNeeded,
    Credentials,
    NoCredentials,
    Principal,
    SessionCookie,
    Via,
)
from chunkstore.service.access.record_values import NEVER
from chunkstore.service.access.second_factors import SecondFactors
from chunkstore.service.access.sign_ins import SIGN_ON, SignIns
from chunkstore.service.access.tokens import looks_like_token
from chunkstore.service.access.values import Account, Session
from chunkstore.service.access.verifying import Verifier
from chunkstore.service.access.visiting import Visiting
from chunkstore.store.contract.audit import AuditLog
from chunkstore.store.contract.locks import Locks
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.quotas import Quotas
from chunkstore.store.contract.records import Records
from chunkstore.store.contract.store import Store

SIGN_IN: Final = "sign-in"
SIGN_IN_FAILED: Final = "sign-in failed"
_LONGEST_NAME: Final = 256


class People:
    """Those who use a store, as one process knows them: read when they are first asked for.

    Unless it `may_be_open`, nobody is let in to a store without accounts. Links are made of files
    in `names`; without these there can be none.
    """

    def __init__(
        self,
        records: Records,
        clock: Clock | None = None,
        names: Names | None = None,
        *,
        may_be_open: bool = True,
        log: AuditLog | None = None,
        audited: Audited = Audited.CLOSED,
        quotas: Quotas | None = None,
        locks: Locks | None = None,
    ) -> None:
        self.records = records
        self.quotas = quotas
        self.locks = locks
        self.audit = Audit(log, self._is_open, audited)
        self.clock = clock or SystemClock()
        self.directory = Directory(records, self.clock, may_be_open=may_be_open)
        self.passwords = Passwords(self.clock)
        self.limiter = Limiter(self.clock)
        self.sign_ins = SignIns()
        self.tokens = Tokens(records, self.clock)
        self.sessions = Sessions(records, self.clock)
        self.accounts = Administration(records, self.directory, self.passwords, self.clock)
        self.identities = Identities(records, self.directory, self.accounts, self.clock)
        self.totp = SecondFactors(
            records, self.directory, self.accounts, self.sessions, self.limiter, self.clock
        )
        self._verifier = Verifier(self.passwords, self.limiter)
        self.visiting = Visiting(records, self.directory, self._verifier, self.clock)
        self.links = LinkAdministration(
            records, self.directory, self.passwords, self.visiting.uses, self.clock, names
        )

    @classmethod
    def of(
        cls, store: Store, *, may_be_open: bool = True, audited: Audited = Audited.CLOSED
    ) -> People:
        """Return those who use a store; what they do is told in its audit log."""
        return cls(
            store.records,
            names=store.names,
            may_be_open=may_be_open,
            log=store.audit,
            audited=audited,
            quotas=store.quotas,
            locks=store.locks,
        )

    async def _is_open(self) -> bool:
        return (await self.directory.current()).is_open

    def close(self) -> None:
        """Let the threads end."""
        self.passwords.close()

    async def sign_in(self, credentials: Credentials, address: str) -> Principal:
        """Return who asks, from `address`, by what the request brings.

        A cookie that is none of a session any more is that of a guest, who loses it.

        Raises:
            SignInFailed: the credentials are not right, also where a guest could do the same.
            TooManyAttempts: too many from there, or with this name, were not right.
            SignInBusy: too many passwords are being checked.
            StoreError: the store does not tell.
        """
        snapshot = await self.directory.current()
        if snapshot.is_open:
            return ANYBODY
        match credentials:
            case NoCredentials():
                return Principal(snapshot.guest)
            case SessionCookie(value):
                return await self._by_session(value, snapshot)
            case Bearer(token) | Basic(_, token) if looks_like_token(token):
                return await self._by_token(token, address, snapshot)
            case Bearer():
                self.limiter.attempt(address)
                await self._note_failure(Via.TOKEN, address)
                raise SignInFailed
            case Basic(name, password):
                account = await self._by_password(name, password, address, snapshot)
                return _principal(account, snapshot, Via.PASSWORD)

    async def access_now(self, principal: Principal) -> Access:
        """Return what a principal may do now, who was recognised before, as at a commit.

        Raises:
            SignInFailed, NoSuchLink: what they were recognised by is not valid any more. A session
                that has got another cookie meanwhile is.
            StoreError: the store does not tell.
        """
        if principal.visit is not None:
            return await self.visiting.access_now(principal)
        snapshot = await self.directory.current()
        if principal.account is None:
            if principal.via is not Via.NONE:
                raise SignInFailed
            return snapshot.guest
        known = principal.account
        account = snapshot.find_valid(known.key, known.id)
        if account is None:
            raise SignInFailed
        match principal.via:
            case Via.TOKEN:
                token = await self.tokens.find_by(principal.digest, snapshot.revision)
                owner = None if token is None else snapshot.principal_of(token)
                if owner is not None:
                    return owner.access
            case Via.SESSION:
                session = await self.sessions.find_by(
                    principal.digest, principal.credential_id, account.key, snapshot.revision
                )
                if session is not None and _account_in(session, snapshot) is not None:
                    return snapshot.access_of(account)
            case Via.PASSWORD if account.epoch == known.epoch:
                return snapshot.access_of(account)
        raise SignInFailed

    async def log_in(
        self, name: str, password: str, address: str, next_path: str = ""
    ) -> Principal | CodeNeeded:
        """Begin a session, whose new cookie the principal has; with a second factor, wait for that.

        `next_path` is where `give_code` leads them then.

        Raises: as `sign_in`.
        """
        # Else a second factor that was just added elsewhere would not count here yet.
        snapshot = await self.directory.fresh()
        try:
            account = await self._by_password(name, password, address, snapshot, alone=False)
        except SignInFailed as error:
            raise SignInFailed("The name or the password is not right.") from error
        begun = await self._begin_session(account, self.clock.now(), next_path, snapshot)
        if isinstance(begun, Principal):
            await self.audit.note(who_is(begun, address), SIGN_IN)
        return begun

    async def give_code(self, cookie: str, code: str, address: str) -> tuple[Principal, str]:
        """Begin the session that waits with a cookie for a code; return also where it is led.

        Raises:
            SignInFailed: nothing waits with this cookie any more.
            CodeRefused: the code is not right.
            TooManyAttempts: too many were not.
        """
        try:
            begun = await self.totp.begin_session(cookie, code, address)
        except CodeRefused:
            await self.audit.note(who_tries(address, "code"), SIGN_IN_FAILED)
            raise
        account, session, new_cookie, next_path = begun
        snapshot = await self.directory.current()
        principal = replace(_in_session(account, session, snapshot), cookie=new_cookie)
        await self.audit.note(who_is(principal, address), SIGN_IN)
        return principal, next_path

    async def log_in_as(
        self, claims: Claims, address: str, next_path: str = "", *, creates: bool = False
    ) -> Principal | CodeNeeded:
        """Begin a session of somebody whom another server has signed in, like `log_in`.

        With `creates`, whoever has no account gets one, without rights.

        Raises:
            UnknownIdentity: no account is linked with them.
            SignOnFailed: the account is disabled, and stays it.
        """
        account = await self.identities.find_account(claims)
        if account is None:
            account = await self.identities.add_account(claims, creates=creates)
            who, subject = who_tries(address, SIGN_ON), claims.subject
            await self.audit.note(who, "user add", name=account.name, subject=subject)
        if account.disabled:
            raise SignOnFailed("This account is disabled; ask your administrator.")
        snapshot = await self.directory.current()
        begun = await self._begin_session(account, claims.authenticated_at, next_path, snapshot)
        if isinstance(begun, Principal):
            await self.audit.note(who_is(begun, address), SIGN_IN, by=SIGN_ON)
        return begun

    async def _begin_session(
        self, account: Account, proved_at: datetime | None, next_path: str, snapshot: Snapshot
    ) -> Principal | CodeNeeded:
        if account.totp is not None:
            return await self.totp.wait_for_code(account, proved_at or NEVER, next_path)
        session, cookie = await self.sessions.begin(account, proved_at)
        return replace(_in_session(account, session, snapshot), cookie=cookie)

    async def log_out(self, principal: Principal) -> None:
        """End the session of a principal, here and for every cookie that it had.

        Raises:
            NoSuchAccount: it has ended already.
        """
        if principal.via is Via.SESSION and principal.account is not None:
            await self.sessions.end(principal.account.key, principal.credential_id)

    async def confirm(self, cookie: str, password: str, address: str) -> Principal:
        """Note that a session was given the password again; its cookie becomes another one.

        Raises:
            RecordsChanged: the session has just got another cookie.
            SignInFailed, and more: as `sign_in`.
        """
        snapshot = await self.directory.current()
        session = await self.sessions.find(cookie, snapshot.revision)
        account = None if session is None else _account_in(session, snapshot)
        if session is None or account is None:
            raise SignInFailed
        try:
            await self._by_password(account.name, password, address, snapshot, alone=False)
        except SignInFailed as error:
            raise SignInFailed("The password is not right.") from error
        new_cookie = await self.sessions.confirm(session)
        session = replace(session, password_at=self.clock.now())
        return replace(_in_session(account, session, snapshot), cookie=new_cookie)

    async def sessions_of(self, account: Account) -> list[Session]:
        """Return the sessions of an account that have not ended, each once, newest first."""
        newest: dict[str, Session] = {}
        for session in await self.sessions.list(account.key):
            is_valid = (session.account_id, session.epoch) == (account.id, account.epoch)
            known = newest.get(session.id)
            if is_valid and (known is None or known.created < session.created):
                newest[session.id] = session
        return sorted(newest.values(), key=lambda session: session.created, reverse=True)

    async def _by_session(self, cookie: str, snapshot: Snapshot) -> Principal:
        session = await self.sessions.find(cookie, snapshot.revision)
        account = None if session is None else _account_in(session, snapshot)
        if session is not None and account is None:
            # It may have begun elsewhere with what has just changed, as a second factor.
            snapshot = await self.directory.fresh()
            account = _account_in(session, snapshot)
        if session is None or account is None:
            return Principal(snapshot.guest, cookie=CLEARED)
        new_cookie = await self.sessions.renew(session)
        return replace(_in_session(account, session, snapshot), cookie=new_cookie)

    async def _by_token(self, text: str, address: str, snapshot: Snapshot) -> Principal:
        token = await self.tokens.find(text, snapshot.revision)
        principal = None if token is None else snapshot.principal_of(token)
        if principal is None:
            self.limiter.attempt(address)
            await self._note_failure(Via.TOKEN, address)
            raise SignInFailed
        return principal

    async def _by_password(
        self, name: str, password: str, address: str, snapshot: Snapshot, *, alone: bool = True
    ) -> Account:
        """Return the account whose name and password these are; `alone`, without a second factor.

        An account that is not there, that is disabled, that has no password or needs more than one
        is not told apart from a wrong password, also not by the time that it takes.
        """
        if len(name) > _LONGEST_NAME:
            # It is no account's, whatever there is, and would take long to fold.
            self.limiter.attempt(address)
            await self._note_failure(Via.PASSWORD, address)
            raise SignInFailed
        key = fold(name)
        account, stored = snapshot.accounts.get(key), None
        if account is not None and not account.disabled and not (alone and account.totp):
            stored = account.password
        if account is not None and self.passwords.is_remembered(key, password, stored):
            return account
        if not await self._verifier.verify(key, password, stored, address) or account is None:
            # People type passwords in the place of names.
            known = "" if account is None else account.name
            await self._note_failure(Via.PASSWORD, address, account=known)
            raise SignInFailed
        if alone:
            who = who_is(_principal(account, snapshot, Via.PASSWORD), address)
            await self.audit.note(who, SIGN_IN)
        if account.totp is None:
            self.limiter.signed_in(address, key)
        if stored is not None and self.passwords.needs_rehash(stored):
            await self.accounts.rehash(account, password)
        return account

    async def _note_failure(self, via: Via, address: str, account: str = "") -> None:
        await self.audit.note(who_tries(address, via), SIGN_IN_FAILED, account=account)


def _principal(account: Account, snapshot: Snapshot, via: Via) -> Principal:
    access: Access = snapshot.access_of(account)
    return Principal(access, via, account, account.id)


def _in_session(account: Account, session: Session, snapshot: Snapshot) -> Principal:
    principal = _principal(account, snapshot, Via.SESSION)
    return replace(
        principal,
        credential_id=session.id,
        digest=session.digest,
        password_at=session.password_at,
    )


def _account_in(session: Session, snapshot: Snapshot) -> Account | None:
    """Return the account of a session, None if the session does not count any more."""
    account = snapshot.find_valid(session.account, session.account_id)
    return None if account is None or session.epoch != account.epoch else account
