"""Passwords: which can be chosen, and how they are checked.

They are kept as argon2id of 19 MiB, 2 passes, 1 lane (OWASP's first choice), which takes some tens
of milliseconds: in threads, as argon2 lets go of the interpreter, and two at once, which bounds the
memory. What waits beyond a bound is refused.

Clients of WebDAV and `curl -u` give the password with each request, so one that was right is
remembered for some minutes: by the BLAKE2b, under a key of this process (RFC 7693 §2.9), of the
name, the password and the hash that is stored. By the last, a change of the password counts at
once. HMAC-SHA-256 would take thrice the time, most of it before the first byte.

What can be chosen is as NIST SP 800-63B-4 has it: long, not common, and nothing else. It is as long
beside a second factor, where 8 characters might do: it is what is left when that is removed.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from hashlib import blake2b
from importlib.resources import files
from itertools import pairwise
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chunkstore.core.errors import PasswordRefused, SignInBusy
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.access.account_names import fold
from chunkstore.service.access.clock import Clock

T = TypeVar("T")

LEAST_LENGTH: Final = 15
MAX_SIZE: Final = 1024
# NFC shortens a text to a third at most, and takes time quadratic in its length.
MAX_UNNORMALIZED: Final = 3 * MAX_SIZE
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 32
_REMEMBERED_SECONDS: Final = 300.0
_MOST_REMEMBERED: Final = 10_000
# A part that is repeated is judged by itself if the password is so many times as long.
_REPEATED: Final = 1.5
_SHORTEST_PART: Final = 5
_OURS: Final = frozenset({"chunkstore"})
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# What a password is compared with where there is no account, so that it takes as long.
_NOBODYS: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$nBGwec5vtJfjv92lOBYJpg$"
    "Lk8GL7T1Bd+diU9QEPfBF9f+jR/EWYdezFvy4u0Izjs"
)


def require_possible(password: str, name: str, least: int = LEAST_LENGTH) -> None:
    """Check that an account of this name can have a password; its common ones are read from a file.

    Raises:
        PasswordRefused: it cannot; the message says why.
    """
    if len(password) > MAX_UNNORMALIZED:
        raise PasswordRefused(f"A password has {MAX_SIZE} bytes at most.")
    text = unicodedata.normalize("NFC", password)
    if len(text) < least:
        raise PasswordRefused(f"A password has {least} characters or more; a few words do well.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PasswordRefused("The password is not valid Unicode.") from error
    if size > MAX_SIZE:
        raise PasswordRefused(f"A password has {MAX_SIZE} bytes at most.")
    lowered = text.casefold()
    stripped = "".join(filter(str.isalpha, lowered))
    for variant in (lowered, lowered.strip("0123456789!.?-_ "), stripped):
        if variant and _is_common(variant, {*_OURS, fold(name)}):
            raise PasswordRefused("The password is one of those that are guessed first.")


def _is_common(text: str, names: set[str]) -> bool:
    part = _repeated_part(text)
    if part != text and len(part) < _SHORTEST_PART:
        return True
    return bool({text, part} & (_common_passwords() | names)) or _is_sequence(text)


def _repeated_part(text: str) -> str:
    """Return the shortest beginning of which a text consists, repeated; all of it if none is."""
    # The least shift under which the text is itself is its length without its longest border.
    borders = [0] * len(text)
    border = 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        border += text[at] == text[border]
        borders[at] = border
    period = len(text) - borders[-1]
    return text[:period] if period * _REPEATED <= len(text) else text


def _is_sequence(text: str) -> bool:
    """Whether each character follows the one before it in the alphabet, or the other way round."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    return len(text) >= _SHORTEST_PART and steps in ({1}, {-1})


@cache
def _common_passwords() -> frozenset[str]:
    text = files(__package__).joinpath("common_passwords.txt").read_text(encoding="ascii")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


class Passwords:
    """Checks and hashes passwords, as many at once as there is memory for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._unfinished = 0
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._checking: dict[bytes, asyncio.Task[bool]] = {}

    async def hash(self, password: str, name: str, *, least: int = LEAST_LENGTH) -> str:
        """Return what is stored of a password that an account of this name chooses.

        It has `least` characters or more.

        Raises:
            PasswordRefused: as `require_possible`.
            SignInBusy: too many passwords are being checked.
        """
        return await self._in_thread(partial(_check_and_hash, password, name, least))

    async def rehash(self, password: str) -> str:
        """Return what is stored of a password that was right, with the parameters of today.

        Raises:
            SignInBusy: too many passwords are being checked.
        """
        return await self._in_thread(partial(_hash, password))

    def is_remembered(self, name: str, password: str, stored: str | None) -> bool:
        """Whether `verify` would say yes without any work."""
        key = self._key_of(name, password, stored)
        return key is not None and self._is_remembered(key)

    def is_under_way(self, name: str, password: str, stored: str | None) -> bool:
        """Whether the same is being checked at the moment, so that `verify` adds no work."""
        return self._key_of(name, password, stored) in self._checking

    async def verify(self, name: str, password: str, stored: str | None) -> bool:
        """Whether a password is the one that is stored for a folded name.

        Where none is stored, and where no account is, it takes as long, and is not.

        Raises:
            SignInBusy: too many passwords are being checked.
        """
        key = self._key_of(name, password, stored)
        if key is None:
            return False
        if self._is_remembered(key):
            return True
        checking = self._checking.get(key)
        if checking is None:
            checking = asyncio.create_task(self._check(key, password, stored))
            self._checking[key] = checking
            checking.add_done_callback(lambda _: self._checking.pop(key))
            checking.add_done_callback(retrieve_exception)
        # One who is cancelled leaves it to the others.
        return await asyncio.shield(checking)

    def needs_rehash(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than those of today."""
        try:
            return _HASHER.check_needs_rehash(stored)
        except InvalidHashError:
            return False

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _key_of(self, name: str, password: str, stored: str | None) -> bytes | None:
        """Return what an answer is remembered by, None for what can be no password."""
        if len(password) > MAX_UNNORMALIZED:
            return None
        try:
            encoded = unicodedata.normalize("NFC", password).encode()
        except UnicodeEncodeError:
            return None
        if len(encoded) > MAX_SIZE:
            return None
        fields = (name.encode(), encoded, (stored or "").encode())
        message = b"".join(len(field).to_bytes(4) + field for field in fields)
        return blake2b(message, key=self._key, digest_size=32).digest()

    def _is_remembered(self, key: bytes) -> bool:
        until = self._remembered.get(key)
        if until is None:
            return False
        if until <= self._clock.monotonic():
            del self._remembered[key]
            return False
        self._remembered.move_to_end(key)
        return True

    async def _check(self, key: bytes, password: str, stored: str | None) -> bool:
        right = await self._in_thread(
            partial(_verify, stored or _NOBODYS, unicodedata.normalize("NFC", password))
        )
        if stored is None or not right:
            return False
        self._remembered[key] = self._clock.monotonic() + _REMEMBERED_SECONDS
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._unfinished >= _AT_ONCE + _MOST_WAITING:
            raise SignInBusy
        self._unfinished += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._finished)
        return await asyncio.shield(future)

    def _finished(self, future: asyncio.Future[T]) -> None:
        self._unfinished -= 1
        retrieve_exception(future)


def _check_and_hash(password: str, name: str, least: int) -> str:
    require_possible(password, name, least)
    return _hash(password)


def _hash(password: str) -> str:
    return _HASHER.hash(unicodedata.normalize("NFC", password))


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
