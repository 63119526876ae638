"""Accounts, groups and rules in memory, as they are at one moment.

All of them are read when the store opens, and again when the revision of its records has moved.
That is asked for at most once a second, when somebody wants to know who may do what. So a change
holds everywhere within two seconds, and at once in the process that made it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from chunkstore.core.access import EVERYONE, GROUP_MARK, OPEN, Access, Grant, Rule, Rules
from chunkstore.core.errors import NoSuchAccount
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.access.account_names import fold
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.links import Visit
from chunkstore.service.access.principal import Principal, Via
from chunkstore.service.access.record_values import ACCOUNT, CLOSED, GROUP, MEMBER, RULE, parse_all
from chunkstore.service.access.values import Account, Group, KeptRule, Member, Token
from chunkstore.store.contract.records import Record, Records

_ASKED_SECONDS: Final = 1.0
_PAGE: Final = 1000
_MOST_READINGS: Final = 4
_MOST_ACCESSES: Final = 10_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """Accounts and groups by their folded names, and the rules that hold, at one moment.

    The store is open to everybody until it has been `closed` by its first account.
    """

    revision: int
    closed: bool
    accounts: Mapping[str, Account]
    groups: Mapping[str, Group]
    members: Sequence[Member]
    kept_rules: Sequence[KeptRule]
    # The rights of those who have asked: one object for each, as long as nothing changes.
    _accesses: dict[str, Access] = field(default_factory=dict, init=False, repr=False)
    _principals: dict[str, Principal] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _groups_of(self) -> Mapping[str, tuple[str, ...]]:
        groups_of: dict[str, tuple[str, ...]] = {}
        for member in self.members:
            subject = self.groups[member.group].subject
            groups_of[member.account] = (*groups_of.get(member.account, ()), subject)
        return groups_of

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, as there never was an account."""
        return not self.closed and not self.accounts

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return {account.id: account.name for account in self.accounts.values()}

    @cached_property
    def rules(self) -> Rules:
        """The rules, to be asked about names."""
        return Rules(Rule(kept.subject, kept.folder, kept.verbs) for kept in self.kept_rules)

    @cached_property
    def guest(self) -> Access:
        """The rights of everyone."""
        return OPEN if self.is_open else Access((Grant(self.rules, (EVERYONE,)),))

    def name_of(self, account_id: str) -> str | None:
        """Return the name of the account with an id, None if there is none any more."""
        return self._names.get(account_id)

    def access_of(self, account: Account) -> Access:
        """Return the rights of an account, which are those of everyone once it is disabled."""
        if self.is_open or not self.is_valid(account):
            return self.guest
        access = self._accesses.get(account.key)
        if access is None:
            access = Access((Grant(self.rules, self.subjects_of(account)),))
            self._accesses[account.key] = access
        return access

    def principal_of(self, token: Token) -> Principal | None:
        """Return who has a token, None if its account is gone or disabled."""
        principal = self._principals.get(token.digest)
        if principal is None:
            account = self.find_valid(token.account, token.account_id)
            if account is None:
                return None
            access = self.access_of(account).narrowed(token.scope)
            principal = Principal(
                access, Via.TOKEN, account, account.id, token.id, token.digest, token.label
            )
            self._principals[token.digest] = principal
        return principal

    def access_of_visit(self, visit: Visit, account: Account) -> Access:
        """Return the rights of somebody who came by a link that an account has made."""
        # No account has a name with a space.
        key = f"{visit.link.digest} {visit.text}"
        access = self._accesses.get(key)
        if access is None:
            if len(self._accesses) > _MOST_ACCESSES:
                self._accesses.clear()
            access = self.access_of(account).shared(*visit.link.shares(visit.own))
            self._accesses[key] = access
        return access

    def subjects_of(self, account: Account) -> tuple[str, ...]:
        """Return whose rules hold for an account."""
        return (account.key, *self._groups_of.get(account.key, ()), EVERYONE)

    def find(self, name: str) -> Account | None:
        """Return the account of a name, however that is written; None if there is none."""
        return self.accounts.get(fold(name))

    def get(self, name: str) -> Account:
        """Return the account of a name, however that is written.

        Raises:
            NoSuchAccount: there is none.
        """
        account = self.find(name)
        if account is None:
            raise NoSuchAccount(f"There is no account {name}.")
        return account

    def get_group(self, name: str) -> Group:
        """Return the group of a name, with its mark or without.

        Raises:
            NoSuchAccount: there is none.
        """
        group = self.groups.get(fold(name.removeprefix(GROUP_MARK)))
        if group is None:
            raise NoSuchAccount(f"There is no group {name}.")
        return group

    def subject_of(self, name: str) -> str:
        """Return an account, a `@group` or everyone as rules have it.

        Raises:
            NoSuchAccount: there is no such account or group.
        """
        if name == EVERYONE:
            return EVERYONE
        return self.get_group(name).subject if name.startswith(GROUP_MARK) else self.get(name).key

    def id_of(self, subject: str) -> str:
        """Return the id of a subject, "" for everyone."""
        if subject == EVERYONE:
            return ""
        if subject.startswith(GROUP_MARK):
            return self.groups[subject.removeprefix(GROUP_MARK)].id
        return self.accounts[subject].id

    def find_valid(self, key: str, account_id: str) -> Account | None:
        """Return the account that something is kept for, None if it is gone or disabled."""
        account = self.accounts.get(key)
        if account is None or account.id != account_id or account.disabled:
            return None
        return account

    def is_valid(self, account: Account) -> bool:
        """Whether an account is still there, and not disabled."""
        return self.find_valid(account.key, account.id) is not None


