"""Every query on PostgreSQL fits tables that are spread over machines; see its schema.sql."""

from __future__ import annotations

import re

import pytest

from chunkstore.store.postgres.rows import PACKAGE, QUERIES
from chunkstore.store.shared.queries import load_queries, load_script

FUNCTIONS = load_queries(PACKAGE, "functions.sql") | load_queries(PACKAGE, "by_digest_spread.sql")
# By the column that says where a row lies: tables of one group have equal values in one place.
GROUPS = (
    {"chunk": "digest", "chunk_data": "digest", "chunk_ref": "digest", "damaged_list": "digest"},
    {"manifest": "id", "place": "manifest", "subtree": "manifest", "checksum": "manifest"},
    {"entry": "path", "vacated": "path"},
    {"upload": "id", "upload_part": "upload", "upload_pack": "upload"},
    {"receipt": "id"},
    {"unfinished": "slot"},
    {"audit": "id"},
)
# Small tables that are on every machine.
EVERYWHERE = {"setting", "server", "record", "quota", "lock"}
COLUMNS = {table: column for group in GROUPS for table, column in group.items()}
# What each machine has of its own, and is asked of the one that is connected to.
_CATALOGS = {"pg_proc", "pg_locks", "pg_stat_activity", "pg_database"}
LACKING = re.compile(r"advisory|\bnotify\b|\blisten\b|\blo_|skip locked|\bserial\b", re.IGNORECASE)


def tables_of(query: str) -> set[str]:
    found = re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!SET\b)([a-z_]+)\b(?!\()", query)
    return set(found) - {"clock_timestamp", *_CATALOGS}


def violations(query: str) -> list[str]:
    """Return what of the query such databases refuse, or cannot do on one machine."""
    tables = tables_of(query)
    found = [f"unknown table {table}" for table in tables - COLUMNS.keys() - EVERYWHERE]
    spread = tables & COLUMNS.keys()
    if spread and not any(spread <= group.keys() for group in GROUPS):
        found.append("tables that do not lie together")
    if LACKING.search(query):
        found.append("what they lack")
    for table in spread:
        column = COLUMNS[table]
        if re.search(r"\bFOR (KEY )?(SHARE|UPDATE)\b|\bFOR UPDATE\b", query) and not re.search(
            rf"WHERE {column} = \$1\b", query
        ):
            found.append("a lock on many rows")
        if re.match(rf"UPDATE {table}\b", query) and re.search(rf"SET (.*, )?{column} =", query):
            found.append("a row that changes its place")
        conflict = re.search(rf"(?s)INSERT INTO {table}\b.*ON CONFLICT \(([^)]*)\)", query)
        if conflict and column not in conflict[1].split(", "):
            found.append("a uniqueness that one place cannot know")
    if len(spread) > 1:
        equal = r"\b(\w+)\.digest = (\w+)\.digest\b|INSERT INTO \w+ \(path\)\s+SELECT path FROM"
        if not re.search(equal, query):
            found.append("a join of rows that do not lie together")
    return found


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_stays_in_its_place(name: str) -> None:
    assert violations(QUERIES[name]) == []


def statements_of(function: str) -> list[str]:
    """Return the statements of a function, its variables as if they were parameters."""
    body = function.split("$$")[1]
    body = re.sub(r"\bINTO [\w, ]+?\s+FROM\b", "FROM", body)
    body = re.sub(r"\b(?:\w+\.)?(path|id) = \w+\b", r"\1 = $1", body)
    parts = re.split(r";|\bLOOP\b|\bTHEN\b", body)
    found = [re.search(r"(?s)\b(SELECT|INSERT|UPDATE|DELETE|PERFORM)\b.*", part) for part in parts]
    return [match[0] for match in found if match]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_so_does_each_statement_of_a_function(name: str) -> None:
    statements = statements_of(FUNCTIONS[name])
    assert statements
    for statement in statements:
        assert violations(statement) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 FROM place JOIN chunk ON chunk.digest = place.digest",
        "SELECT 1 FROM chunk JOIN chunk_data ON chunk.size = chunk_data.size",
        "SELECT 1 FROM entry WHERE path >= $1 FOR UPDATE",
        "SELECT 1 FROM entry WHERE path >= $1 FOR SHARE",
        "UPDATE entry SET path = $1 WHERE path = $2",
        "UPDATE entry SET made = $1, path = $2",
        "SELECT pg_advisory_lock(1)",
        "INSERT INTO entry (path) VALUES ($1) ON CONFLICT (name) DO NOTHING",
        "SELECT 1 FROM file",
        "DELETE FROM chunk WHERE NOT EXISTS (SELECT 1 FROM manifest WHERE id = $1)",
    ],
)
def test_what_does_not_is_found(query: str) -> None:
    assert violations(query)


def test_the_groups_are_those_of_the_script() -> None:
    script = load_script(PACKAGE, "distribution.sql")
    distributed = re.findall(r"create_distributed_table\('(\w+)', '(\w+)'", script)
    assert dict(distributed) == COLUMNS
    assert set(re.findall(r"create_reference_table\('(\w+)'", script)) == EVERYWHERE
    tables = re.findall(r"CREATE TABLE (\w+)", load_script(PACKAGE, "schema.sql"))
    assert set(tables) | {"setting"} == COLUMNS.keys() | EVERYWHERE
