"""Accounts, groups, rules, tokens and sessions, and the records that keep them.

An account and a group have a random id besides their name. What is kept for one of them, as a rule
or a token, has that id too, and counts only while it fits: so nothing of a removed account ever
comes back with another of its name, whatever was added to it while it was being removed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from chunkstore.core.access import GROUP_MARK, Verbs, format_verbs, parse_verbs
from chunkstore.core.names import FolderName
from chunkstore.service.access.account_names import fold, parse_account_name
from chunkstore.service.access.record_values import (
    ACCOUNT,
    GROUP,
    MEMBER,
    RULE,
    SESSION,
    TOKEN,
    format_value,
    parse_value,
    to_microseconds,
    to_time,
)
from chunkstore.store.contract.records import DeleteRecord, Expected, PutRecord, Record

Scope = Sequence[tuple[FolderName, Verbs]]


def new_id() -> str:
    """Return an id that nothing had before."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `password` is the hash of one, None if it has none, and so needs tokens.

    Sessions of another `epoch` have ended. With `totp`, the id of a second factor, a password alone
    signs nobody in.
    """

    id: str
    name: str
    created: datetime
    epoch: str
    password: str | None = field(default=None, repr=False)
    disabled: bool = False
    totp: str | None = None
    revision: int = 0

    @classmethod
    def new(cls, name: str, now: datetime) -> Account:
        """Return a new account without a password.

        Raises:
            InvalidAccountName: as `parse_account_name`.
        """
        return cls(new_id(), parse_account_name(name), now, new_id())

    @property
    def key(self) -> str:
        """The folded name, which is also the subject of its rules."""
        return fold(self.name)

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "id": self.id,
            "name": self.name,
            "created": to_microseconds(self.created),
            "epoch": self.epoch,
            "password": self.password,
            "disabled": self.disabled,
            "totp": self.totp,
        }
        return PutRecord(ACCOUNT, self.key, "", format_value(value), None, expected)

    @classmethod
    def of(cls, record: Record) -> Account:
        """Return the account that a record keeps."""
        value = parse_value(record)
        return cls(
            id=value["id"],
            name=value["name"],
            created=to_time(value["created"]),
            epoch=value["epoch"],
            password=value.get("password"),
            disabled=value.get("disabled", False),
            totp=value.get("totp"),
            revision=record.revision,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A group of accounts, written `@name`."""

    id: str
    name: str
    revision: int = 0

    @classmethod
    def new(cls, name: str) -> Group:
        """Return a new group; its name may be given with its mark.

        Raises:
            InvalidAccountName: as `parse_account_name`.
        """
        return cls(new_id(), parse_account_name(name.removeprefix(GROUP_MARK)))

    @property
    def key(self) -> str:
        """The folded name."""
        return fold(self.name)

    @property
    def subject(self) -> str:
        """The subject of its rules."""
        return GROUP_MARK + self.key

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {"id": self.id, "name": self.name}
        return PutRecord(GROUP, self.key, "", format_value(value), None, expected)

    @classmethod
    def of(cls, record: Record) -> Group:
        """Return the group that a record keeps."""
        value = parse_value(record)
        return cls(value["id"], value["name"], record.revision)


@dataclass(frozen=True, slots=True)
class Member:
    """That an account is in a group."""

    group: str
    group_id: str
    account: str
    account_id: str

    @classmethod
    def new(cls, group: Group, account: Account) -> Member:
        """Return the membership of an account."""
        return cls(group.key, group.id, account.key, account.id)

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.group} {self.account}"

    def to_record(self) -> PutRecord:
        """Return what keeps it."""
        value = {"group": self.group_id, "account": self.account_id}
        return PutRecord(MEMBER, self.key, self.group, format_value(value))

    @classmethod
    def of(cls, record: Record) -> Member:
        """Return the membership that a record keeps."""
        group, _, account = record.key.partition(" ")
        value = parse_value(record)
        return cls(group, value["group"], account, value["account"])


