"""Certificates that openssl makes for a test, and what a client of TLS sees of a server."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.programs import require_program

_PATIENCE_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, signed by itself, and its key."""

    chain: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What `serve` is told of them."""
        return "--tls-cert", str(self.chain), "--tls-key", str(self.key)

    @property
    def der(self) -> bytes:
        """The certificate as a client is sent it."""
        return ssl.PEM_cert_to_DER_cert(self.chain.read_text())

    def client_context(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this certificate only."""
        return ssl.create_default_context(cafile=self.chain)

    def copy_over(self, other: Pair) -> None:
        """Take the place of another pair, the certificate first."""
        other.chain.write_bytes(self.chain.read_bytes())
        other.key.write_bytes(self.key.read_bytes())


def make_pair(folder: Path, name: str = "server") -> Pair:
    """Make a certificate for localhost, 127.0.0.1 and ::1."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    # fmt: off
    command = (
        require_program("openssl"), "req", "-x509", "-nodes", "-days", "2",
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
        "-keyout", str(pair.key), "-out", str(pair.chain),
    )
    # fmt: on
    subprocess.run(command, check=True, capture_output=True)
    return pair


def shake_hands(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> ssl.SSLSocket:
    """Connect by TLS."""
    plain = socket.create_connection((host, port), timeout=_PATIENCE_SECONDS)
    return context.wrap_socket(plain, server_hostname=host)


def certificate_of(port: int) -> bytes:
    """Return the certificate that the server on this port shows now."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with shake_hands(port, context) as connection:
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        return der
