"""How errors are told on one line."""

from __future__ import annotations

from chunkstore.core.errors import StoreError, describe_causes


def test_causes_are_told_outermost_first() -> None:
    error = StoreError("the store failed")
    error.__cause__ = OSError("the disk\nfailed")
    assert describe_causes(error) == ("StoreError: the store failed, from OSError: the disk failed")


def test_an_error_that_caused_itself_has_an_end() -> None:
    one, other = StoreError("one"), StoreError("other")
    one.__cause__, other.__cause__ = other, one
    assert describe_causes(one) == "StoreError: one, from StoreError: other"