@dataclass(frozen=True, slots=True)
class KeptRule:
    """A rule as it is kept; `subject_id` is that of the account or group, "" for everyone."""

    subject: str
    subject_id: str
    folder: FolderName
    verbs: Verbs

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.subject} {self.folder}"

    def to_record(self) -> PutRecord:
        """Return what keeps it."""
        value = {"id": self.subject_id, "verbs": format_verbs(self.verbs)}
        return PutRecord(RULE, self.key, self.subject, format_value(value))

    @classmethod
    def of(cls, record: Record) -> KeptRule:
        """Return the rule that a record keeps."""
        subject, _, folder = record.key.partition(" ")
        value = parse_value(record)
        return cls(subject, value["id"], FolderName(folder), parse_verbs(value["verbs"]))


@dataclass(frozen=True, slots=True)
class Token:
    """A token: what it may do is what its account may, within its scope.

    `digest` is that of its text, in hexadecimal digits; `used` is the last day on which it was.
    """

    digest: str
    id: str
    account: str
    account_id: str
    label: str
    scope: Scope
    created: datetime
    expires: datetime | None
    used: str | None = None
    revision: int = 0

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "id": self.id,
            "account": self.account_id,
            "label": self.label,
            "scope": format_scope(self.scope),
            "created": to_microseconds(self.created),
            "used": self.used,
        }
        return PutRecord(
            TOKEN, self.digest, self.account, format_value(value), self.expires, expected
        )

    @classmethod
    def of(cls, record: Record) -> Token:
        """Return the token that a record keeps."""
        value = parse_value(record)
        return cls(
            digest=record.key,
            id=value["id"],
            account=record.owner,
            account_id=value["account"],
            label=value["label"],
            scope=parse_scope(value["scope"]),
            created=to_time(value["created"]),
            expires=record.expires,
            used=value.get("used"),
            revision=record.revision,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in by a browser, from `begun` on; its cookie has changed at `created`.

    It counts while its account has the `epoch` that it had when it began. `password_at` is when the
    password was last given, `browser` what it began in.
    """

    digest: str
    id: str
    account: str
    account_id: str
    epoch: str
    begun: datetime
    created: datetime
    password_at: datetime
    expires: datetime
    browser: str = ""
    revision: int = 0

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "id": self.id,
            "account": self.account_id,
            "epoch": self.epoch,
            "begun": to_microseconds(self.begun),
            "created": to_microseconds(self.created),
            "password_at": to_microseconds(self.password_at),
            "browser": self.browser,
        }
        return PutRecord(
            SESSION, self.digest, self.account, format_value(value), self.expires, expected
        )

    @classmethod
    def of(cls, record: Record) -> Session:
        """Return the session that a record keeps."""
        value = parse_value(record)
        if record.expires is None:
            raise TypeError("A session without an end.")
        return cls(
            digest=record.key,
            id=value["id"],
            account=record.owner,
            account_id=value["account"],
            epoch=value["epoch"],
            begun=to_time(value["begun"]),
            created=to_time(value["created"]),
            password_at=to_time(value["password_at"]),
            expires=record.expires,
            browser=value.get("browser", ""),
            revision=record.revision,
        )

    def expiring(self, at: datetime) -> Session:
        """Return the session with another end."""
        return replace(self, expires=at)


def deletion_of(kept: Account | Group | Token | Session) -> DeleteRecord:
    """Return what deletes one of these as it was read."""
    match kept:
        case Account():
            return DeleteRecord(ACCOUNT, kept.key, kept.revision)
        case Group():
            return DeleteRecord(GROUP, kept.key, kept.revision)
        case Token():
            return DeleteRecord(TOKEN, kept.digest, kept.revision)
        case Session():
            return DeleteRecord(SESSION, kept.digest, kept.revision)


def format_scope(scope: Scope) -> list[list[str]]:
    """Return a scope as JSON has it."""
    return [[folder, format_verbs(verbs)] for folder, verbs in scope]


def parse_scope(value: Sequence[Sequence[str]]) -> Scope:
    """Return the scope that JSON has."""
    return tuple((FolderName(folder), parse_verbs(verbs)) for folder, verbs in value)
