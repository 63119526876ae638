"""Names: which there are, how a URL stands for them, and how they are ordered."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.core.errors import InvalidName
from chunkstore.core.names import (
    MAX_NAME_SIZE,
    ROOT,
    FileName,
    FolderName,
    ancestors,
    decode_path,
    encode_path,
    parent,
    parse_file_name,
    parse_folder_name,
    prefix_stop,
)

E_ACUTE = "\u00e9"
E_AND_ACUTE = "e\u0301"
DOG = "\U0001f415"

# Dense in what matters to the rules: separators, dots, the borders of the control characters,
# characters that compose, and halves of surrogate pairs.
tricky_texts = st.text(
    st.one_of(
        st.sampled_from("ae./%\0\x1f\x20\x7e\x7f\x80\x9f\xa0\u0301\u212b\ud800\udfff\ue000"),
        st.characters(),
    ),
    max_size=12,
)
whole_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def canonical_name(text: str) -> str | None:
    """Return what the design makes of a file's name, None where it refuses it."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return None
    name = unicodedata.normalize("NFC", text)
    control = any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in name)
    if control or not 1 <= len(name.encode("utf-8")) <= 1024:
        return None
    return None if {"", ".", ".."} & set(name.split("/")) else name


valid_names = st.one_of(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ).map("/".join),
    tricky_texts,
).filter(lambda text: canonical_name(text) is not None)


@given(text=st.one_of(tricky_texts, valid_names))
def test_a_file_name_is_accepted_exactly_when_the_design_says_so(text: str) -> None:
    expected = canonical_name(text)
    if expected is None:
        with pytest.raises(InvalidName):
            parse_file_name(text)
    else:
        assert parse_file_name(text) == expected
        # The canonical form is its own.
        assert parse_file_name(expected) == expected


@given(text=tricky_texts, slash=st.sampled_from(["", "/"]))
def test_a_folder_is_named_as_a_file_with_a_slash_behind(text: str, slash: str) -> None:
    expected = canonical_name(text)
    if expected is not None:
        assert parse_folder_name(text + slash) == expected + "/"
    elif text.removesuffix("/") == text and text + slash:
        with pytest.raises(InvalidName):
            parse_folder_name(text + slash)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b/c",
        " ",
        "a b",
        "...",
        ".a",
        "a.",
        "a/.b./..c",
        "-",
        "%2F",
        "a?b#c&d",
        "a\\b",
        'a"b',
        "<a>",
        E_ACUTE,
        DOG,
        "\u200b",
        "\ue000",
        "\uffff",
        "\U0010ffff",
        "\u2028",
        "\xa0",
        "~",
        "CON",
    ],
)
def test_names_that_are_taken_as_they_are(text: str) -> None:
    assert parse_file_name(text) == text
    assert parse_folder_name(text) == text + "/"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("/", "empty segment"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        (".", "'.'"),
        ("..", "'..'"),
        ("a/./b", "'.'"),
        ("a/..", "'..'"),
        ("../a", "'..'"),
        ("\0", "control"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\rb", "control"),
        ("a\tb", "control"),
        ("a\x1b[0m", "control"),
        ("a\x7f", "control"),
        ("a\x80", "control"),
        ("a\x85", "control"),
        ("\x9fa", "control"),
        ("\ud800", "Unicode"),
        ("a/\udfff/b", "Unicode"),
        ("\ud83d\udc15", "Unicode"),
    ],
)
def test_names_that_are_refused_and_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        parse_file_name(text)


@pytest.mark.parametrize("text", ["/", "//", "a//", "/a/", "./", "../", "a/../", "a\0/", "\ud800/"])
def test_folder_names_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_folder_name(text)


def test_the_empty_name_is_the_root_folder() -> None:
    assert parse_folder_name("") == ROOT == ""


