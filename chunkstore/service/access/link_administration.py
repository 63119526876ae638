"""Making, changing, listing and revoking links.

A link is changed by its id, and by whose it is, never by its target.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from chunkstore.core.access import words_of
from chunkstore.core.errors import (
    InvalidRequest,
    NoSuchAccount,
    NotFound,
    RecordsChanged,
    VerbLacking,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.access.account_names import parse_label
from chunkstore.service.access.clock import Clock
from chunkstore.service.access.directory import Directory, Snapshot, read_all
from chunkstore.service.access.link_uses import LinkUses, Usage
from chunkstore.service.access.links import UNLIMITED, Link, LinkKind, LinkLimits
from chunkstore.service.access.passwords import Passwords
from chunkstore.service.access.record_values import (
    LINK,
    LINK_USE,
    format_value,
    parse_all,
    parse_value,
)
from chunkstore.service.access.tokens import digest_of, new_link_token
from chunkstore.service.access.values import Account, new_id
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.records import ABSENT, DeleteRecord, PutRecord, Record, Records

# Beside the link itself, which nobody can guess.
LEAST_PASSWORD_LENGTH: Final = 8
_ATTEMPTS: Final = 5
_SECRET_BYTES: Final = 32
_POLICY: Final = ("setting", "links")


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """How long links last: by default, and at most, None for ever."""

    default: timedelta = timedelta(days=30)
    greatest: timedelta | None = timedelta(days=365)

    def end_of(self, lasting: timedelta | None, now: datetime) -> datetime | None:
        """Return when a link ends that is to last so long from now on, None for ever.

        Raises:
            InvalidRequest: that is longer than links may, or no time at all.
        """
        if lasting is not None and lasting <= timedelta(0):
            raise InvalidRequest("A link is valid for some time; one that is to end is revoked.")
        if self.greatest is not None and (lasting is None or lasting > self.greatest):
            raise InvalidRequest(f"A link can last {self.greatest.days} days at most here.")
        return None if lasting is None else now + lasting

    @classmethod
    def of(cls, record: Record) -> LinkPolicy:
        """Return the policy that a record keeps."""
        value = parse_value(record)
        greatest = value["greatest"]
        return cls(
            timedelta(seconds=value["default"]),
            None if greatest is None else timedelta(seconds=greatest),
        )

    def to_record(self) -> PutRecord:
        """Return what keeps it."""
        greatest = None if self.greatest is None else self.greatest.total_seconds()
        value = {"default": self.default.total_seconds(), "greatest": greatest}
        return PutRecord(*_POLICY, "", format_value(value))


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """A link as somebody wants it. `lasting` is for how long, None for ever; with `is_default`, it
    lasts as long as is usual.
    """

    kind: LinkKind
    target: FileName | FolderName
    label: str = ""
    lasting: timedelta | None = None
    is_default: bool = True
    follows: bool = False
    password: str | None = field(default=None, repr=False)
    limits: LinkLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was just made, and its token, which nobody can be told again."""

    token: str = field(repr=False)
    link: Link

    @property
    def path(self) -> str:
        """The path of its page, below that of the server."""
        return f"/s/{self.token}/"


