"""The certificate of the server, and its renewal while the server runs.

A pair of files is loaded into a context of its own. Only if that succeeds, connections that come
later use this context; those that there are keep theirs. So a pair that does not fit, or of which
one file is not written yet, changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from chunkstore.core.errors import ChunkstoreError

# How long both files have to stay as they are before they are loaded.
DEFAULT_REST_SECONDS: Final = 2.0
_PROTOCOLS: Final = ("http/1.1",)

# Tags of X.690: the version of a certificate, and a year of two digits.
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17

_Stamp: TypeAlias = tuple[int, int, int]

_logger = logging.getLogger(__name__)


class CertificateUnusable(ChunkstoreError):
    """The certificate and its key cannot be used."""


class Certificate:
    """A certificate with its chain in the PEM file `chain`, and its private key in `key`.

    Raises:
        CertificateUnusable: a file cannot be read, or they are no pair.
    """

    def __init__(
        self, chain: Path, key: Path, *, rest_seconds: float = DEFAULT_REST_SECONDS
    ) -> None:
        self._chain = chain
        self._key = key
        self._rest_seconds = rest_seconds
        self._tried = self._stamps()
        self._context, self._not_after = self._load()
        self._reloading = asyncio.Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._context

    @property
    def not_after(self) -> datetime | None:
        """When the certificate in use expires, None where that is not known."""
        return self._not_after

    async def reload(self) -> bool:
        """Load the files again; return False, and log why, if the old pair stays in use."""
        async with self._reloading:
            self._tried = await asyncio.to_thread(self._stamps)
            try:
                self._context, self._not_after = await asyncio.to_thread(self._load)
            except CertificateUnusable as error:
                _logger.error("%s The certificate loaded before stays in use.", error)  # noqa: TRY400 - no defect
                return False
            _logger.info("The certificate %s was loaded again.", self._chain)
            return True

    async def follow(self) -> NoReturn:
        """Reload whenever the files have changed, and rested for `rest_seconds` since."""
        seen = self._tried
        while True:
            await asyncio.sleep(self._rest_seconds)
            now = await asyncio.to_thread(self._stamps)
            if now == seen != self._tried:
                await self.reload()
            seen = now

    def _stamps(self) -> tuple[_Stamp, ...]:
        return _stamp(self._chain), _stamp(self._key)

    def _load(self) -> tuple[ssl.SSLContext, datetime | None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client of TLS 1.2 could make the server negotiate again and again.
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(_PROTOCOLS)
        for path in (self._chain, self._key):
            _require_readable(path)
        try:
            context.load_cert_chain(self._chain, self._key, _refuse_to_ask(self._key))
        except ssl.SSLError as error:
            raise CertificateUnusable(self._explain(error)) from error
        except OSError as error:
            raise CertificateUnusable(
                f"The certificate cannot be read: {error.strerror}."
            ) from error
        return context, self._find_not_after()

    def _find_not_after(self) -> datetime | None:
        # OpenSSL takes what this does not read, as trusted certificates; it is only told of.
        with suppress(ValueError, IndexError, OSError):
            return find_not_after(self._chain.read_text("ascii", "replace"))
        return None

    def _explain(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{self._key} is not the key of the certificate {self._chain}."
        reason = (error.reason or "no PEM").lower().replace("_", " ")
        return f"{self._chain} and {self._key} are no certificate and key in PEM: {reason}."


def find_not_after(chain: str) -> datetime:
    """Return when the first certificate of a chain in PEM expires (RFC 5280 §4.1).

    Raises:
        ValueError, IndexError: it is no certificate.
    """
    end = chain.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    der = memoryview(ssl.PEM_cert_to_DER_cert(chain[chain.index(ssl.PEM_HEADER) : end]))
    [(_, certificate)] = _elements(der)
    fields = list(_elements(next(_elements(certificate))[1]))
    # Serial number, signature algorithm, issuer and validity, behind a version that may lack.
    validity = fields[3 + (fields[0][0] == _VERSION)][1]
    _, (kind, text) = _elements(validity)
    form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(bytes(text).decode("ascii"), form).replace(tzinfo=UTC)


def _elements(der: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the tag and the content of each element (X.690 §8.1)."""
    while der:
        tag, size, start = der[0], der[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(der[2:start], "big")
        yield tag, der[start : start + size]
        der = der[start + size :]


def _stamp(path: Path) -> _Stamp:
    """Return what differs once a file has changed; a link is followed to its end."""
    with suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return 0, 0, 0


def _require_readable(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise CertificateUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _refuse_to_ask(key: Path) -> Callable[[], str]:
    """Return what is asked for the passphrase of the key; OpenSSL would ask on the terminal."""

    def refuse() -> str:
        raise CertificateUnusable(f"{key} is encrypted; give a key without a passphrase.")

    return refuse