@pytest.mark.parametrize("character", ["a", E_ACUTE, "\u20ac", DOG])
def test_the_longest_name_has_1024_bytes(character: str) -> None:
    longest = character * (MAX_NAME_SIZE // len(character.encode()))
    longest += "a" * (MAX_NAME_SIZE - len(longest.encode()))
    assert MAX_NAME_SIZE == len(longest.encode()) == 1024
    assert parse_file_name(longest) == longest
    with pytest.raises(InvalidName, match="1025 bytes"):
        parse_file_name(longest + "a")


def test_the_size_of_a_name_is_that_of_its_canonical_form() -> None:
    assert parse_file_name(E_AND_ACUTE * 512) == E_ACUTE * 512
    with pytest.raises(InvalidName, match="1026 bytes"):
        parse_file_name(E_AND_ACUTE * 513)
    # U+0958 is excluded from composition: its canonical form is twice as long.
    with pytest.raises(InvalidName, match="1026 bytes"):
        parse_file_name("\u0958" * 171)


def test_the_longest_folder_name_has_1024_bytes_with_its_slash() -> None:
    assert parse_folder_name("a" * 1023) == "a" * 1023 + "/"
    with pytest.raises(InvalidName):
        parse_folder_name("a" * 1024)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (E_ACUTE, E_AND_ACUTE),
        ("\u212b", "\u00c5"),  # the sign of the ångström, and the letter
        ("\u1100\u1161", "\uac00"),  # a Hangul syllable in its parts
        ("a\u0323\u0307", "a\u0307\u0323"),  # marks in either order
    ],
)
def test_what_looks_the_same_is_the_same_name(one: str, other: str) -> None:
    assert one != other
    assert parse_file_name(f"x/{one}") == parse_file_name(f"x/{other}")
    assert parse_folder_name(one) == parse_folder_name(other)


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("\ufb01", "fi"), ("\u2460", "1")])
def test_what_looks_alike_only_is_not_the_same_name(one: str, other: str) -> None:
    assert parse_file_name(one) != parse_file_name(other)


@given(text=valid_names)
@example(text="a%2Fb+c d?#&;=:@!$'()*,[]\\")
def test_every_name_survives_its_url(text: str) -> None:
    name = parse_file_name(text)
    path = encode_path(name)
    assert decode_path(path) == name
    assert parse_file_name(decode_path(path)) == name
    # RFC 3986 §3.3: what a path may hold unencoded.
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", path)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", ""),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a+b", "a+b"),
        ("%20", " "),
        ("%25", "%"),
        ("%2525", "%25"),  # decoded once
        ("%252F", "%2F"),
        ("%2E%2E", ".."),  # it is for the rules, which come behind, to refuse it
        ("%00", "\0"),
        ("%C3%A9", E_ACUTE),
        ("%c3%a9", E_ACUTE),
        (E_ACUTE, E_ACUTE),
        ("%F0%9F%90%95", DOG),
        ("%EF%BF%BF", "\uffff"),
        ("%F4%8F%BF%BF", "\U0010ffff"),
    ],
)
def test_decode_path(raw: str, text: str) -> None:
    assert decode_path(raw) == text


@pytest.mark.parametrize(
    "raw", ["%", "a%", "%4", "%4/", "%zz", "%4g", "%%41", "%%25", "%25%", "% 1"]
)
def test_a_percent_without_two_digits_is_refused(raw: str) -> None:
    with pytest.raises(InvalidName, match="%"):
        decode_path(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "%FF",
        "%80",
        "a%C3",
        "%C3%28",
        "%E2%82",
        "%C0%AF",  # overlong `/`
        "%C1%81",
        "%E0%80%AF",
        "%F0%80%80%AF",
        "%C0%80",
        "%ED%A0%80",  # surrogates
        "%ED%BF%BF",
        "%ED%A0%BD%ED%B0%95",
        "%F4%90%80%80",  # above U+10FFFF
        "%F8%88%80%80%80",
    ],
)
def test_bytes_that_are_not_utf8_are_refused(raw: str) -> None:
    with pytest.raises(InvalidName, match="UTF-8"):
        decode_path(raw)


@pytest.mark.parametrize("raw", ["\udcff", "a/\ud800", "%41\udc80"])
def test_a_path_that_is_not_unicode_is_refused(raw: str) -> None:
    # Such text is what a server makes of header bytes that are not UTF-8.
    with pytest.raises(InvalidName):
        decode_path(raw)


