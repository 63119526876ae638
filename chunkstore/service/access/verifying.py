"""Checking a password that somebody gives, of an account or a link: each attempt is limited."""

from __future__ import annotations

from dataclasses import dataclass

from chunkstore.core.errors import SignInBusy
from chunkstore.service.access.limiter import Limiter
from chunkstore.service.access.passwords import Passwords


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks passwords, of which not many can be tried."""

    passwords: Passwords
    limiter: Limiter

    async def verify(self, key: str, password: str, stored: str | None, address: str) -> bool:
        """Whether a password is right, which is an attempt of an address about a key.

        Requests at once that give the same, as a client's first ones do, are one attempt.

        Raises:
            TooManyAttempts: there were too many.
            SignInBusy: too many passwords are being checked.
        """
        if self.passwords.is_under_way(key, password, stored):
            return await self.passwords.verify(key, password, stored)
        attempt = self.limiter.attempt(address, key)
        try:
            is_right = await self.passwords.verify(key, password, stored)
        except SignInBusy:
            # Nothing was tried.
            self.limiter.succeeded(attempt)
            raise
        if is_right:
            self.limiter.succeeded(attempt)
        return is_right
