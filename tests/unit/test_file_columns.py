"""No column of a file is lost where its row is written or copied: to another name, or a backup."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from chunkstore.store.shared.queries import load_queries, load_script
from chunkstore.store.sqlite.rows import FILE_COLUMNS

_SQLITE: Final = "chunkstore.store.sqlite"
_POSTGRES: Final = "chunkstore.store.postgres"
_KEYS: Final = {"name", "path"}
# What PostgreSQL computes by itself, and what only folders have.
_NOT_OF_FILES: Final = {"name", "made"}
# What leaves a file what it is, and its row where it is.
_REPAIRS: Final = {"repoint_files", "replace_damaged"}


def sqlite_columns() -> set[str]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(load_script(_SQLITE, "schema.sql"))
        return {row[1] for row in db.execute("PRAGMA table_info(file)")}


def postgres_columns() -> set[str]:
    script = load_script(_POSTGRES, "schema.sql")
    [body] = re.findall(r"^CREATE TABLE entry \(\n(.*?)^\);", script, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^    ([a-z_]+) [a-z]", body, re.MULTILINE)) - _NOT_OF_FILES


def columns_written(query: str) -> Iterator[set[str]]:
    """Yield the columns that each statement of a query gives a row of a file, but for the key.

    A file is what has a manifest; what sets none moves the row, and so all of it.
    """
    for columns in re.findall(r"INSERT INTO (?:main\.)?(?:file|entry)\s*\(([^)]*)\)", query):
        yield {column.strip() for column in columns.split(",")}
    for clauses in re.findall(
        r"UPDATE(?: file| entry)?\s+SET\s(.*?)(?:;|\sWHERE\s|$)", query, re.DOTALL
    ):
        yield set(re.findall(r"(?:^|,)\s*([a-z_]+) =", clauses))


def queries_that_lose(package: str, script: str, columns: set[str]) -> dict[str, set[str]]:
    lost: dict[str, set[str]] = {}
    count = 0
    for name, query in load_queries(package, script).items():
        if name in _REPAIRS:
            continue
        for written in columns_written(query):
            if "manifest" in written:
                count += 1
                missing = columns - _KEYS - written
                lost[name] = lost.get(name, set()) | missing
    assert count, "no query writes files"
    return {name: missing for name, missing in lost.items() if missing}


@pytest.mark.parametrize("script", ["queries.sql", "backup.sql"])
def test_sqlite_writes_and_copies_whole_rows(script: str) -> None:
    assert queries_that_lose(_SQLITE, script, sqlite_columns()) == {}


@pytest.mark.parametrize("script", ["queries.sql", "functions.sql"])
def test_postgresql_writes_and_copies_whole_rows(script: str) -> None:
    assert queries_that_lose(_POSTGRES, script, postgres_columns()) == {}


@pytest.mark.parametrize(
    ("package", "script", "query"),
    [
        (_SQLITE, "queries.sql", "put_file"),
        (_SQLITE, "queries.sql", "copy_file"),
        (_SQLITE, "backup.sql", "copy_source_files"),
        (_POSTGRES, "functions.sql", "put_file"),
    ],
)
def test_a_query_that_loses_a_column_is_named(package: str, script: str, query: str) -> None:
    columns = sqlite_columns() if package == _SQLITE else postgres_columns()
    assert queries_that_lose(package, script, columns | {"note"})[query] == {"note"}


@pytest.mark.parametrize("query", ["find_file_with_chunk", "list_names"])
def test_sqlite_reads_files_by_the_same_columns_in_the_same_places(query: str) -> None:
    queries = load_queries(_SQLITE)
    expected, found = (
        re.findall(r"(?:file|manifest)\.([a-z_]+)", queries[each].partition("FROM")[0])
        for each in ("find_file", query)
    )
    assert len(expected) == FILE_COLUMNS
    assert found[:FILE_COLUMNS] == expected


def test_a_backup_replaces_a_file_of_which_any_column_differs() -> None:
    query = load_queries(_SQLITE, "backup.sql")["delete_unlike_files"]
    compared = set(re.findall(r"theirs\.([a-z_]+) (?:=|IS) main\.file\.\1\b", query))
    # By these the rows are joined.
    assert compared | {"manifest", "proof"} == sqlite_columns()