@given(raw=st.text(st.sampled_from("%%%%0123456789abcdefABCDEFg/\u00e9"), max_size=15))
@example(raw="%C3%A9")
@example(raw="%e2%82%ac")
def test_decode_path_agrees_with_decoding_byte_by_byte(raw: str) -> None:
    def octet(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 16)])

    try:
        if re.search("%(?![0-9a-fA-F]{2})", raw):
            raise ValueError("a lone %")  # noqa: TRY301 - both kinds of refusal end in one place
        expected = re.sub(rb"%(..)", octet, raw.encode()).decode()
    except ValueError:
        with pytest.raises(InvalidName):
            decode_path(raw)
    else:
        assert decode_path(raw) == expected


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("a", []),
        ("a/b", ["a/"]),
        ("a/b/c", ["a/", "a/b/"]),
        ("", []),
        ("a/", []),
        ("a/b/", ["a/"]),
        ("a/b/c/", ["a/", "a/b/"]),
    ],
)
def test_ancestors_and_parent(name: str, folders: list[str]) -> None:
    assert list(ancestors(FileName(name))) == folders
    assert parent(FileName(name)) == (folders[-1] if folders else ROOT)


@given(text=valid_names)
def test_ancestors_are_all_folders_on_the_way_to_a_name(text: str) -> None:
    name = parse_file_name(text)
    segments = name.split("/")
    on_the_way = ["/".join(segments[:count]) + "/" for count in range(1, len(segments))]
    for child in (name, FolderName(name + "/")):
        assert list(ancestors(child)) == on_the_way
        assert parent(child) == ([ROOT, *on_the_way])[-1]
    assert all(parse_folder_name(folder) == folder for folder in on_the_way)


# Few characters, so that one text often begins with the other, and those at the edges of code.
edge_texts = st.text(
    st.sampled_from(
        "\0a/0\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010fffe\U0010ffff"
    ),
    max_size=4,
)
prefixes = st.one_of(edge_texts, whole_texts)


@given(prefix=prefixes, rest=prefixes, other=prefixes)
@example(prefix="\ud7ff", rest="", other="\ue000")
@example(prefix="a\U0010ffff", rest="\U0010ffff", other="b")
def test_texts_with_a_prefix_are_those_from_it_to_its_stop(
    prefix: str, rest: str, other: str
) -> None:
    stop = prefix_stop(prefix)
    for text in (prefix, prefix + rest, other):
        assert text.startswith(prefix) == (prefix <= text and (stop is None or text < stop))


@given(prefix=prefixes)
def test_the_stop_of_a_prefix_does_not_begin_with_it(prefix: str) -> None:
    stop = prefix_stop(prefix)
    if stop is None:
        assert set(prefix) <= {"\U0010ffff"}
    else:
        assert stop > prefix
        assert not stop.startswith(prefix)
        assert stop.encode().decode() == stop


@pytest.mark.parametrize(
    ("prefix", "stop"),
    [
        ("a", "b"),
        ("a/", "a0"),
        ("ab", "ac"),
        ("\u007f", "\u0080"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\ud7ff\U0010ffff\U0010ffff", "\ue000"),
        ("", None),
        ("\U0010ffff", None),
        ("\U0010ffff\U0010ffff", None),
    ],
)
def test_prefix_stop(prefix: str, stop: str | None) -> None:
    assert prefix_stop(prefix) == stop


@given(one=prefixes, other=prefixes)
def test_order_by_code_point_is_that_of_the_utf8_bytes(one: str, other: str) -> None:
    assert (one < other) == (one.encode() < other.encode())


def test_no_plain_character_has_another_spelling() -> None:
    # Rules of a proxy for a plain name would not know it.
    for code_point in range(0x80, sys.maxunicode + 1):
        character = chr(code_point)
        if unicodedata.is_normalized("NFC", character):
            continue
        try:
            name = parse_file_name(f"-{character}")
        except InvalidName:
            continue
        assert not name[1:].isascii(), hex(code_point)
