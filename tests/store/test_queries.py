"""Named queries in `.sql` files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkstore.store.shared.queries import load_queries, load_script

PackageMaker = Callable[..., str]


@pytest.fixture
def make_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> PackageMaker:
    """Return a function that makes an importable package of SQL files and returns its name."""

    def make(**scripts: str) -> str:
        # No two tests may share a name: Python remembers what it has imported.
        name = f"package_of_{request.node.name}".replace("[", "_").replace("]", "")
        package = tmp_path / name
        (package / "sql").mkdir(parents=True)
        (package / "__init__.py").touch()
        for stem, script in scripts.items():
            (package / "sql" / f"{stem}.sql").write_text(script, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return make


def test_queries_are_found_by_name(make_package: PackageMaker) -> None:
    package = make_package(
        queries="-- name: one\nSELECT 1;\n\n-- name: find_two\nSELECT 2\nFROM t;\n"
    )
    assert load_queries(package) == {"one": "SELECT 1", "find_two": "SELECT 2\nFROM t"}


def test_comment_lines_are_no_part_of_a_query(make_package: PackageMaker) -> None:
    script = """-- What this file is about.
-- It has; two lines.

-- name: one
-- What it is for.
-- Parameters: `:a`.
SELECT :a
-- between its lines
FROM t;
-- behind it

-- name: two
SELECT 2;
"""
    assert load_queries(make_package(queries=script)) == {
        "one": "SELECT :a\nFROM t",
        "two": "SELECT 2",
    }


def test_dashes_within_a_line_are_no_comment_line(make_package: PackageMaker) -> None:
    package = make_package(queries="-- name: one\nSELECT '-- name: two' -- tail\n  - -1;\n")
    assert load_queries(package) == {"one": "SELECT '-- name: two' -- tail\n  - -1"}


def test_semicolons_within_a_query_stay(make_package: PackageMaker) -> None:
    assert load_queries(make_package(queries="-- name: one\nSELECT ';';")) == {"one": "SELECT ';'"}


def test_a_file_without_names_has_no_queries(make_package: PackageMaker) -> None:
    assert load_queries(make_package(queries="-- Nothing yet.\nSELECT 1;\n")) == {}


def test_another_file_of_the_package_can_be_named(make_package: PackageMaker) -> None:
    package = make_package(
        queries="-- name: one\nSELECT 1;\n", others="-- name: one\nSELECT 'é';\n"
    )
    assert load_queries(package, "others.sql") == {"one": "SELECT 'é'"}


def test_a_script_is_returned_as_it_is(make_package: PackageMaker) -> None:
    script = "-- é\nCREATE TABLE t (a);\n"
    assert load_script(make_package(schema=script), "schema.sql") == script


def test_a_missing_file_is_an_error(make_package: PackageMaker) -> None:
    with pytest.raises(FileNotFoundError):
        load_queries(make_package())


@pytest.mark.parametrize("package", ["chunkstore.store.sqlite"])
def test_every_query_of_a_store_is_one_statement_under_a_name_of_its_own(package: str) -> None:
    queries = load_queries(package)
    script = load_script(package, "queries.sql")
    assert len(queries) == sum("name:" in line for line in script.splitlines())
    for query in queries.values():
        assert not query.startswith("--")
        assert sqlite3.complete_statement(f"{query};")
        assert ";" not in query
