"""Which proxies are believed when they say whom they forward a request of.

Anybody can send X-Forwarded-For, or Forwarded (RFC 7239). So a request's last hop is known from its
connection, and the hop before only if the last one is a trusted proxy, which has put it at the end
of the list; and so on, from right to left. The first that is not trusted is the client, whatever
it wrote further left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Proxy: TypeAlias = IPv4Network | IPv6Network | str
_Address: TypeAlias = IPv4Address | IPv6Address

# Whoever may connect to the server's Unix socket.
UNIX_PROXY: Final = "unix"
# More proxies than that are in front of no server.
_MOST_HOPS: Final = 16
_SCHEMES: Final = frozenset({"http", "https"})
# An address as lists have it: of IPv6 in brackets if there is a port, which is dropped.
_HOP: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\w+)?|([0-9.]+):\w+|([0-9A-Fa-f:.]+)", re.ASCII)
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = rf'{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
_PAIRS: Final = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
# One hop, and what separates it from the next (RFC 7239 §4).
# Possessive, so that no text takes the square of its length.
_ELEMENT: Final = re.compile(
    rf"[ \t]*+((?:{_PAIR})?+(?:[ \t]*+;[ \t]*+(?:{_PAIR})?+)*+)[ \t]*+(?:,|$)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Sender:
    """The client of a request that came through trusted proxies.

    `scheme` and `authority` are those of the URL that the client used, None where the proxies did
    not say.
    """

    address: str
    scheme: str | None = None
    authority: str | None = None


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """The proxies that are trusted: networks, and whether clients of the Unix socket are."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    @classmethod
    def of(cls, proxies: Iterable[Proxy]) -> ProxyPolicy:
        """Return the policy that trusts these."""
        listed = tuple(proxies)
        networks = tuple(proxy for proxy in listed if not isinstance(proxy, str))
        return cls(networks, unix=UNIX_PROXY in listed)

    def __bool__(self) -> bool:
        """Whether any proxy is trusted."""
        return self.unix or bool(self.networks)

    def trusts(self, address: str) -> bool:
        """Whether this is the address of a trusted proxy; `UNIX_PROXY` is that of the socket."""
        return _is_trusted(self, address)

    def sender_of(self, peer: str, lines_of: Callable[[str], Sequence[str]]) -> Sender | None:
        """Return whom a request of `peer` comes from; None if `peer` is no trusted proxy.

        `lines_of` returns the lines of a header field. Where X-Forwarded-For is there Forwarded
        does not count: few proxies set it, and the others pass on what a client sends.

        Raises:
            ValueError: Forwarded is malformed.
        """
        if not self.trusts(peer):
            return None
        hops = _list_of(lines_of("X-Forwarded-For"))
        elements = [] if hops else _forwarded(lines_of("Forwarded"))
        if elements:
            address, depth = self._walk(peer, [element.get("for", "") for element in elements])
            element = elements[max(0, depth - 1)]
            return Sender(address, _scheme(element.get("proto")), element.get("host"))
        address, depth = self._walk(peer, hops)
        protocol = _at(_list_of(lines_of("X-Forwarded-Proto")), depth)
        return Sender(
            address, _scheme(protocol), _at(_list_of(lines_of("X-Forwarded-Host")), depth)
        )

    def _walk(self, peer: str, hops: Sequence[str]) -> tuple[str, int]:
        """Return the client, and at how many of `hops`, which come from the last on, it stands."""
        address, depth = peer, 0
        for hop in hops:
            before = _parse_hop(hop)
            if before is None or not self.trusts(address):
                break
            address, depth = str(before), depth + 1
        return address, depth


def parse_proxy(text: str) -> Proxy:
    """Parse what an option names: an address, a network, or `unix`.

    Raises:
        ValueError: it is none of these, or a network of everybody.
    """
    if text == UNIX_PROXY:
        return UNIX_PROXY
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is neither an address, nor a network like 10.0.0.0/8, nor unix"
        ) from error
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} is everybody; name the proxies")
    return network


@lru_cache(maxsize=1024)
def _is_trusted(policy: ProxyPolicy, address: str) -> bool:
    if address == UNIX_PROXY:
        return policy.unix
    parsed = _parse_address(address)
    return parsed is not None and any(parsed in network for network in policy.networks)


def _parse_hop(text: str) -> _Address | None:
    match = _HOP.fullmatch(text)
    return None if match is None else _parse_address(match[1] or match[2] or match[3])


def _parse_address(text: str) -> _Address | None:
    """Return an address; one of IPv4 that came in on a socket of both versions as such."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _list_of(lines: Sequence[str]) -> list[str]:
    """Return the last values of a list, from the last on."""
    if not lines:
        return []
    values = ",".join(lines).rsplit(",", _MOST_HOPS)
    return [value.strip(" \t") for value in reversed(values[-_MOST_HOPS:])]


def _at(values: Sequence[str], depth: int) -> str | None:
    """Return the value that belongs to a hop; a proxy that keeps no list has one for all."""
    return values[max(0, min(depth, len(values)) - 1)] if values else None


def _scheme(text: str | None) -> str | None:
    scheme = text.lower() if text is not None else None
    return scheme if scheme in _SCHEMES else None


def _forwarded(lines: Sequence[str]) -> list[dict[str, str]]:
    """Return the last elements of Forwarded, from the last on.

    Raises:
        ValueError: it is malformed, so that nobody knows which of it a proxy wrote.
    """
    if not lines:
        return []
    text, at = ", ".join(lines), 0
    elements: list[dict[str, str]] = []
    while at < len(text):
        match = _ELEMENT.match(text, at)
        if match is None:
            raise ValueError("Forwarded is malformed")
        if match[1]:
            elements.append(_pairs_of(match[1]))
        at = match.end()
    return elements[: -_MOST_HOPS - 1 : -1]


def _pairs_of(element: str) -> dict[str, str]:
    return {
        name.lower(): plain or re.sub(r"\\(.)", r"\1", quoted)
        for name, plain, quoted in _PAIRS.findall(element)
    }
