"""Digests, by which chunks and whole files are identified.

All are BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020) with its default output of 32
bytes: the value that `b3sum` prints.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from chunkstore.core.errors import ContentMismatch

DIGEST_SIZE: Final = 32
# Its name among the algorithms of checks.
BLAKE3: Final = "blake3"


@dataclass(frozen=True, slots=True)
class Digest:
    """A BLAKE3 value; `raw` is its 32 bytes.

    Raises:
        ValueError: `raw` has another length.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != DIGEST_SIZE:
            raise ValueError(f"a digest has {DIGEST_SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def of(cls, content: bytes | memoryview) -> Digest:
        """Return the digest of `content`."""
        return cls(blake3(content).digest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parse 64 hexadecimal digits.

        Raises:
            ValueError: `text` is anything else.
        """
        if len(text) != 2 * DIGEST_SIZE or not text.isalnum():
            raise ValueError(f"not {2 * DIGEST_SIZE} hexadecimal digits: {text!r}")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.raw.hex()


class ContentHasher:
    """Computes the digest of file content that arrives in pieces."""

    def __init__(self) -> None:
        self._blake3 = blake3()

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._blake3.update(piece)

    def digest(self) -> Digest:
        """Return the digest of all bytes taken so far."""
        return Digest(self._blake3.digest())


class Checksum:
    """Computes the digest of file content, as it arrives, by one of many algorithms.

    `algorithm` is a name that `hashlib` knows, or BLAKE3.
    """

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = blake3() if algorithm == BLAKE3 else hashlib.new(algorithm)

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(piece)

    @property
    def value(self) -> bytes:
        """The raw digest of all bytes taken so far."""
        return self._hash.digest()


class ContentCheck(Checksum):
    """Verifies file content, as it arrives, against a digest that the client sent with it.

    `expected` is the raw value.
    """

    def __init__(self, algorithm: str, expected: bytes) -> None:
        super().__init__(algorithm)
        self._expected = expected

    def verify(self) -> None:
        """Compare the digests, once all bytes have been taken.

        Raises:
            ContentMismatch: they differ.
        """
        require_equal(self.algorithm, self.value, self._expected)


def require_equal(algorithm: str, computed: bytes, expected: bytes) -> None:
    """Compare the digest of a content with the one that the client sent.

    Raises:
        ContentMismatch: they differ.
    """
    if not hmac.compare_digest(computed, expected):
        raise ContentMismatch(
            f"The content's {algorithm} is not the one sent with it; nothing was stored."
        )
