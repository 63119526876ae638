"""Changing accounts, groups, rules and tokens.

Each change is made on what was seen: if somebody else has changed the same meanwhile, it is made
again on what is there then. The directory of this process has it when the method returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from chunkstore.core.access import EVERYTHING, GROUP_MARK, Verbs
from chunkstore.core.errors import (
    AccountExists,
    Forbidden,
    NoSuchAccount,
    RecordsChanged,
    SignInBusy,
    StoreError,
)
from chunkstore.core.names import ROOT, FolderName
from chunkstore.service.access.account_names import parse_label
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.directory import Directory, Snapshot, read_all
from chunkstore.service.access.passwords import Passwords
from chunkstore.service.access.record_values import (
    CLOSED,
    MEMBER,
    OF_ACCOUNT,
    RULE,
    SESSION,
    TOKEN,
    parse_all,
)
from chunkstore.service.access.tokens import digest_of, new_token
from chunkstore.service.access.values import (
    Account,
    Group,
    KeptRule,
    Member,
    Scope,
    Token,
    deletion_of,
    new_id,
)
from chunkstore.store.contract.records import ABSENT, DeleteRecord, RecordChange, Records

_ATTEMPTS: Final = 5

Plan = Callable[[Snapshot], Awaitable[Sequence[RecordChange]]]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, and its text, which nobody can be told again."""

    text: str = field(repr=False)
    token: Token


