"""Who asks, and by what: what a request brings to prove it, and what it is found to be."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from chunkstore.core.access import OPEN, Access
from chunkstore.service.access.links import Visit
from chunkstore.service.access.values import Account

# For how long after it was given a password is recent enough to change credentials.
_RECENT: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """The request brings none."""


@dataclass(frozen=True, slots=True)
class Basic:
    """A name and a password (RFC 7617), or any name and a token in place of the password."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token (RFC 6750)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The value of the cookie of a session."""

    value: str = field(repr=False)


Credentials = NoCredentials | Basic | Bearer | SessionCookie


class Via(enum.StrEnum):
    """What a principal was recognised by."""

    NONE = "none"
    PASSWORD = "password"
    TOKEN = "token"
    SESSION = "session"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class NewCookie:
    """The value that the cookie of a session is to have from now on, "" for none."""

    value: str = field(repr=False)
    max_age_seconds: int


CLEARED: Final = NewCookie("", 0)


@dataclass(frozen=True, slots=True)
class CodeNeeded:
    """Somebody has proved who they are but for a code; until then they are nobody.

    The cookie is one by which only a code is taken.
    """

    cookie: NewCookie


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do.

    `id` is what theirs is kept under, as uploads, "" for a guest; no other account ever has it.
    `credential_id` is that of the token, session or link by which they were recognised, `digest`
    what that is found by, and `label` what it is called. `password_at` is when a session was last
    given the password. `visit` is that of somebody who came by a link.
    """

    access: Access
    via: Via = Via.NONE
    account: Account | None = None
    id: str = ""
    credential_id: str = ""
    digest: str = field(default="", repr=False)
    label: str = ""
    cookie: NewCookie | None = None
    password_at: datetime | None = None
    visit: Visit | None = None

    @property
    def is_guest(self) -> bool:
        """Whether nothing is known of who asks."""
        return self.via is Via.NONE

    def may_change_credentials(self, now: datetime) -> bool:
        """Whether they may make tokens, or change the password: in a session, who just gave it.

        So a token makes no tokens, and a session that was left open none for ever.
        """
        return (
            self.via is Via.SESSION
            and self.password_at is not None
            and timedelta(0) <= now - self.password_at < _RECENT
        )


ANYBODY: Final = Principal(OPEN)
"""Who asks at a store without accounts."""
