"""`chunkstore health`: whether a server is ready, for containers and scripts."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import click

from chunkstore.cli.network_options import ADDRESS, BASE_PATH, number_from
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.values import DURATION, PATH

_MOST_BYTES: Final = 64 * 1024
_LEAST_SECONDS: Final = 0.001
# All addresses of a machine, and the one by which it reaches itself.
_OWN: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_option: Final = partial(click.option, cls=Option)


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a path."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@click.command("health", cls=Command, context_settings=SETTINGS)
@click.argument("url", required=False)
@_option("--host", type=ADDRESS, default="127.0.0.1", help="Address that the server listens on.")
@_option("--port", type=number_from(0, 65535), default=8080, help="Port that it listens on.")
@_option("--base-path", type=BASE_PATH, default="/", help="Path that its URLs begin with.")
@_option("--unix", type=PATH, show_default="none", help="Unix socket that it listens on.")
@_option(
    "--tls-cert", type=PATH, show_default="none", help="Its certificate: it is asked by https."
)
@_option("--live", is_flag=True, help="Ask only whether it runs, not whether it is ready.")
@_option("--timeout", "timeout_seconds", type=DURATION, default="5s", help="How long to wait.")
def health_command(
    url: str | None,
    host: str,
    port: int,
    base_path: str,
    unix: Path | None,
    tls_cert: Path | None,
    live: bool,
    timeout_seconds: float,
) -> int:
    """Ask a server whether it is ready: exit status 0 if it is, else 1.

    It is the server at URL, or the one on this machine that is run with the same options, which
    need not be given where they are in the environment. That one is asked whoever it is; of a URL
    of https the certificate has to be valid.
    """
    seconds = max(timeout_seconds, _LEAST_SECONDS)
    if url is not None:
        parts = _parse_url(url)
        connection = _connection_to(parts, seconds)
        base_path = parts.path.rstrip("/") + "/"
    elif unix is not None:
        connection = _UnixConnection(unix, seconds)
    else:
        connection = _connection_to_own(_OWN.get(host, host), port, tls_cert is not None, seconds)
    return _ask(connection, f"{base_path}health/{'live' if live else 'ready'}")


def _parse_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise click.BadParameter(f"{url!r} is not a URL like https://files.example.org/.")
    return parts


def _connection_to(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=seconds, context=context
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)


def _connection_to_own(
    host: str, port: int, tls: bool, seconds: float
) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=seconds)
    # It is this machine that is asked, nothing secret is sent, and the name is another.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


def _ask(connection: http.client.HTTPConnection, path: str) -> int:
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"chunkstore: no answer: {_reason_of(error)}.", err=True)
        return 1
    finally:
        connection.close()
    told = _status_in(body)
    if answer.status != http.client.OK or told is None:
        words = (told or "of no chunkstore server").rstrip(".")
        click.echo(f"chunkstore: {answer.status} {words}.", err=True)
        return 1
    click.echo(told)
    return 0


def _reason_of(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message).rstrip(".")
    if isinstance(error, OSError):
        return str(error.strerror or error).rstrip(".")
    return type(error).__name__


def _status_in(body: bytes) -> str | None:
    """Return the status that a health document tells, with what is wrong."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("status"), str | int):
        return None
    more = document.get("faults") or document.get("detail") or []
    words = more if isinstance(more, list) else [more]
    # The status of a problem (RFC 9457) is that of the answer.
    status = document["status"]
    known = [status if isinstance(status, str) else str(document.get("title", status))]
    text = ": ".join([*known, *filter(None, ["; ".join(map(str, words))])])
    return text.encode("unicode_escape").decode()
