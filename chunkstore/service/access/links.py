"""Links, by which people without an account come to a file or a folder, as they are kept.

What somebody may do by a link is what its creator may do at that moment, narrowed to the link's
target, and only where the creator may also `share`. So whoever may forbid sharing in a folder
forbids links there, also those that are made already.

A link of a file is pinned to the digest that the file had: other content is not shown, unless the
link follows the name. Of a drop folder each visit has a folder of its own.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from chunkstore.core.access import Verbs
from chunkstore.core.errors import ChunkstoreError, StoreError, StoreFull
from chunkstore.core.names import FileName, FolderName, parent
from chunkstore.service.access.record_values import (
    LINK,
    format_value,
    parse_value,
    to_microseconds,
    to_time,
)
from chunkstore.store.contract.records import Expected, PutRecord, Record

# For so long after its end a link can be given another one.
KEPT: Final = timedelta(days=1)
_MAC_LENGTH: Final = 22
_BEFORE_MAC: Final = "~"


class LinkKind(enum.StrEnum):
    """What a link is of: a file; a folder to look into, one to put files into, or to do both."""

    FILE = "file"
    FOLDER = "folder"
    DROP = "drop"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """How often a link can be used, and what can be put by it, each None for any number."""

    uses: int | None = None
    files: int | None = None
    bytes: int | None = None


UNLIMITED: Final = LinkLimits()


@dataclass(frozen=True, slots=True)
class Link:
    """A link of `target` that an account has made, valid until it `ends`.

    `digest` is that of its token. `pin` is the digest of the content that it shows, None if it
    shows whatever has the name. `password` is the hash of one. `secret` signs what visitors bring.
    """

    digest: str = field(repr=False)
    id: str
    account: str
    account_id: str
    kind: LinkKind
    target: FileName | FolderName
    label: str
    created: datetime
    ends: datetime | None
    pin: str | None = None
    password: str | None = field(default=None, repr=False)
    limits: LinkLimits = UNLIMITED
    secret: str = field(default="", repr=False)
    revision: int = 0

    @property
    def expires(self) -> datetime | None:
        """When it is forgotten."""
        return None if self.ends is None else self.ends + KEPT

    @property
    def needed(self) -> Verbs:
        """What its creator has to be allowed with its target."""
        reading = Verbs(0) if self.kind is LinkKind.DROP else Verbs.READ
        return Verbs.SHARE | reading | (Verbs.CREATE if self.takes_files else Verbs(0))

    @property
    def takes_files(self) -> bool:
        """Whether files can be put by it, in the folder of a visit."""
        return self.kind in (LinkKind.DROP, LinkKind.BOTH)

    @property
    def folder(self) -> FolderName:
        """The folder that all it tells is relative to; of a drop, a visit's own lies in it."""
        return parent(self.target) if self.kind is LinkKind.FILE else FolderName(self.target)

    def is_valid_at(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return self.ends is None or now < self.ends

    def shares(self, own: FolderName | None) -> tuple[FolderName, Verbs]:
        """Return where its creator's rights are shared, and which; `own` is the folder of a visit.

        In the folder of a file only that file can be named (`only`).
        """
        if own is not None:
            return own, Verbs.CREATE
        match self.kind:
            case LinkKind.FILE:
                return self.folder, Verbs.READ
            case LinkKind.FOLDER | LinkKind.BOTH:
                return self.folder, Verbs.LIST | Verbs.READ
            case LinkKind.DROP:
                return self.folder, Verbs(0)

    @property
    def only(self) -> FileName | None:
        """The one file that can be named, None for any."""
        return FileName(self.target) if self.kind is LinkKind.FILE else None

    def sign(self, text: str) -> str:
        """Return what proves that a text is this server's, and of this link."""
        mac = hmac.digest(self.secret.encode(), text.encode(), "sha256")
        return base64.urlsafe_b64encode(mac).decode()[:_MAC_LENGTH]

    def signs(self, text: str, mac: str) -> bool:
        """Whether `mac` proves that."""
        return hmac.compare_digest(self.sign(text).encode(), mac.encode("utf-8", "replace"))

    @property
    def password_mark(self) -> str:
        """What is another for each password, and does not tell it."""
        return sha256((self.password or "").encode()).hexdigest()

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "id": self.id,
            "account": self.account_id,
            "kind": self.kind.value,
            "target": self.target,
            "label": self.label,
            "created": to_microseconds(self.created),
            "ends": None if self.ends is None else to_microseconds(self.ends),
            "pin": self.pin,
            "password": self.password,
            "limits": [self.limits.uses, self.limits.files, self.limits.bytes],
            "secret": self.secret,
        }
        return PutRecord(
            LINK, self.digest, self.account, format_value(value), self.expires, expected
        )

    @classmethod
    def of(cls, record: Record) -> Link:
        """Return the link that a record keeps."""
        value = parse_value(record)
        kind = LinkKind(value["kind"])
        target = value["target"]
        return cls(
            digest=record.key,
            id=value["id"],
            account=record.owner,
            account_id=value["account"],
            kind=kind,
            target=FileName(target) if kind is LinkKind.FILE else FolderName(target),
            label=value["label"],
            created=to_time(value["created"]),
            ends=None if value["ends"] is None else to_time(value["ends"]),
            pin=value["pin"],
            password=value["password"],
            limits=LinkLimits(*value["limits"]),
            secret=value["secret"],
            revision=record.revision,
        )


@dataclass(slots=True)
class FirstUse:
    """The use that was counted for a visit which a request begins, until it has put something.

    `puts` are those that have taken effect, or may have.
    """

    puts: int = 0

    @contextmanager
    def putting(self) -> Iterator[None]:
        """Count what is put within the context, unless it surely is not."""
        self.puts += 1
        try:
            yield
        except ChunkstoreError as error:
            if was_refused(error):
                self.puts -= 1
            raise


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who came by a link.

    `own` is the folder that what they put goes into, None where nothing can be put, and `name` how
    it is called in the link's; `text` is what its URLs have for it. `known_by` is by what a use is
    known to be theirs. `room` is how many bytes they can put, None for any number. `first_use` is
    that of a request which begins the visit with what it puts.
    """

    link: Link
    own: FolderName | None = None
    text: str = ""
    known_by: tuple[str, ...] = ()
    room: int | None = None
    first_use: FirstUse | None = None

    def putting(self) -> AbstractContextManager[None]:
        """Return a context in which something is put, so that the visit lasts."""
        return nullcontext() if self.first_use is None else self.first_use.putting()

    @property
    def folder(self) -> FolderName:
        """The folder that names are relative to."""
        return self.own or self.link.folder

    @property
    def id(self) -> str:
        """What is theirs is kept under this."""
        own = "" if self.own is None else self.own.removeprefix(self.link.folder)
        return f"link {self.link.id} {own}".rstrip()


def was_refused(error: ChunkstoreError) -> bool:
    """Whether what failed has surely changed nothing.

    Where the answer to a commit was lost, nobody knows.
    """
    return isinstance(error, StoreFull) or not isinstance(error, StoreError)


def format_visit(link: Link, segment: str) -> str:
    """Return what stands in URLs for the visit with a folder of this name."""
    encoded = base64.urlsafe_b64encode(segment.encode()).decode().rstrip("=")
    return encoded + _BEFORE_MAC + link.sign(f"visit {segment}")


def parse_visit(link: Link, text: str) -> str | None:
    """Return the name of a visit's folder; None if the link made no such visit."""
    encoded, _, mac = text.partition(_BEFORE_MAC)
    try:
        segment = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    return segment if link.signs(f"visit {segment}", mac) else None
