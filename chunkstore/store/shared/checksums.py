"""Checksums between their rows and the contract, the same for every store."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from chunkstore.core.manifest import tie_checksum
from chunkstore.store.contract.checksums import Sums


def sound_checksums(
    rows: Iterable[tuple[int, str, bytes, int]],
) -> dict[int, dict[str, bytes]]:
    """Return values by list and algorithm, from rows of these, a value and a tie.

    Those that are damaged are left out.
    """
    found: dict[int, dict[str, bytes]] = {}
    for list_id, algorithm, value, tie in rows:
        if _is_tied(list_id, algorithm, value, tie):
            found.setdefault(list_id, {})[algorithm] = value
    return found


def checksum_columns(list_id: int, sums: Sums) -> tuple[list[str], list[bytes], list[int]]:
    """Return the algorithms, the values and the ties of the checksums of one content."""
    ties = [tie_checksum(list_id, algorithm, value) for algorithm, value in sums.items()]
    return list(sums), list(sums.values()), ties


def _is_tied(list_id: int, algorithm: str, value: bytes, tie: int) -> bool:
    try:
        return tie_checksum(list_id, algorithm, value) == tie
    except (TypeError, ValueError, AttributeError, struct.error):
        # The row has what no checksum has.
        return False
