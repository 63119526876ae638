"""Identities: which account is whose that another server signs in.

Somebody there is the pair of issuer and subject, never an e-mail address or a name, which pass from
one to another. Each is a record under the digest of the pair, so it is one account's at most.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chunkstore.core.errors import (
    AccountExists,
    InvalidAccountName,
    InvalidRequest,
    NoSuchAccount,
    UnknownIdentity,
)
from chunkstore.service.access.administration import Administration
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.directory import Directory, Snapshot, read_all
from chunkstore.service.access.oidc import Claims, check_issuer, is_subject
from chunkstore.service.access.record_values import (
    IDENTITY,
    SESSION,
    format_value,
    parse_all,
    parse_value,
    to_microseconds,
    to_time,
)
from chunkstore.service.access.tokens import digest_of
from chunkstore.service.access.values import Account, new_id
from chunkstore.store.contract.records import (
    ABSENT,
    DeleteRecord,
    Expected,
    PutRecord,
    Record,
    RecordChange,
    Records,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """That an account is of somebody whom another server signs in."""

    issuer: str
    subject: str
    account: str
    account_id: str
    linked: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """The key of its record."""
        return _key_of(self.issuer, self.subject)

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "issuer": self.issuer,
            "subject": self.subject,
            "account": self.account_id,
            "linked": to_microseconds(self.linked),
        }
        return PutRecord(IDENTITY, self.key, self.account, format_value(value), None, expected)

    @classmethod
    def of(cls, record: Record) -> Identity:
        """Return the identity that a record keeps."""
        value = parse_value(record)
        return cls(
            issuer=value["issuer"],
            subject=value["subject"],
            account=record.owner,
            account_id=value["account"],
            linked=to_time(value["linked"]),
            revision=record.revision,
        )


class Identities:
    """The identities of a store's accounts."""

    def __init__(
        self, records: Records, directory: Directory, accounts: Administration, clock: Clock
    ) -> None:
        self._records = records
        self._directory = directory
        self._accounts = accounts
        self._clock = clock

    async def find_account(self, claims: Claims) -> Account | None:
        """Return whose account it is, also if it is disabled; None if it is nobody's."""
        return await self._find_account(claims, await self._directory.reload())

    async def add_account(self, claims: Claims, *, creates: bool) -> Account:
        """Return a new account for somebody who has none; without `creates` there is none.

        Raises:
            UnknownIdentity: there can be none; the message has what to tell who can link it.
        """
        snapshot = await self._directory.current()
        # A store without accounts is open, and closed by its administrator alone.
        if not creates or claims.name is None or snapshot.is_open:
            raise UnknownIdentity(_unknown(claims, "No account here is linked with you."))
        try:
            return await self._create(claims, claims.name)
        except (AccountExists, InvalidAccountName) as error:
            # Another request may have been faster.
            account = await self._find_account(claims, await self._directory.reload())
            if account is not None:
                return account
            why = f"There can be no new account with your name, {claims.name[:100]!a}."
            raise UnknownIdentity(_unknown(claims, why)) from error

    async def link(
        self, name: str, issuer: str, subject: str, *, by: Account | None = None
    ) -> Identity:
        """Link an account with somebody whom another server signs in.

        Raises:
            NoSuchAccount: there is no such account.
            AccountExists: another account is linked with them.
            InvalidRequest: the issuer is no URL, or the subject none.
            Forbidden: as `Administration.change`.
        """
        try:
            check_issuer(issuer)
        except ValueError as error:
            raise InvalidRequest(f"{error}.") from error
        if not is_subject(subject):
            raise InvalidRequest("A subject has 1 to 255 characters of ASCII.")
        made: list[Identity] = []

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            made[:] = [Identity(issuer, subject, account.key, account.id, self._clock.now())]
            kept = await self._find(issuer, subject)
            if kept is not None and _is_of(kept, snapshot):
                if kept.account_id == account.id:
                    return []
                other = snapshot.accounts[kept.account].name
                raise AccountExists(f"The account {other} is linked with them; unlink it first.")
            return [made[0].to_record(ABSENT if kept is None else kept.revision)]

        await self._accounts.change(plan, by)
        return made[0]

    async def unlink(self, name: str, *, by: Account | None = None) -> list[Identity]:
        """Have no other server sign an account in any more; its sessions end.

        Raises:
            NoSuchAccount: there is no such account, or it is not linked.
            Forbidden: as `Administration.change`.
        """
        ended: list[Identity] = []

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            ended[:] = await self.all_of(account)
            if not ended:
                raise NoSuchAccount(f"{name} is not linked.")
            changed = replace(account, epoch=new_id())
            return [
                changed.to_record(account.revision),
                *(DeleteRecord(IDENTITY, one.key) for one in ended),
                *(
                    DeleteRecord(SESSION, record.key)
                    for record in await read_all(self._records, SESSION, account.key)
                ),
            ]

        await self._accounts.change(plan, by)
        return ended

    async def all_of(self, account: Account | None = None) -> list[Identity]:
        """Return the identities of an account, or of all."""
        snapshot = await self._directory.current()
        owner = None if account is None else account.key
        found = parse_all(Identity.of, await read_all(self._records, IDENTITY, owner))
        valid = [one for one in found if _is_of(one, snapshot)]
        return sorted(valid, key=lambda one: (one.account, one.linked))

    async def _create(self, claims: Claims, name: str) -> Account:
        account = Account.new(name, self._clock.now())
        identity = Identity(
            claims.issuer, claims.subject, account.key, account.id, self._clock.now()
        )

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            kept = await self._find(claims.issuer, claims.subject)
            if kept is not None and _is_of(kept, snapshot):
                raise AccountExists
            changes = await self._accounts.additions_of(account, snapshot)
            others = [one for one in changes if (one.kind, one.key) != (IDENTITY, identity.key)]
            return [*others, identity.to_record(ABSENT if kept is None else kept.revision)]

        await self._accounts.change(plan)
        return (await self._directory.current()).accounts[account.key]

    async def _find_account(self, claims: Claims, snapshot: Snapshot) -> Account | None:
        identity = await self._find(claims.issuer, claims.subject)
        if identity is None or not _is_of(identity, snapshot):
            return None
        return snapshot.accounts[identity.account]

    async def _find(self, issuer: str, subject: str) -> Identity | None:
        record = await self._records.find(IDENTITY, _key_of(issuer, subject))
        if record is None:
            return None
        [identity] = parse_all(Identity.of, [record])
        return identity


def _key_of(issuer: str, subject: str) -> str:
    return digest_of(json.dumps([issuer, subject]))


def _is_of(identity: Identity, snapshot: Snapshot) -> bool:
    account = snapshot.accounts.get(identity.account)
    return account is not None and account.id == identity.account_id


def _unknown(claims: Claims, why: str) -> str:
    return (
        f"{why} Tell your administrator who you are there: the issuer {claims.issuer} and the"
        f" subject {claims.subject}."
    )
