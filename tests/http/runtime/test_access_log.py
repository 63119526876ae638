"""What the log may show of a request."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.http.runtime.access_log import escape


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("/files/a%20b?c=d", "/files/a%20b?c=d"),
        ('" 200 "', '\\" 200 \\"'),
        ("a\\b", "a\\\\b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f\t\r\n\0", "\\x7f\\t\\r\\n\\x00"),
        ("ä\u2028\u202e😀", "\\xe4\\u2028\\u202e\\U0001f600"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_not_plain_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


# Lone surrogates too: so octets come that are no text.
@given(st.text(st.characters()))
def test_an_escaped_text_is_plain_and_can_be_read_back(text: str) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert '"' not in escaped.replace("\\\\", "").replace('\\"', "")
    assert ast.literal_eval(f'"{escaped}"') == text
