"""Accounts, groups, rules, tokens and sessions, and the records that keep them.

An account and a group have a random id besides their name. What is kept for one of them, as a rule
or a token, has that id too, and counts only while it fits: so nothing of a removed account ever
comes back with another of its name, whatever was added to it while it was being removed.
"""

from __future__ import annotations

import json
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from chunkstore.core.access import EVERYONE, GROUP_MARK, Verbs, format_verbs, parse_verbs
from chunkstore.core.errors import InvalidAccountName, InvalidRequest, StoreDamaged
from chunkstore.core.names import FolderName
from chunkstore.store.contract.records import DeleteRecord, Expected, PutRecord, Record

K = TypeVar("K")

ACCOUNT: Final = "account"
GROUP: Final = "group"
MEMBER: Final = "member"
RULE: Final = "rule"
TOKEN: Final = "token"
SESSION: Final = "session"
FACTOR: Final = "factor"
SIGN_IN: Final = "sign-in"
IDENTITY: Final = "identity"
LINK: Final = "link"
LINK_USE: Final = "link-use"
# What is listed by an account as its owner, and goes with it.
OF_ACCOUNT: Final = (RULE, TOKEN, SESSION, FACTOR, SIGN_IN, IDENTITY, LINK, LINK_USE)
# One record, which is there from the first account on: without it, whoever removed the last one
# would open the store to everybody.
CLOSED: Final = PutRecord("state", "closed", "", "{}")

_MAX_NAME_LENGTH: Final = 64
_LONGEST_LABEL: Final = 100
_PUNCTUATION: Final = frozenset("._-+@")
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""In the place of when something was, where it was not."""

Scope = Sequence[tuple[FolderName, Verbs]]


def parse_account_name(text: str) -> str:
    """Return the name of an account or a group in NFC, as it is shown.

    It has 1 to 64 letters, digits and characters of `._-+@`, the first a letter or a digit, also
    once it is folded.

    Raises:
        InvalidAccountName: it is none.
    """
    if len(text) > 3 * _MAX_NAME_LENGTH:
        raise InvalidAccountName(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    name = unicodedata.normalize("NFC", text)
    folded = fold(name)
    if not name or len(name) > _MAX_NAME_LENGTH:
        raise InvalidAccountName(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    if not all(_is_possible(character) for character in name + folded):
        raise InvalidAccountName
    if not (_is_alphanumeric(name[0]) and _is_alphanumeric(folded[0])):
        raise InvalidAccountName("A name begins with a letter or a digit.")
    if folded == EVERYONE:
        raise InvalidAccountName(f"`{EVERYONE}` stands for everybody, signed in or not.")
    return name


def parse_label(text: str) -> str:
    """Return a label of a token or a link; it can be shown on a terminal.

    Raises:
        InvalidRequest: it is too long, or not printable.
    """
    if len(text) > _LONGEST_LABEL or not text.isprintable():
        raise InvalidRequest(f"A label has {_LONGEST_LABEL} characters at most, all printable.")
    return text


def fold(name: str) -> str:
    """Return what two names have in common that are taken for the same: NFKC, without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_possible(character: str) -> bool:
    return character in _PUNCTUATION or unicodedata.category(character)[0] in "LNM"


def _is_alphanumeric(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


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


def format_value(value: Mapping[str, object]) -> str:
    """Return what a record keeps of a JSON object."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def parse_value(record: Record) -> dict[str, Any]:
    """Return the JSON object that a record keeps.

    Raises:
        TypeError, ValueError: it keeps none.
    """
    value = json.loads(record.value)
    if not isinstance(value, dict):
        raise TypeError(f"A record of the kind {record.kind} is no object.")
    return value


def parse_all(parse: Callable[[Record], K], records: Iterable[Record]) -> list[K]:
    """Return what records keep.

    Raises:
        StoreDamaged: one of them is not what it should be.
    """
    try:
        return [parse(record) for record in records]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoreDamaged("What is kept of accounts and rules is damaged.") from error


def to_microseconds(moment: datetime) -> int:
    """Return a moment as records keep it."""
    return (moment - NEVER) // timedelta(microseconds=1)


def to_time(microseconds: int) -> datetime:
    """Return the moment that a record keeps."""
    return NEVER + timedelta(microseconds=microseconds)
