"""One-time codes, which an app computes of a shared secret and the time (RFC 6238, RFC 4226).

They are of the kind that every app knows: SHA-1, six digits, 30 seconds. What breaks SHA-1, two
texts of one digest, is of no use against HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b32decode, b32encode
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

_DIGITS: Final = 6
_STEP_SECONDS: Final = 30
# RFC 4226 §4: 160 bits, which are 32 characters without padding.
_SECRET_BYTES: Final = 20
# RFC 6238 §5.2: for clocks that differ, and codes that change while they are typed.
_STEPS_BESIDE: Final = 1


def new_totp_secret() -> str:
    """Return a new secret, in base32."""
    return b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def step_of(moment: datetime) -> int:
    """Return which interval of 30 seconds a moment is in."""
    return int(moment.timestamp()) // _STEP_SECONDS


def code_at(secret: str, step: int) -> str:
    """Return the code of a step (RFC 4226 §5.3)."""
    digest = hmac.digest(b32decode(secret), step.to_bytes(8), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def is_code(text: str) -> bool:
    """Whether a text has the form of a code."""
    return len(text) == _DIGITS and text.isascii() and text.isdigit()


def find_step(secret: str, code: str, moment: datetime, after: int) -> int | None:
    """Return the step behind `after` that a code is of, None if it is of none that counts now."""
    now, found = step_of(moment), None
    for step in range(now - _STEPS_BESIDE, now + _STEPS_BESIDE + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > after:
            found = step
    return found


def to_uri(secret: str, issuer: str, account: str) -> str:
    """Return what an app reads from a QR code; a colon would end the name of the issuer."""
    issuer = issuer.replace(":", " ")
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    fields = {
        "secret": secret,
        "issuer": issuer,
        "algorithm": "SHA1",
        "digits": _DIGITS,
        "period": _STEP_SECONDS,
    }
    return f"otpauth://totp/{label}?{urlencode(fields, quote_via=quote)}"
