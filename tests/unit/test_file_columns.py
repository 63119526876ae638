"""No column of a file is lost where its row is copied: to another name, or to a backup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from chunkstore.store.shared.queries import load_queries, load_script

_SQLITE: Final = "chunkstore.store.sqlite"
_POSTGRES: Final = "chunkstore.store.postgres"
# What PostgreSQL computes by itself, and what a file does not have.
_NOT_OF_FILES: Final = {"name", "made"}
_COMPARED_OTHERWISE: Final = {"name", "manifest"}


def columns_of(package: str, table: str) -> list[str]:
    script = load_script(package, "schema.sql")
    [body] = re.findall(rf"^CREATE TABLE {table} \(\n(.*?)\n\)", script, re.MULTILINE | re.DOTALL)
    columns = re.findall(r"(?:^|,)\s*([a-z_]+) (?:[A-Z]+|[a-z]+)\b", body, re.MULTILINE)
    assert len(columns) > 4
    return columns


def insertions(queries: Mapping[str, str], table: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each query that inserts rows with a manifest, which are files, and their columns."""
    for name, query in queries.items():
        inserted = re.findall(rf"INSERT INTO (?:main\.)?{table}\s*\(([^)]*)\)", query)
        for columns in inserted:
            found = {column.strip() for column in columns.split(",")}
            if "manifest" in found:
                yield name, found


@pytest.mark.parametrize("script", ["queries.sql", "backup.sql"])
def test_sqlite_writes_and_copies_whole_rows(script: str) -> None:
    columns = set(columns_of(_SQLITE, "file"))
    found = list(insertions(load_queries(_SQLITE, script), "file"))
    assert found
    for name, inserted in found:
        assert inserted == columns, name


def test_a_backup_replaces_a_file_of_which_any_column_differs() -> None:
    query = load_queries(_SQLITE, "backup.sql")["delete_unlike_files"]
    for column in set(columns_of(_SQLITE, "file")) - _COMPARED_OTHERWISE:
        assert re.search(rf"theirs\.{column} (=|IS) main\.file\.{column}\b", query), column


@pytest.mark.parametrize("script", ["queries.sql", "functions.sql"])
def test_postgresql_writes_and_copies_whole_rows(script: str) -> None:
    columns = set(columns_of(_POSTGRES, "entry")) - _NOT_OF_FILES
    found = list(insertions(load_queries(_POSTGRES, script), "entry"))
    assert found
    for name, inserted in found:
        assert inserted - _NOT_OF_FILES == columns, name
