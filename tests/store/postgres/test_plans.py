"""Rows are found by their keys, also by plans that were made while the tables were empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.store import PostgresStore
from tests.postgres import Cluster

COUNT: Final = 3000
# After so many times a plan may be kept that does not depend on the parameters.
_UNTIL_PLANNED: Final = 8
_SOME: Final = range(0, COUNT, COUNT // 32)
_DIGESTS: Final = [number.to_bytes(32, "big") for number in _SOME]
_PATHS: Final = [f"f{number}" for number in _SOME]
# What is asked with long lists, or for each name; all of it within one transaction.
ASKED: Final[Sequence[tuple[str, Sequence[Any]]]] = [
    ("known_chunks", [_DIGESTS]),
    ("chunks", [_DIGESTS]),
    ("chunks_to_scrub", [_DIGESTS]),
    ("references", [_DIGESTS]),
    ("chunks_kept", [1, _DIGESTS]),
    ("places_with", [1, _DIGESTS]),
    ("find_file", ["f1"]),
    ("files_among", [_PATHS]),
    ("find_contents", [_PATHS, [1000] * len(_PATHS)]),
    ("manifests_of_files", [list(_SOME)]),
    ("names_of_manifests", [list(_SOME)]),
    ("proofs_of_manifests", [list(_SOME)]),
    ("marked_lists", [list(_SOME)]),
    ("delete_some_references", [1, _DIGESTS]),
    ("delete_unused_chunks", [_DIGESTS]),
]
_GROWTH: Final = f"""
INSERT INTO manifest (id, chunk_size, created) VALUES (1, 1, 1), (2, 1, 1);
INSERT INTO chunk (digest, size, stored_size, codec, created)
    SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), 1, 1, 0, 1
    FROM generate_series(0, {COUNT - 1}) n;
INSERT INTO chunk_data SELECT digest, 'x' FROM chunk;
INSERT INTO chunk_ref SELECT digest, 1 FROM chunk;
INSERT INTO place SELECT 1, row_number() OVER (), 1, digest, 0 FROM chunk;
INSERT INTO entry (path, manifest, size, chunks)
    SELECT 'f' || n, 2, 0, 0 FROM generate_series(0, {COUNT - 1}) n;
"""


@pytest.fixture
async def store(postgres: Cluster) -> AsyncIterator[PostgresStore]:
    url = postgres.create_database("plans")
    store = await PostgresStore.open(url, connections=1)
    yield store
    await store.close()
    postgres.sql("DROP DATABASE plans")


async def _ask_all(db: Connection) -> dict[str, tuple[int, int]]:
    """Return of each query how many rows it has returned, and how many were read on the way."""
    seen, read = {}, 0
    for query, parameters in ASKED:
        rows = await db.fetch(QUERIES[query], *parameters)
        before, read = (
            read,
            await db.fetchval(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint"
                " FROM pg_stat_xact_user_tables"
            ),
        )
        seen[query] = len(rows), read - before
    return seen


async def test_no_whole_table_is_read_that_has_grown_since_the_plan_was_made(
    store: PostgresStore, postgres: Cluster
) -> None:
    database = store._opened.database
    for _ in range(_UNTIL_PLANNED):
        await database.write(_ask_all)
    postgres.sql(*_GROWTH.strip().split(";\n"), database="plans")
    seen = await database.write(_ask_all)
    # Of two tables, and twice if it is to be deleted; a place is found by its list only.
    most = {query: 6 * len(_SOME) for query, _ in ASKED} | {"places_with": COUNT}
    assert {query: read for query, (_, read) in seen.items() if read > most[query]} == {}
    for query in ("known_chunks", "chunks", "references", "chunks_kept", "places_with"):
        assert seen[query] == (len(_SOME), seen[query][1])
    assert seen["delete_unused_chunks"][0] == len(_SOME)
    left = postgres.sql("SELECT count(*) FROM chunk", database="plans")
    assert int(left) == COUNT - len(_SOME)