class LinkAdministration:
    """The links of a store; `names` are the files that they are made of."""

    def __init__(
        self,
        records: Records,
        directory: Directory,
        passwords: Passwords,
        uses: LinkUses,
        clock: Clock,
        names: Names | None,
    ) -> None:
        self._records = records
        self._directory = directory
        self._passwords = passwords
        self._uses = uses
        self._clock = clock
        self._names = names

    async def policy(self) -> LinkPolicy:
        """Return how long links last."""
        record = await self._records.find(*_POLICY)
        return LinkPolicy() if record is None else parse_all(LinkPolicy.of, [record])[0]

    async def set_policy(self, policy: LinkPolicy) -> None:
        """Say how long links last that are made from now on, or are given another end.

        Raises:
            InvalidRequest: by default they would last longer than they may.
        """
        policy.end_of(policy.default, self._clock.now())
        await self._records.apply([policy.to_record()])

    async def add(self, name: str, wanted: LinkRequest) -> NewLink:
        """Make a link of an account.

        Raises:
            NoSuchAccount: there is no such account.
            VerbLacking: it may not share the target, or not do what the link is for.
            NotFound: the target does not exist.
            InvalidRequest: it cannot be made so.
            PasswordRefused: the password is not possible.
        """
        snapshot = await self._directory.fresh()
        account = snapshot.get(name)
        _check(wanted)
        policy, now = await self.policy(), self._clock.now()
        lasting = policy.default if wanted.is_default else wanted.lasting
        token = new_link_token()
        link = Link(
            digest=digest_of(token),
            id=new_id(),
            account=account.key,
            account_id=account.id,
            kind=wanted.kind,
            target=wanted.target,
            label=parse_label(wanted.label),
            created=now,
            ends=policy.end_of(lasting, now),
            limits=wanted.limits,
            secret=secrets.token_urlsafe(_SECRET_BYTES),
        )
        lacking = link.needed & ~snapshot.access_of(account).verbs(link.target)
        if lacking:
            raise VerbLacking(link.target, words_of(lacking))
        link = replace(
            link,
            pin=await self._pin_of(link, follows=wanted.follows),
            password=await self._hash(wanted.password),
        )
        # Nothing is left of a link that had this id before.
        stale = DeleteRecord(LINK_USE, link.id)
        await self._records.apply([link.to_record(ABSENT), stale])
        return NewLink(token, link)

    async def change(
        self, link_id: str, owner: Account | None, change: Callable[[Link], Link]
    ) -> Link:
        """Change a link by its id; with `owner`, one of this account.

        Raises:
            NoSuchAccount: there is no such link.
            RecordsChanged: others kept on changing it.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            link = await self.get(link_id, owner)
            changed = change(link)
            try:
                await self._records.apply([changed.to_record(link.revision)])
                break
            except RecordsChanged:
                if attempt == _ATTEMPTS:
                    raise
        await self._directory.reload()
        return changed

    async def set_end(self, link_id: str, owner: Account | None, lasting: timedelta | None) -> Link:
        """Have a link last so long from now on, None for ever; also one that has just ended.

        Raises: as `change`, and InvalidRequest: that is longer than links may.
        """
        ends = (await self.policy()).end_of(lasting, self._clock.now())
        await self._uses.keep(replace(await self.get(link_id, owner), ends=ends))
        return await self.change(link_id, owner, lambda link: replace(link, ends=ends))

    async def set_password(self, link_id: str, owner: Account | None, password: str | None) -> Link:
        """Give a link another password, or none: those who gave the old one are asked again.

        Raises: as `change`, and PasswordRefused: the password is not possible.
        """
        stored = await self._hash(password)
        return await self.change(link_id, owner, lambda link: replace(link, password=stored))

    async def set_follows(self, link_id: str, owner: Account | None, *, follows: bool) -> Link:
        """Have a link show whatever has the name of its file, or only what is there now.

        Raises: as `change`, and NotFound: there is no such file; InvalidRequest: it is of a folder.
        """
        link = await self.get(link_id, owner)
        if link.kind is not LinkKind.FILE:
            raise InvalidRequest("Only a link of a file is made for what is in it.")
        pin = await self._pin_of(link, follows=follows)
        return await self.change(link_id, owner, lambda link: replace(link, pin=pin))

    async def revoke(self, link_id: str, owner: Account | None = None) -> Link:
        """Revoke a link by its id; with `owner`, one of this account.

        Raises:
            NoSuchAccount: there is no such link.
        """
        link = await self.get(link_id, owner)
        await self._records.apply(
            [DeleteRecord(LINK, link.digest), DeleteRecord(LINK_USE, link.id)]
        )
        await self._directory.reload()
        return link

    async def get(self, link_id: str, owner: Account | None = None) -> Link:
        """Return a link by its id; with `owner`, one of this account.

        Raises:
            NoSuchAccount: there is no such link.
        """
        for link in await self.list(None if owner is None else owner.name):
            if link.id == link_id:
                return link
        raise NoSuchAccount("There is no such link.")

    async def list(self, name: str | None = None) -> Sequence[Link]:
        """Return all links, or those of an account, oldest first; also those that just ended.

        Raises:
            NoSuchAccount: there is no such account.
        """
        snapshot = await self._directory.current()
        owner = None if name is None else snapshot.get(name).key
        found = parse_all(Link.of, await read_all(self._records, LINK, owner))
        valid = [link for link in found if _is_of(link, snapshot)]
        return sorted(valid, key=lambda link: (link.created, link.id))

    async def usage(self, link: Link) -> Usage:
        """Return what a link was used for."""
        return await self._uses.get(link)

    async def usages(self, name: str | None = None) -> Mapping[str, Usage]:
        """Return what all links were used for, or those of an account, by their ids."""
        owner = None if name is None else (await self._directory.current()).get(name).key
        found = await read_all(self._records, LINK_USE, owner)
        usages = parse_all(Usage.of, found)
        return {record.key: usage for record, usage in zip(found, usages, strict=True)}

    async def _hash(self, password: str | None) -> str | None:
        if password is None:
            return None
        return await self._passwords.hash(password, "link", least=LEAST_PASSWORD_LENGTH)

    async def _pin_of(self, link: Link, *, follows: bool) -> str | None:
        """Return the digest of a link's file, None if it follows the name or is of a folder.

        Raises:
            NotFound: there is no such file or folder.
        """
        if self._names is None:
            raise InvalidRequest("Links are made beside the files that they are of.")
        if link.kind is not LinkKind.FILE:
            if await self._names.find(FolderName(link.target)) is None:
                raise NotFound(f"There is no folder {link.target!r} to make a link of.")
            return None
        file = await self._names.find(FileName(link.target))
        if file is None:
            raise NotFound(f"There is no file {link.target!r} to make a link of.")
        return None if follows else file.etag


def _check(wanted: LinkRequest) -> None:
    """Refuse a link that could not be what it says."""
    limits = wanted.limits
    if any(most is not None and most < 1 for most in (limits.uses, limits.files, limits.bytes)):
        raise InvalidRequest("A limit of a link is 1 or more.")
    takes_files = wanted.kind in (LinkKind.DROP, LinkKind.BOTH)
    if not takes_files and (limits.files, limits.bytes) != (None, None):
        raise InvalidRequest("Files and bytes are limits of links that take files.")
    if wanted.follows and wanted.kind is not LinkKind.FILE:
        raise InvalidRequest("Only a link of a file is made for what is in it.")


def _is_of(link: Link, snapshot: Snapshot) -> bool:
    account = snapshot.accounts.get(link.account)
    return account is not None and account.id == link.account_id
