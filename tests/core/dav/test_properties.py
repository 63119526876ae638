"""Dead properties as one value."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.dav.properties import (
    MAX_PROPERTIES_SIZE,
    PropertyChange,
    PropertyName,
    changed_properties,
    format_properties,
    parse_properties,
)
from chunkstore.core.errors import StoreDamaged, TooManyProperties

names = st.builds(PropertyName, st.sampled_from(["", "DAV:", "urn:é"]), st.sampled_from("ab"))
changes = st.lists(st.builds(PropertyChange, names, st.none() | st.text(max_size=20)))


@given(changes, changes)
def test_changes_are_made_in_order(
    first: Sequence[PropertyChange], second: Sequence[PropertyChange]
) -> None:
    expected: dict[PropertyName, str] = {}
    for change in [*first, *second]:
        expected.pop(change.name, None)
        if change.element is not None:
            expected[change.name] = change.element
    try:
        kept = changed_properties(changed_properties(None, first), second)
    except UnicodeEncodeError:
        return
    assert parse_properties(kept) == expected
    assert (kept is None) == (not expected)


def test_they_are_bounded() -> None:
    name = PropertyName("urn:x", "a")
    overhead = len(format_properties({name: ""}) or b"")
    most = "ä" * ((MAX_PROPERTIES_SIZE - overhead) // 2)
    assert format_properties({name: most}) is not None
    with pytest.raises(TooManyProperties):
        changed_properties(None, [PropertyChange(name, most + "ää")])


@pytest.mark.parametrize("kept", [b"", b"{", b"\xff", b"3", b"[[1]]", b'["abcd"]'])
def test_damage_is_told(kept: bytes) -> None:
    with pytest.raises(StoreDamaged):
        parse_properties(kept)