class Administration:
    """Changes of who may do what in a store."""

    def __init__(
        self, records: Records, directory: Directory, passwords: Passwords, clock: Clock
    ) -> None:
        self._records = records
        self._directory = directory
        self._passwords = passwords
        self._clock = clock

    async def add(self, name: str, password: str | None, *, admin: bool = False) -> Account:
        """Add an account, which closes the store if it is the first; an `admin` may do everything.

        Raises:
            InvalidAccountName, PasswordRefused: the name or the password is not possible.
            AccountExists: there is one with this name, or one that looks the same.
        """
        account = Account.new(name, self._clock.now())
        if password is not None:
            account = replace(account, password=await self._passwords.hash(password, name))

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            additions = await self.additions_of(account, snapshot)
            if not admin:
                return additions
            rule = KeptRule(account.key, account.id, ROOT, EVERYTHING)
            others = [one for one in additions if (one.kind, one.key) != (RULE, rule.key)]
            return [*others, rule.to_record()]

        await self.change(plan)
        return account

    async def additions_of(self, account: Account, snapshot: Snapshot) -> Sequence[RecordChange]:
        """Return what adds an account that may do nothing.

        Raises:
            AccountExists: there is one with this name, or one that looks the same.
        """
        if account.key in snapshot.accounts:
            raise AccountExists
        return [account.to_record(ABSENT), CLOSED, *await self._of_subject(account.key)]

    async def set_password(
        self,
        name: str,
        password: str | None,
        *,
        keep_tokens: bool = False,
        by: Account | None = None,
    ) -> None:
        """Give an account another password, or none; its sessions end, and so do its tokens.

        Raises:
            NoSuchAccount: there is no such account.
            PasswordRefused: the password is not possible.
            Forbidden: as `change`.
        """
        stored = None
        if password is not None:
            account = (await self._directory.fresh()).get(name)
            stored = await self._passwords.hash(password, account.name)

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            changed = replace(account, password=stored, epoch=new_id())
            tokens = () if keep_tokens else await self._deletions(TOKEN, account.key)
            sessions = await self._deletions(SESSION, account.key)
            return [changed.to_record(account.revision), *tokens, *sessions]

        await self.change(plan, by)

    async def rehash(self, account: Account, password: str) -> None:
        """Keep a password that is right by a hash with the parameters of today, if that works."""
        try:
            stored = await self._passwords.rehash(password)
            changed = replace(account, password=stored)
            await self._records.apply([changed.to_record(account.revision)])
            await self._directory.reload()
        except (RecordsChanged, SignInBusy, StoreError):
            return  # It is done when the password is given the next time.

    async def set_disabled(self, name: str, *, disabled: bool, by: Account | None = None) -> None:
        """Disable an account, with its tokens and sessions, or enable it again.

        Its sessions have ended then, its tokens go on.

        Raises:
            NoSuchAccount: there is no such account.
            Forbidden: as `change`.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            changed = replace(account, disabled=disabled, epoch=new_id())
            return [changed.to_record(account.revision)]

        await self.change(plan, by)

    async def remove(self, name: str, *, by: Account | None = None) -> None:
        """Remove an account, with all that it has. The store stays closed without any.

        Raises: as `set_disabled`.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            members = [member for member in snapshot.members if member.account == account.key]
            return [
                deletion_of(account),
                *await self._of_subject(account.key),
                *(DeleteRecord(MEMBER, member.key) for member in members),
            ]

        await self.change(plan, by)

    async def open_to_everybody(self) -> None:
        """Make a store that has no account any more one that is open, as it was at first.

        Raises:
            Forbidden: it has accounts.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            if snapshot.accounts:
                raise Forbidden("The store has accounts; remove them first.")
            return [DeleteRecord(CLOSED.kind, CLOSED.key)]

        await self.change(plan)

    async def add_group(self, name: str) -> Group:
        """Add a group.

        Raises:
            InvalidAccountName: the name is not possible.
            AccountExists: there is a group with this name, or one that looks the same.
        """
        group = Group.new(name)

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            if group.key in snapshot.groups:
                raise AccountExists
            return [group.to_record(ABSENT), *await self._of_subject(group.subject)]

        await self.change(plan)
        return group

    async def remove_group(self, name: str) -> None:
        """Remove a group, with its rules; its members stay what they are.

        Raises:
            NoSuchAccount: there is no such group.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            group = snapshot.get_group(name)
            members = await self._deletions(MEMBER, group.key)
            return [deletion_of(group), *await self._of_subject(group.subject), *members]

        await self.change(plan)

    async def join(self, group: str, name: str) -> None:
        """Make an account a member of a group.

        Raises:
            NoSuchAccount: there is no such group or account.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            member = Member.new(snapshot.get_group(group), snapshot.get(name))
            return [member.to_record()]

        await self.change(plan)

    async def leave(self, group: str, name: str) -> None:
        """Make an account no member of a group any more.

        Raises:
            NoSuchAccount: there is no such group or account, or it is no member.
        """

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            member = Member.new(snapshot.get_group(group), snapshot.get(name))
            if member not in snapshot.members:
                raise NoSuchAccount(f"{name} is not in the group {group}.")
            return [DeleteRecord(MEMBER, member.key)]

        await self.change(plan)

    async def allow(self, subject: str, folder: FolderName, verbs: Verbs | None) -> KeptRule:
        """Put the rule of an account, a `@group` or everyone for a folder; None removes it.

        Raises:
            NoSuchAccount: there is no such account or group, or no rule to remove.
        """
        kept: list[KeptRule] = []

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            key = snapshot.subject_of(subject)
            rule = KeptRule(key, snapshot.id_of(key), folder, verbs or Verbs(0))
            kept[:] = [rule]
            if verbs is not None:
                return [rule.to_record()]
            if not any(rule.key == other.key for other in snapshot.kept_rules):
                raise NoSuchAccount("There is no such rule.")
            return [DeleteRecord(RULE, rule.key)]

        await self.change(plan)
        return kept[0]

    async def add_token(
        self,
        name: str,
        label: str,
        scope: Scope,
        expires: datetime | None,
        *,
        by: Account | None = None,
    ) -> NewToken:
        """Make a token of an account; its label is for people, as terminals and pages show it.

        Raises:
            NoSuchAccount: there is no such account.
            InvalidRequest: the label is too long, or not printable.
            Forbidden: as `change`.
        """
        text = new_token()
        made: list[Token] = []

        async def plan(snapshot: Snapshot) -> Sequence[RecordChange]:
            account = snapshot.get(name)
            token = Token(
                digest=digest_of(text),
                id=new_id(),
                account=account.key,
                account_id=account.id,
                label=parse_label(label),
                scope=scope,
                created=self._clock.now(),
                expires=expires,
            )
            made[:] = [token]
            # Who ends all tokens of the account meanwhile finds this one too.
            return [token.to_record(ABSENT), account.to_record(account.revision)]

        await self.change(plan, by)
        return NewToken(text, made[0])

    async def tokens(self, name: str | None = None) -> list[Token]:
        """Return all tokens that have not expired, or those of an account, oldest first.

        Raises:
            NoSuchAccount: there is no such account.
        """
        snapshot = await self._directory.current()
        owner = None if name is None else snapshot.get(name).key
        found = parse_all(Token.of, await read_all(self._records, TOKEN, owner))
        valid = [token for token in found if _is_of(token, snapshot)]
        return sorted(valid, key=lambda token: (token.created, token.id))

    async def revoke_token(self, token_id: str, owner: str | None = None) -> Token:
        """Revoke a token by its id; with `owner`, one of the account of this name.

        Raises:
            NoSuchAccount: there is no such token, or account.
        """
        for token in await self.tokens(owner):
            if token.id == token_id:
                await self._records.apply([DeleteRecord(TOKEN, token.digest)])
                await self._directory.reload()
                return token
        raise NoSuchAccount("There is no such token.")

    async def change(self, plan: Plan, by: Account | None = None) -> None:
        """Make the changes that are planned on what is there; plan again if that has changed.

        `by` is the account that wants them, as it was when they signed in.

        Raises:
            RecordsChanged: others kept on changing the same.
            Forbidden: `by` has been disabled or removed meanwhile, or got another password.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            snapshot = await self._directory.reload()
            try:
                await self._records.apply(_witnessed(await plan(snapshot), by, snapshot))
                break
            except RecordsChanged:
                if attempt == _ATTEMPTS:
                    raise
        await self._directory.reload()

    async def _of_subject(self, subject: str) -> list[DeleteRecord]:
        """Return what deletes all that is kept for a subject."""
        kinds = (RULE,) if subject.startswith(GROUP_MARK) else OF_ACCOUNT
        return [one for kind in kinds for one in await self._deletions(kind, subject)]

    async def _deletions(self, kind: str, owner: str) -> list[DeleteRecord]:
        return [
            DeleteRecord(kind, record.key) for record in await read_all(self._records, kind, owner)
        ]


def _witnessed(
    changes: Sequence[RecordChange], by: Account | None, snapshot: Snapshot
) -> Sequence[RecordChange]:
    """Return changes that are made only if an account is at the commit what it was.

    So of two who put each other out at once, on two servers, one does, and the other is told; and
    whoever is put out by another password leaves no token behind, nor a password of their own.
    """
    if by is None:
        return changes
    account = snapshot.find_valid(by.key, by.id)
    if account is None or account.epoch != by.epoch:
        raise Forbidden(
            "Your account has been disabled or removed meanwhile, or its password was changed;"
            " sign in again."
        )
    witness = account.to_record(account.revision)
    if any((one.kind, one.key) == (witness.kind, witness.key) for one in changes):
        # It is changed itself, as it is expected to be.
        return changes
    return [*changes, witness]


def _is_of(token: Token, snapshot: Snapshot) -> bool:
    account = snapshot.accounts.get(token.account)
    return account is not None and account.id == token.account_id
