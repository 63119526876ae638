"""Second factors, and sign-ins that wait for a code, as records keep them.

A factor counts while its account names it. Its record has the last step of which a code was taken,
and is replaced only as it was read: so each code is taken once, whichever servers it is given to.
"""

from __future__ import annotations

import secrets
from base64 import b32encode
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from chunkstore.service.access.record_values import (
    FACTOR,
    SIGN_IN,
    format_value,
    parse_value,
    to_microseconds,
    to_time,
)
from chunkstore.service.access.tokens import digest_of
from chunkstore.service.access.totp import find_step, is_code
from chunkstore.store.contract.records import DeleteRecord, Expected, PutRecord, Record

_RECOVERY_CODES: Final = 10
# 80 bits, which nobody guesses, also not from their digests.
_RECOVERY_BYTES: Final = 10
_GROUP: Final = 4
_MAX_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Factor:
    """The second factor of an account: the secret of its codes.

    Codes count of steps behind `step`. `recovery` are the digests of recovery codes that are left.
    One that `expires` is not confirmed yet.
    """

    id: str
    account: str
    account_id: str
    secret: str = field(repr=False)
    step: int = 0
    recovery: tuple[str, ...] = ()
    expires: datetime | None = None
    revision: int = 0

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "account": self.account_id,
            "secret": self.secret,
            "step": self.step,
            "recovery": self.recovery,
        }
        return PutRecord(FACTOR, self.id, self.account, format_value(value), self.expires, expected)

    @classmethod
    def of(cls, record: Record) -> Factor:
        """Return the factor that a record keeps."""
        value = parse_value(record)
        return cls(
            id=record.key,
            account=record.owner,
            account_id=value["account"],
            secret=value["secret"],
            step=value["step"],
            recovery=tuple(value["recovery"]),
            expires=record.expires,
            revision=record.revision,
        )

    def taking(self, code: str, now: datetime) -> Factor | None:
        """Return what the factor is once a code was taken, None if it is none that counts.

        It may have spaces and dashes, and is one of now or one of the recovery codes.
        """
        text = normalized(code)
        if is_code(text):
            step = find_step(self.secret, text, now, self.step)
            return None if step is None else replace(self, step=step)
        digest = digest_of(text)
        if digest not in self.recovery:
            return None
        return replace(self, recovery=tuple(one for one in self.recovery if one != digest))

    def with_recovery_codes(self) -> tuple[Factor, tuple[str, ...]]:
        """Return the factor with other recovery codes, and these, which are told once."""
        texts = [
            b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode() for _ in range(_RECOVERY_CODES)
        ]
        shown = tuple(
            "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP)) for text in texts
        )
        return replace(self, recovery=tuple(map(digest_of, texts))), shown


def normalized(code: str) -> str:
    """Return a code without spaces and dashes, in capitals."""
    return "".join(code[:_MAX_LENGTH].split()).replace("-", "").upper()


@dataclass(frozen=True, slots=True)
class WaitingSignIn:
    """Somebody who gave the right password, and is nobody before they give a code too.

    It counts while its account has the `epoch` that it had. `proved_at` is when they gave the
    password, `next` where they are led afterwards.
    """

    digest: str
    account: str
    account_id: str
    epoch: str
    proved_at: datetime
    next: str
    expires: datetime
    revision: int = 0

    def to_record(self, expected: Expected) -> PutRecord:
        """Return what keeps it."""
        value = {
            "account": self.account_id,
            "epoch": self.epoch,
            "proved_at": to_microseconds(self.proved_at),
            "next": self.next,
        }
        return PutRecord(
            SIGN_IN, self.digest, self.account, format_value(value), self.expires, expected
        )

    @classmethod
    def of(cls, record: Record) -> WaitingSignIn:
        """Return the sign-in that a record keeps."""
        value = parse_value(record)
        if record.expires is None:
            raise TypeError("A sign-in without an end.")
        return cls(
            digest=record.key,
            account=record.owner,
            account_id=value["account"],
            epoch=value["epoch"],
            proved_at=to_time(value["proved_at"]),
            next=value["next"],
            expires=record.expires,
            revision=record.revision,
        )

    def deletion(self) -> DeleteRecord:
        """Return what ends it, if nothing else has."""
        return DeleteRecord(SIGN_IN, self.digest, self.revision)
