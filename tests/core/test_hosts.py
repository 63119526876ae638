"""Which hosts are answered for: the rule alone."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.cli.network_options import ORIGIN
from chunkstore.core.hosts import HostPolicy, parse_authority, parse_host, parse_local_address

LOOPBACK = HostPolicy.of("127.0.0.1", [])
NAMED = HostPolicy.of("0.0.0.0", [parse_host("Files.Example.org"), parse_host("192.0.2.7")])


def answers(policy: HostPolicy, authority: str, local: str = "127.0.0.1") -> bool:
    host = parse_authority(authority)
    return host is not None and policy.is_answered_for(host, parse_local_address(local))


@pytest.mark.parametrize(
    "authority",
    [
        "localhost",
        "localhost:8080",
        "localhost:",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.255.3.4:8080",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]",
    ],
)
def test_the_loopback_is_always_answered_for(authority: str) -> None:
    for policy in (LOOPBACK, NAMED, HostPolicy()):
        assert answers(policy, authority)


@pytest.mark.parametrize(
    "authority",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.localhost",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "files.example.org",
        "192.0.2.7",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::2]",
        # Browsers write these as 127.0.0.1 before they send them.
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "localhost..",
        ".localhost",
        "loc%61lhost",
        "xn--localhost-",
        "localhos\u0442",
        "\uff4cocalhost",
    ],
)
def test_nothing_else_is_answered_for_on_the_loopback(authority: str) -> None:
    assert not answers(LOOPBACK, authority)


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ":8080",
        " ",
        "local host",
        "localhost,evil.example",
        "localhost evil.example",
        "localhost:99999",
        "localhost:-1",
        "localhost:8080:8080",
        "localhost:x",
        "localhost:\u0661",
        "evil@localhost",
        "localhost@evil.example",
        "localhost/",
        "localhost/files",
        "localhost?",
        "localhost#",
        "http://localhost",
        "[::1",
        "::1",
        "[]",
        "[1]",
        "[localhost]",
        "[::1%]",
        "[::1]x",
        "[127.0.0.1]",
        "localhost\\evil.example",
        "localhost\x00",
        "localhost\n",
        "a" * 300,
        "\udcff",
    ],
)
def test_what_is_no_host(authority: str) -> None:
    assert parse_authority(authority) is None


def test_names_that_were_given_are_answered_for() -> None:
    for authority in ("files.example.org", "FILES.example.ORG:443", "files.example.org."):
        assert answers(NAMED, authority)
    for authority in ("example.org", "a.files.example.org", "files.example.orgx"):
        assert not answers(NAMED, authority)


def test_an_address_is_answered_for_that_the_connection_came_in_on_or_that_was_given() -> None:
    assert answers(NAMED, "192.0.2.7:80", "198.51.100.1")
    assert answers(NAMED, "198.51.100.1", "198.51.100.1")
    assert not answers(NAMED, "198.51.100.2", "198.51.100.1")
    # A socket of both versions of IP.
    assert answers(NAMED, "198.51.100.1", "::ffff:198.51.100.1")
    # A zone is of the client's machine alone.
    assert answers(NAMED, "[fe80::1%25eth0]:8080", "fe80::1%2")
    assert answers(NAMED, "[FE80:0::1]", "fe80::1")
    assert not answers(NAMED, "[fe80::2%25eth0]", "fe80::1%2")
    # Where a client got a URL from that the server told of itself.
    assert answers(NAMED, "0.0.0.0:8080")


def test_a_socket_of_no_address_is_none() -> None:
    assert parse_local_address("/run/chunkstore.sock") is None
    assert parse_local_address("") is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Files.Example.Org", "files.example.org"),
        ("files.example.org.", "files.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("my_server", "my_server"),
        ("192.0.2.7", ip_address("192.0.2.7")),
        ("2001:DB8::1", ip_address("2001:db8::1")),
        ("[2001:db8::1]", ip_address("2001:db8::1")),
    ],
)
def test_hosts_that_an_option_can_name(text: str, host: object) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.example.org", "a b", "example.org:8080", "http://example.org", "a/b", "a@b"],
)
def test_hosts_that_an_option_cannot_name(text: str) -> None:
    with pytest.raises(ValueError, match="neither a host name"):
        parse_host(text)


@pytest.mark.parametrize("listening", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_who_listens_on_the_loopback_has_nothing_to_say(listening: str) -> None:
    assert HostPolicy.of(listening, []).is_loopback_only
    assert not HostPolicy.of(listening, ["files.example.org"]).is_loopback_only


@pytest.mark.parametrize("listening", ["0.0.0.0", "::", "", "192.0.2.7", "files.example.org"])
def test_who_listens_elsewhere_says_whom_for(listening: str) -> None:
    policy = HostPolicy.of(listening, ["b.example"])
    assert not policy.is_loopback_only
    told = policy.format_hosts()
    assert told.startswith("localhost, ")
    assert "b.example" in told
    assert (listening in told) == (listening not in ("0.0.0.0", "::"))


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.:\[\]%@-]{1,40}", fullmatch=True))
@example("[::ffff:127.0.0.1]")
@example("127.0.0.1.:80")
def test_only_the_loopback_passes_whatever_the_spelling(authority: str) -> None:
    if answers(LOOPBACK, authority):
        assert re.fullmatch(
            r"(localhost|127(\.[0-9]{1,3}){3})\.?(:[0-9]*)?"
            r"|\[(::1|::ffff:127\.0\.0\.1|[0:]+:0{0,3}1)(%.*)?\](:[0-9]*)?",
            authority.lower(),
            re.DOTALL,
        )


def test_localhost_is_named_once() -> None:
    told = HostPolicy.of("localhost", [parse_host("b.example")]).format_hosts()
    assert told.count("localhost") == 1


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://example.org/", "https://example.org"),
        ("HTTP://Example.org:8080", "http://example.org:8080"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("*", "*"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(text: str, origin: str) -> None:
    assert ORIGIN.convert(text, None, None) == origin
