"""Checksums of contents in an SQLite store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from chunkstore.store.contract.checksums import Checksums, Sums
from chunkstore.store.shared.checksums import checksum_columns, sound_checksums
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import QUERIES, execute

_SIZE_OF_ROW: Final = 256


class SQLiteChecksums(Checksums):
    """The checksums in an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def find(self, list_ids: Sequence[int]) -> Mapping[int, Sums]:
        return await self._database.readers.run(partial(_find, list_ids=list_ids))

    async def keep(self, known: Mapping[int, Sums]) -> None:
        size = _SIZE_OF_ROW * sum(map(len, known.values()))
        await self._database.writable.run(partial(put, known=known), size=size, durable=False)


def _find(db: sqlite3.Connection, list_ids: Sequence[int]) -> Mapping[int, Sums]:
    rows = execute(db, "find_checksums", manifests=json.dumps(list(list_ids)))
    return sound_checksums(tuple(row) for row in rows)


def put(db: sqlite3.Connection, known: Mapping[int, Sums]) -> None:
    """Keep checksums of contents."""
    db.executemany(
        QUERIES["put_checksum"],
        [
            {"manifest": list_id, "algorithm": algorithm, "value": value, "tie": tie}
            for list_id, sums in known.items()
            for algorithm, value, tie in zip(*checksum_columns(list_id, sums), strict=True)
        ],
    )
