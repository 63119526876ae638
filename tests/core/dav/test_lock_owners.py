"""What a lock says of its owner, as people are told it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.dav.lock_owners import held, owner_text
from chunkstore.core.dav.locks import Lock
from chunkstore.core.errors import Held, Locked
from chunkstore.http.dav.xml_reading import escape_text

END = datetime(2026, 11, 29, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("", ""),
        ("<o/>", ""),
        ("<o>\n  Anna\n  Bell </o>", "Anna Bell"),
        ('<D:owner xmlns:D="DAV:"><D:href>mailto:a@b</D:href></D:owner>', "mailto:a@b"),
        ("<o><first>Anna</first><last>Bell</last></o>", "Anna Bell"),
        ("<o>A&amp;B &lt;script&gt;</o>", "A&B <script>"),
        ("<o>a\u202eb\u0085c&#x9;d</o>", "a b c d"),
        ("<o>not closed", ""),
        (f"<o>{'x' * 81}</o>", f"{'x' * 79}…"),
    ],
)
def test_its_text_is_told_on_one_line(owner: str, text: str) -> None:
    assert owner_text(owner) == text


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_it_is_bounded_whatever_it_is(text: str) -> None:
    told = owner_text(f"<o>{escape_text(text)}</o>")
    assert len(told) <= 80
    assert told == " ".join(told.split())


def test_who_is_refused_is_told_by_whom_and_until_when() -> None:
    lock = Lock("t", "a/b", True, True, True, "<o>Anna</o>", "1", 60, END)
    error = Locked([held(lock)])
    assert error.locks == [Held("a/b/", "Anna", "1", END)]
    assert error.roots == ["a/b/"]
    assert error.for_clients.startswith("'/a/b/' is locked by 'Anna' until 14:30 UTC")
    error.asker = "2"
    assert "by 'Anna'" in error.for_clients
    assert error.for_clients.endswith("or have it broken by who has `admin` there.")
    error.asker = "1"
    assert "by you until" in error.for_clients
    assert error.for_clients.endswith("or send the token of the lock.")
    of_a_guest = Locked([Held("a", "", "", END)])
    of_a_guest.asker = "2"
    assert of_a_guest.for_clients.endswith("or send the token of the lock.")
    assert Locked([held(lock)], "worded").for_clients == "worded"
    # What may not be told is not, and who is nobody in particular has taken none.
    assert (
        Locked([]).for_clients == "A lock is in the way; send its token, or wait until it is gone."
    )
    assert not Locked([]).is_own(Held("a", "", "", END))
