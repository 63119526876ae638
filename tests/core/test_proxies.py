"""Whom a request is of, by what trusted proxies say and others only claim."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.proxies import ProxyPolicy, Sender, parse_proxy

PROXY = "10.0.0.1"
POLICY = ProxyPolicy.of(map(parse_proxy, ("10.0.0.0/8", "2001:db8:1::/48", "unix")))
CLIENT = "198.51.100.7"


def lines(**fields: str | list[str]) -> Callable[[str], Sequence[str]]:
    """Return the lines of a header, whose names are given with `_` in the place of `-`."""

    def lines_of(field: str) -> Sequence[str]:
        value = fields.get(field.replace("-", "_"), [])
        return [value] if isinstance(value, str) else value

    return lines_of


def sender(peer: str = PROXY, **fields: str | list[str]) -> Sender | None:
    return POLICY.sender_of(peer, lines(**fields))


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8:2::1", "11.0.0.1", "", "garbage"])
def test_what_others_claim_does_not_count(peer: str) -> None:
    claims = {"X_Forwarded_For": CLIENT, "X_Forwarded_Host": "a", "Forwarded": f"for={CLIENT}"}
    assert sender(peer, **claims) is None
    assert ProxyPolicy().sender_of(PROXY, lines(**claims)) is None


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (CLIENT, CLIENT),
        (f"6.6.6.6, {CLIENT}", CLIENT),
        (["6.6.6.6", CLIENT], CLIENT),
        (f"6.6.6.6, {CLIENT} , 10.2.3.4,10.9.9.9", CLIENT),
        (f"10.1.1.1, {CLIENT}", CLIENT),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8:2::7", "2001:db8:2::7"),
        ("[2001:db8:2::7]:4711", "2001:db8:2::7"),
        ("2001:DB8:2:0::7, 2001:db8:1::9", "2001:db8:2::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("unknown", PROXY),
        ("unknown, 10.2.2.2", "10.2.2.2"),
        ("6.6.6.6, ", PROXY),
        ("", PROXY),
        ("1.2.3.4.5", PROXY),
    ],
)
def test_the_list_is_read_from_right_to_left(value: str | list[str], client: str) -> None:
    assert sender(X_Forwarded_For=value) == Sender(client)


def test_peers_in_all_their_forms_are_trusted() -> None:
    for peer in (PROXY, f"::ffff:{PROXY}", "2001:db8:1::1", "unix"):
        assert sender(peer, X_Forwarded_For=CLIENT) == Sender(CLIENT)
    assert not ProxyPolicy.of([parse_proxy("10.0.0.1")]).trusts("unix")
    assert ProxyPolicy.of([parse_proxy("fe80::1")]).trusts("fe80::1%eth0")


def test_scheme_and_host_are_those_of_the_same_hop() -> None:
    said = sender(
        X_Forwarded_For=f"6.6.6.6, {CLIENT}, 10.2.2.2",
        X_Forwarded_Proto="http, https, http",
        X_Forwarded_Host="evil.example, files.example, inner.example",
    )
    assert said == Sender(CLIENT, "https", "files.example")
    # One for all, of a proxy that keeps no list.
    one = sender(
        X_Forwarded_For=f"{CLIENT}, 10.2.2.2", X_Forwarded_Proto="HTTPS", X_Forwarded_Host="a.b"
    )
    assert one == Sender(CLIENT, "https", "a.b")
    assert sender(X_Forwarded_Proto="javascript") == Sender(PROXY)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"for={CLIENT}", Sender(CLIENT)),
        (f'For="{CLIENT}:80";Proto=https;Host="a.example"', Sender(CLIENT, "https", "a.example")),
        ('for="[2001:db8:2::7]:4711"', Sender("2001:db8:2::7")),
        (f"for=6.6.6.6, for={CLIENT};proto=https, for=10.2.2.2", Sender(CLIENT, "https")),
        (f'for="a,for=6.6.6.6", for={CLIENT}', Sender(CLIENT)),
        ("for=_hidden;host=a.example", Sender(PROXY, None, "a.example")),
        (f"proto=https;by=10.0.0.1;for={CLIENT} ", Sender(CLIENT, "https")),
        (f", ;;for={CLIENT},", Sender(CLIENT)),
        (['for="6.6.6.6\\""', f"for={CLIENT}"], Sender(CLIENT)),
    ],
)  # fmt: skip
def test_forwarded_is_read_the_same_way(value: str | list[str], expected: Sender) -> None:
    assert sender(Forwarded=value) == expected


def test_forwarded_does_not_count_where_the_proxies_use_the_other_field() -> None:
    assert sender(X_Forwarded_For=CLIENT, Forwarded="for=6.6.6.6;host=evil") == Sender(CLIENT)


@pytest.mark.parametrize("value", ['for="6.6.6.6', "for", "for=a b", "for=[::1]", 'for="a"b', "=a"])
def test_forwarded_that_is_malformed_is_refused(value: str) -> None:
    # The quote would swallow what the proxy has put behind it.
    with pytest.raises(ValueError, match="Forwarded is malformed"):
        sender(Forwarded=[value, f"for={CLIENT}"])


ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(network="10.0.0.0/8").map(str),
    st.sampled_from(["2001:db8:1::5", "2001:db8:9::5"]),
)


@given(
    claimed=st.lists(st.one_of(ADDRESSES, st.text("1a.:,[ ")), max_size=4),
    client=ADDRESSES.filter(lambda address: not POLICY.trusts(address)),
    proxies=st.lists(ADDRESSES.filter(POLICY.trusts), max_size=4),
)
def test_whatever_a_client_claims_it_is_found(
    claimed: list[str], client: str, proxies: list[str]
) -> None:
    said = sender(X_Forwarded_For=", ".join([*claimed, client, *proxies]))
    assert said is not None
    assert said.address == client


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_text_makes_it_fail_otherwise(values: list[str]) -> None:
    assert sender(X_Forwarded_For=values, X_Forwarded_Host=values, X_Forwarded_Proto=values)
    try:
        sender(Forwarded=values)
    except ValueError as error:
        assert str(error) == "Forwarded is malformed"  # noqa: PT017 - either way is right


@pytest.mark.parametrize("piece", [" ", "for=a;", ";", ",", '"', 'for="', "\\", "a=b", "\t;"])
def test_long_fields_take_no_time(piece: str) -> None:
    text = piece * (64 * 1024 // len(piece))
    began = time.thread_time()
    for field in ("X_Forwarded_For", "Forwarded"):
        try:
            sender(**{field: text})
        except ValueError:
            continue
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "*", "", "10.0.0.1/8", "proxy.example", "a/b"]
)
def test_what_is_no_proxy_or_everybody_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither|is everybody"):
        parse_proxy(text)
