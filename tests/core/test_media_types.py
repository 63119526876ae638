"""Parameters of media types."""

from __future__ import annotations

import pytest

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.message.headers import parse_parameters


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("a/b", {}),
        ("", {}),
        ("a/b;", {}),
        ("a/b;;  ;c=d;", {"c": "d"}),
        ("a/b ; C=d;e=F", {"c": "d", "e": "F"}),
        ('a/b; c="d e;f=\\"g\\\\"', {"c": 'd e;f="g\\'}),
        ("a/b; boundary=----WebKit=/?:'()", {"boundary": "----WebKit=/?:'()"}),
    ],
)
def test_parameters(header: str, parameters: dict[str, str]) -> None:
    assert parse_parameters(header) == parameters


@pytest.mark.parametrize(
    "header",
    ["a/b;c", "a/b;c=", 'a/b;c="', 'a/b;c="d"e', "a/b;c=d e", "a/b; =c", "a/b;c=d;C=e", "a/b;é=c"],
)
def test_what_are_no_parameters(header: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_parameters(header)