class Directory:
    """The present snapshot of a store's accounts, groups and rules, read when first asked for.

    Unless it `may_be_open`, a store without accounts counts as closed: nobody is let in.
    """

    def __init__(self, records: Records, clock: Clock, *, may_be_open: bool = True) -> None:
        self.may_be_open = may_be_open
        self._records = records
        self._clock = clock
        self._snapshot: Snapshot | None = None
        # When what is in the snapshot was last known to be so.
        self._known_at = clock.monotonic()
        self._asking: asyncio.Task[Snapshot] | None = None
        # Who asks what holds now: those that have been asked, and those that wait until they are.
        self._freshening: asyncio.Task[Snapshot] | None = None
        self._waiting: asyncio.Task[Snapshot] | None = None

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that was read last, however old it is; None if none was."""
        return self._snapshot

    async def current(self) -> Snapshot:
        """Return a snapshot that is at most a second old.

        Raises:
            StoreError: the store does not tell; so nobody can be let in.
        """
        snapshot = self._snapshot
        if snapshot is not None and self._clock.monotonic() - self._known_at < _ASKED_SECONDS:
            return snapshot
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(snapshot))
            self._asking.add_done_callback(self._ended)
        return await asyncio.shield(self._asking)

    async def fresh(self) -> Snapshot:
        """Return the same as `reload`, read only if there are any changes.

        However many ask at once, as anybody may who signs in, two questions do for them.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._ask_after(self._freshening))
            self._waiting.add_done_callback(retrieve_exception)
        return await asyncio.shield(self._waiting)

    async def reload(self) -> Snapshot:
        """Return a snapshot that has all changes that were made before."""
        return await self._ask(None)

    async def _ask_after(self, before: asyncio.Task[Snapshot] | None) -> Snapshot:
        """Ask once what was asked before has ended, for all who have come until then."""
        if before is not None:
            await asyncio.wait([before])
        self._freshening, self._waiting = self._waiting, None
        return await self._ask(self._snapshot)

    def _ended(self, task: asyncio.Task[Snapshot]) -> None:
        self._asking = None
        retrieve_exception(task)

    async def _ask(self, known: Snapshot | None) -> Snapshot:
        """Read everything, unless nothing has changed since what is known."""
        began = self._clock.monotonic()
        if known is None or await self._records.revision() != known.revision:
            known = self._closed(await read_snapshot(self._records))
        if self._snapshot is None or began >= self._known_at:
            self._snapshot, self._known_at = known, began
        # Else another has read more lately, and been faster.
        return self._snapshot

    def _closed(self, snapshot: Snapshot) -> Snapshot:
        if self.may_be_open or not snapshot.is_open:
            return snapshot
        _logger.warning(
            "The store has no accounts, and others than this machine can reach the server: nobody"
            " is let in before `chunkstore user add`, or a start with --open."
        )
        return replace(snapshot, closed=True)


async def read_snapshot(records: Records) -> Snapshot:
    """Return all accounts, groups and rules of a store, as they are at one moment.

    While they change all the time, what was read in pieces has to do: its revision is that from
    before, so it is read again.

    Raises:
        StoreDamaged: a record has what it cannot have.
    """
    for _ in range(_MOST_READINGS):
        revision = await records.revision()
        closed = await records.find(CLOSED.kind, CLOSED.key) is not None
        found = {kind: await read_all(records, kind) for kind in (ACCOUNT, GROUP, MEMBER, RULE)}
        if await records.revision() == revision:
            break
    accounts = {account.key: account for account in parse_all(Account.of, found[ACCOUNT])}
    groups = {group.key: group for group in parse_all(Group.of, found[GROUP])}
    members = _valid_members(parse_all(Member.of, found[MEMBER]), accounts, groups)
    rules = _valid_rules(parse_all(KeptRule.of, found[RULE]), accounts, groups)
    return Snapshot(revision, closed, accounts, groups, members, rules)


async def read_all(records: Records, kind: str, owner: str | None = None) -> list[Record]:
    """Return all records of a kind, or those of an owner."""
    found: list[Record] = []
    while page := await records.list(kind, owner, found[-1].key if found else "", _PAGE):
        found += page
        if len(page) < _PAGE:
            break
    return found


def _valid_members(
    members: Iterable[Member], accounts: Mapping[str, Account], groups: Mapping[str, Group]
) -> list[Member]:
    return [
        member
        for member in members
        if member.account in accounts
        and accounts[member.account].id == member.account_id
        and member.group in groups
        and groups[member.group].id == member.group_id
    ]


def _valid_rules(
    rules: Iterable[KeptRule], accounts: Mapping[str, Account], groups: Mapping[str, Group]
) -> list[KeptRule]:
    ids = {account.key: account.id for account in accounts.values()}
    ids |= {group.subject: group.id for group in groups.values()}
    ids[EVERYONE] = ""
    return [rule for rule in rules if ids.get(rule.subject) == rule.subject_id]
