"""A database that is deleted or replaced under a running server, or damaged."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.test_command_line import fails_with_one_line, get, put
from tests.process import ServerProcess, run_command, served


def refused(server: ServerProcess, name: str, method: str = "PUT") -> tuple[int, dict[str, str]]:
    """Return the status and the problem that a request for a file is refused with."""
    data = b"x" if method == "PUT" else None
    request = Request(f"{server.url}files/{name}", data=data, method=method)
    with pytest.raises(HTTPError) as refusal:
        urlopen(request)
    with refusal.value as answer:
        return answer.code, json.load(answer)


def ready(server: ServerProcess) -> tuple[int, list[str]]:
    try:
        with urlopen(f"{server.url}health/ready") as response:
            return response.status, json.load(response)["faults"]
    except HTTPError as error:
        with error:
            return error.code, json.load(error)["faults"]


def overwrite(folder: Path) -> None:
    shutil.copyfile(folder / "backup.db", folder / "s.db")


def replace(folder: Path) -> None:
    shutil.copyfile(folder / "backup.db", folder / "other.db")
    (folder / "other.db").replace(folder / "s.db")


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda folder: (folder / "s.db").unlink(),
    "log deleted": lambda folder: (folder / "s.db-wal").unlink(),
    "replaced": replace,
    "overwritten": overwrite,
    "truncated": lambda folder: os.truncate(folder / "s.db", 0),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_acknowledged_that_will_be_gone(tmp_path: Path, loss: str) -> None:
    with served(tmp_path, "--db", "s.db") as server:
        put(server, "a", b"a")
        assert run_command(tmp_path, "backup", "--db", "s.db", "backup.db").returncode == 0
        put(server, "a", b"new")
        assert ready(server) == (200, [])
        LOSSES[loss](tmp_path)
        status, [fault] = ready(server)
        assert status == 503
        assert "deleted or replaced" in fault
        for method, name in (("PUT", "b"), ("MKCOL", "folder/"), ("DELETE", "a"), ("PUT", "c")):
            code, problem = refused(server, name, method)
            assert (code, problem["type"]) == (503, "urn:chunkstore:problem:database-replaced")
        server.wait_for_log("nothing is stored any more")
        assert server.log.read_text().count("nothing is stored any more") == 1
        assert "Traceback" not in server.log.read_text()
        server.kill()


def test_a_database_of_which_nothing_can_be_read_is_told_of(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "s.db") as server:
        put(server, "a", b"a")
        server.kill()
    with served(tmp_path, "--db", "s.db") as server:
        put(server, "b", b"b")
        os.truncate(tmp_path / "s.db", 0)
        refused(server, "c")
        status, [fault, *_] = ready(server)
        assert status == 503
        assert "deleted or replaced" in fault
        server.kill()


def test_figures_of_a_database_that_was_deleted(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "s.db") as server:
        put(server, "a", b"a")
        (tmp_path / "s.db").unlink()
        with pytest.raises(HTTPError) as refusal:
            urlopen(f"{server.url}stats")
        with refusal.value as answer:
            assert answer.code == 503
        assert "Traceback" not in server.log.read_text()
        server.kill()


def test_a_database_that_is_put_back_is_served_on(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "s.db") as server:
        put(server, "a", b"a")
        (tmp_path / "s.db").rename(tmp_path / "aside")
        assert refused(server, "b")[0] == 503
        assert get(server, "a") == b"a"
        (tmp_path / "aside").rename(tmp_path / "s.db")
        put(server, "c", b"c")
        assert ready(server) == (200, [])
        server.wait_for_log("s.db is there again")
        server.kill()
    with served(tmp_path, "--db", "s.db") as server:
        assert (get(server, "a"), get(server, "c")) == (b"a", b"c")


def damage(database: Path, table: str) -> None:
    """Overwrite the first page of a table or an index, which all its rows are in."""
    with closing(sqlite3.connect(database)) as db:
        [(page,)] = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchall()
        [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
    with database.open("r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(b"\xff" * page_size)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a server that has stopped, with a file `a` in it."""
    folder = tmp_path_factory.mktemp("prepared")
    with served(folder) as server:
        put(server, "a", b"a" * 100_000)
    return folder / "chunkstore.db"


@pytest.mark.parametrize(
    ("table", "method", "name"),
    [
        ("file", "GET", "a"),
        ("file_by_manifest", "DELETE", "a"),
        ("sqlite_autoindex_chunk_1", "PUT", "b"),
        ("chunk_data", "GET", "a"),
    ],
)
def test_damage_of_the_database_is_told_from_that_of_a_chunk(
    prepared: Path, tmp_path: Path, table: str, method: str, name: str
) -> None:
    shutil.copy(prepared, tmp_path)
    damage(tmp_path / "chunkstore.db", table)
    with served(tmp_path) as server:
        assert ready(server) == (200, [])
        code, problem = refused(server, name, method)
        assert (code, problem["type"]) == (500, "urn:chunkstore:problem:database-damaged")
        assert "a backup has to be restored" in problem["detail"]
        status, [fault] = ready(server)
        assert (status, fault) == (503, problem["detail"])
        server.kill()


def test_a_database_that_is_too_damaged_to_be_opened(prepared: Path, tmp_path: Path) -> None:
    shutil.copy(prepared, tmp_path)
    assert run_command(tmp_path, "backup", "b.db").returncode == 0
    damage(tmp_path / "chunkstore.db", "manifest")
    for command in (["serve", "--port", "0"], ["stats"]):
        line = fails_with_one_line(run_command(tmp_path, *command))
        assert "cannot open chunkstore.db: The database itself is damaged" in line
    assert run_command(tmp_path, "restore", "b.db").returncode == 0
    with served(tmp_path) as server:
        assert get(server, "a") == b"a" * 100_000
