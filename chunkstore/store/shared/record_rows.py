"""The rows of records, as both databases have them."""

from __future__ import annotations

from typing import Any, Final

from chunkstore.core.errors import DatabaseDamaged
from chunkstore.core.timestamps import to_datetime, to_microseconds
from chunkstore.store.contract.records import PutRecord, Record

# Revisions are random numbers of so many bits: a counter has the same twice if a failover loses the
# last changes.
REVISION_BITS: Final = 62


def to_record(row: Any) -> Record:  # noqa: ANN401 - a row of one driver or the other
    """Return the record in a row.

    Raises:
        DatabaseDamaged: the row has what no record has.
    """
    expires = row["expires"]
    try:
        return Record(
            row["kind"],
            row["key"],
            row["owner"],
            row["value"],
            row["revision"],
            None if expires is None else to_datetime(expires),
        )
    except (TypeError, OverflowError) as error:
        raise DatabaseDamaged from error


def expiry_of(put: PutRecord) -> int | None:
    """Return when a record expires, in microseconds."""
    return None if put.expires is None else to_microseconds(put.expires)
