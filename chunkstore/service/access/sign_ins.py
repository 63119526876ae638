"""How often somebody has signed in, by what, and what came of it; who failed is in the log.

A line of the log has the address of the client and nothing that they sent: people type passwords
in the place of names.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chunkstore.core.errors import (
    ChunkstoreError,
    CodeRefused,
    InsecureLogin,
    ProviderUnavailable,
    SignInBusy,
    SignInFailed,
    SignOnFailed,
    TooManyAttempts,
    UnknownIdentity,
)
from chunkstore.service.access.principal import Basic, Bearer, Credentials, Via
from chunkstore.service.access.tokens import looks_like_token

# By a password on the page, by another server, and by the code behind either: they begin sessions.
FORM: Final = "form"
SIGN_ON: Final = "sign-on"
CODE: Final = "code"
METHODS: Final = (*(via.value for via in Via if via is not Via.NONE), FORM, SIGN_ON, CODE)
# What signing in fails with.
FAILURES: Final = (
    CodeRefused,
    InsecureLogin,
    ProviderUnavailable,
    SignInBusy,
    SignInFailed,
    SignOnFailed,
    TooManyAttempts,
    UnknownIdentity,
)
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
_RESULTS: Final = {
    TooManyAttempts: "limited",
    SignInBusy: "busy",
    InsecureLogin: "insecure",
    ProviderUnavailable: "unavailable",
}
RESULTS: Final = (ACCEPTED, REFUSED, *_RESULTS.values())

_logger = logging.getLogger(__name__)


def method_of(credentials: Credentials | None) -> str:
    """Return by what somebody wants to sign in; None is something malformed."""
    match credentials:
        case Bearer():
            return Via.TOKEN
        case Basic(_, password) if looks_like_token(password):
            return Via.TOKEN
    return Via.PASSWORD


class SignIns:
    """Counts of a process, by method and result."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def counting(self, method: str, address: str) -> Iterator[None]:
        """Count what comes of signing in within the context."""
        try:
            yield
        except FAILURES as error:
            self.failed(method, error, address)
            raise
        self.accepted(method)

    def accepted(self, method: str) -> None:
        """Count somebody who was recognised."""
        self.counts[method, ACCEPTED] += 1

    def failed(self, method: str, error: ChunkstoreError, address: str) -> None:
        """Count somebody who was not, and tell from where they asked."""
        result = _RESULTS.get(type(error), REFUSED)
        self.counts[method, result] += 1
        # A busy server is nobody's fault.
        away = isinstance(error, SignInBusy | ProviderUnavailable)
        level = logging.INFO if away else logging.WARNING
        fields = {"event": "sign-in", "by": method, "result": result, "remote": address}
        _logger.log(
            level, "Sign-in by %s %s from %s", method, result, address, extra={"fields": fields}
        )
