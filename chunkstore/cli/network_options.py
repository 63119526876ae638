"""The options of `chunkstore serve` that say where it listens, and for whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Final
from urllib.parse import quote

import click

from chunkstore.cli.program import Option
from chunkstore.cli.values import DURATION, PATH, Parsed
from chunkstore.core.hosts import parse_host
from chunkstore.core.proxies import parse_proxy
from chunkstore.server.config import DEFAULT_UNIX_MODE, ServeConfig

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_MODE: Final = re.compile(r"0?[0-7]{3}")
_ADDRESS_AND_PORT: Final = re.compile(
    r"(?:\[(?P<bracketed>[0-9a-fA-F:.%]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})"
)
_MAX_PORT: Final = 65535
_MAX_WORKERS: Final = 64


def number_from(least: int, most: int) -> Parsed:
    """Return the type of an option that is a number in these bounds."""

    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return Parsed("number", parse)


def _parse_address(text: str) -> str:
    if not text:
        raise ValueError("it is empty; 0.0.0.0 and :: stand for all addresses of the machine")
    try:
        text.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{text!r} is neither a host name nor an IP address") from error
    return text


def _parse_base_path(text: str) -> str:
    segments = text.strip("/").split("/") if text.strip("/") else []
    if any(segment in ("", ".", "..") or quote(segment) != segment for segment in segments):
        raise ValueError(f"{text!r} is not a path like /store/ of letters, digits and - . _ ~")
    return "/".join(["", *segments, ""])


def _parse_origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454 §6.2); `*` is any."""
    origin = text.lower().removesuffix("/")
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is neither an origin like https://example.org nor *")
    return origin


def _parse_mode(text: str) -> int:
    if not _MODE.fullmatch(text):
        raise ValueError(f"{text!r} is not a mode like 660")
    return int(text, 8)


def _parse_metrics(text: str) -> tuple[str, int]:
    match = _ADDRESS_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(f"{text!r} is not an address and a port like 127.0.0.1:9464")
    return _parse_address(match["host"] or match["bracketed"]), int(match["port"])


ADDRESS: Final = Parsed("address", _parse_address)
BASE_PATH: Final = Parsed("path", _parse_base_path)
HOST: Final = Parsed("host", parse_host)
METRICS: Final = Parsed("address", _parse_metrics)
MODE: Final = Parsed("mode", _parse_mode)
PROXY: Final = Parsed("proxy", parse_proxy)
ORIGIN: Final = Parsed("origin", _parse_origin)

_option: Final = partial(click.option, cls=Option, section="Network")

_OPTIONS: Final = (
    _option("--host", type=ADDRESS, default="127.0.0.1", help="Address to listen on."),
    _option(
        "--port",
        default=8080,
        type=number_from(0, _MAX_PORT),
        help="Port to listen on. 0 picks a free one.",
    ),
    _option(
        "--unix",
        type=PATH,
        show_default="none",
        help="Listen on this Unix socket, and on no address.",
    ),
    _option(
        "--unix-mode",
        type=MODE,
        default=f"{DEFAULT_UNIX_MODE:o}",
        help="Who may connect to that: its mode, as of a file.",
    ),
    _option(
        "--tls-cert",
        type=PATH,
        show_default="none",
        help="Serve https with the certificate and its chain in this PEM file. It is loaded again"
        " when it changes, and at SIGHUP.",
    ),
    _option("--tls-key", type=PATH, show_default="none", help="The private key of --tls-cert."),
    _option(
        "--hsts",
        "hsts_seconds",
        type=DURATION,
        default="0s",
        help="Tell browsers that come over https to come over nothing else for so long, such as"
        " 365d. 0 tells nothing.",
    ),
    _option(
        "--open",
        "may_be_open",
        is_flag=True,
        help="Let everybody who can reach the server do everything, as long as the store has no"
        " accounts. Otherwise such a store is served to this machine only.",
    ),
    _option(
        "--insecure-login",
        is_flag=True,
        help="Take passwords and tokens from other machines also without TLS, where others may"
        " read them on the way.",
    ),
    _option(
        "--trusted-proxy",
        "trusted_proxies",
        type=PROXY,
        multiple=True,
        show_default="none",
        metavar="ADDRESS|NETWORK|unix",
        help="Believe this proxy what client, host and scheme it forwards a request of; unix is"
        " whoever connects to --unix. Can be repeated.",
    ),
    _option(
        "--base-path",
        type=BASE_PATH,
        default="/",
        help="Path that all URLs begin with, for a reverse proxy that passes it on.",
    ),
    _option(
        "--allow-host",
        "allowed_hosts",
        type=HOST,
        multiple=True,
        show_default="localhost and the machine's own addresses",
        help="Answer requests for this host too, such as files.example.org. Can be repeated.",
    ),
    _option(
        "--cors-origin",
        "cors_origins",
        type=ORIGIN,
        multiple=True,
        show_default="none",
        help="Let pages of this origin, such as https://example.org, use the server; * lets all."
        " Can be repeated.",
    ),
    _option(
        "--workers",
        default=1,
        type=number_from(1, _MAX_WORKERS),
        help=f"Number of processes that share the port, up to {_MAX_WORKERS}. More than one needs"
        " PostgreSQL.",
    ),
    _option(
        "--metrics",
        type=METRICS,
        show_default="none",
        metavar="ADDRESS:PORT",
        help="Show metrics for Prometheus at /metrics on this address, such as 127.0.0.1:9464, to"
        " whoever can reach it.",
    ),
    _option(
        "--drain",
        "drain_seconds",
        type=DURATION,
        default="0s",
        help="How long to go on serving after SIGTERM or SIGINT, while /health/ready is 503.",
    ),
    _option(
        "--shutdown-timeout",
        "shutdown_seconds",
        type=DURATION,
        default="30s",
        help="How long running requests may take to finish after SIGTERM or SIGINT.",
    ),
)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, in this order."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


def check_network(config: ServeConfig) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: they do not.
    """
    if (config.tls_cert is None) != (config.tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    if config.unix is not None and config.tls_cert is not None:
        raise click.UsageError("A Unix socket speaks no TLS: give --unix or --tls-cert.")
