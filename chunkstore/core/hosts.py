"""Which hosts this server answers for: the values that Host may have (RFC 9110 §7.4).

This is a defence against DNS rebinding. If the name evil.example is pointed at this server after a
browser has loaded a page from there, the browser takes the page and this server for one origin. The
page could read and write everything, and neither Origin nor Sec-Fetch-Site would give it away, only
the name in Host. So a host must be allowed by whoever runs the server, or be one that nobody else
can have: `localhost`, a loopback address, or the address that the connection came in on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from yarl import URL

Host: TypeAlias = str | IPv4Address | IPv6Address

LOCALHOST: Final = "localhost"
# The longest name that DNS has, its last dot, and a port.
_MAX_AUTHORITY_SIZE: Final = 254 + len(":65535")
_MAX_PORT: Final = 65535
# RFC 3986 §3.2 without user information, and of registered names only those that can be in DNS. A
# zone, which has no meaning beyond the client's machine, is dropped (RFC 9844).
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)(?:%[\w.~%-]+)?\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{0,5}))?",
    re.ASCII,
)
_NAME: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)


# These mean every address of the machine to a server that listens, and nothing in a request.
_ANY: Final = (IPv4Address(0), IPv6Address(0))


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The hosts that are answered for besides the loopback and the connection's own address."""

    hosts: frozenset[Host] = frozenset()

    @classmethod
    def of(cls, listening: str, allowed: Iterable[Host]) -> HostPolicy:
        """Return the policy of a server that listens on `listening`; `allowed` are its names."""
        try:
            return cls(frozenset({parse_host(listening), *allowed}))
        except ValueError:
            return cls(frozenset(allowed))

    def is_answered_for(self, host: Host, local: Host | None = None) -> bool:
        """Whether to answer a request for `host` that came in on the address `local`."""
        return host in self.hosts or host == local or is_loopback(host)

    @property
    def is_loopback_only(self) -> bool:
        """Whether only hosts of the loopback are answered for."""
        return bool(self.hosts) and all(map(is_loopback, self.hosts))

    def format_hosts(self) -> str:
        """Return the hosts that are answered for as a person reads them."""
        named = [str(host) for host in self.hosts if host not in (*_ANY, LOCALHOST)]
        return ", ".join([LOCALHOST, "the address that a request came in on", *sorted(named)])


def is_loopback(host: Host) -> bool:
    """Whether a host is the machine itself."""
    return host == LOCALHOST if isinstance(host, str) else host.is_loopback


@lru_cache(maxsize=256)
def parse_authority(text: str) -> Host | None:
    """Return the host in the value of a Host header, None if it is not one; the port may be any.

    A name comes in lower case and without its last dot, which DNS takes for the same.
    """
    match = _AUTHORITY.fullmatch(text) if len(text) <= _MAX_AUTHORITY_SIZE else None
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return None
    if match["name"] is None:
        return _parse_address(match["literal"], IPv6Address)
    name = match["name"].lower().removesuffix(".")
    return _parse_address(name, IPv4Address) or (name if _NAME.fullmatch(name) else None)


def parse_host(text: str) -> Host:
    """Parse a host given by an option: a name, possibly an international one, or an address.

    Raises:
        ValueError: it is neither.
    """
    address = _parse_address(text.removeprefix("[").removesuffix("]"), ip_address)
    if address is not None:
        return address
    refusal = f"{text!r} is neither a host name without a port nor an IP address"
    try:
        # As browsers send it (UTS #46).
        name = URL.build(scheme="http", host=text).raw_host or ""
    except ValueError as error:
        raise ValueError(refusal) from error
    host = parse_authority(name) if ":" not in name else None
    if host is None:
        raise ValueError(refusal)
    return host


def parse_local_address(text: str) -> Host | None:
    """Parse the local address of a socket; return None if it is not an IP address.

    A socket of both versions has an IPv4 address in its IPv4-mapped IPv6 form.
    """
    address = _parse_address(text.partition("%")[0], ip_address)
    return getattr(address, "ipv4_mapped", None) or address


def _parse_address(
    text: str, parse: Callable[[str], IPv4Address | IPv6Address]
) -> IPv4Address | IPv6Address | None:
    try:
        return parse(text)
    except ValueError:
        return None
