"""Pages of chaining values between their rows and the contract, the same for every store."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from chunkstore.core.manifest import tie_values
from chunkstore.store.contract.subtrees import SubtreePage


def sound_pages(list_id: int, rows: Iterable[tuple[int, bytes, int]]) -> list[SubtreePage]:
    """Return pages from rows of a start, values and a tie, up to the first that is damaged."""
    pages = []
    for start, values, found in rows:
        if not _is_tied(list_id, start, values, found):
            break
        pages.append(SubtreePage(start, values))
    return pages


def _is_tied(list_id: int, start: int, values: bytes, found: int) -> bool:
    try:
        return tie_values(list_id, start, values) == found
    except (TypeError, struct.error):
        # The row has what no page has.
        return False
