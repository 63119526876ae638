"""The commands that look after a store, as people run them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.test_command_line import fails_with_one_line, get, put
from tests.process import run_command, served


def test_backup_while_serving_and_serve_the_backup(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"x" * 300_000)
        shown = run_command(tmp_path, "backup", "b.db")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith("Copied 2 new chunks, ")
        put(server, "new", b"new")
        shown = run_command(tmp_path, "backup", "b.db")
        assert shown.stdout == "Copied 1 new chunk, 3 bytes.\n"
        line = fails_with_one_line(run_command(tmp_path, "backup", "none/b.db"))
        assert "none/b.db cannot be opened" in line
        url = "postgresql://user:secret@db/files"
        line = fails_with_one_line(run_command(tmp_path, "backup", url))
        assert "`chunkstore copy` fills one of PostgreSQL" in line
        assert "secret" not in line
    with served(tmp_path, "--db", "b.db") as backup:
        assert get(backup, "a") == b"x" * 300_000
        assert get(backup, "new") == b"new"


def test_a_store_is_no_backup_of_itself(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"a")
    (tmp_path / "link.db").symlink_to("chunkstore.db")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name in ("chunkstore.db", "link.db"):
        line = fails_with_one_line(run_command(tmp_path, "backup", name))
        assert "The backup is the store itself." in line
    assert all(path.read_bytes() == content for path, content in before.items())
    # It is no backup, so it says nothing of becoming a store of its own.
    with served(tmp_path) as server:
        put(server, "b", b"b")
        server.stop()
        assert "backup" not in server.log.read_text()


def test_a_backup_that_took_over_is_not_undone_by_the_old_one(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"a")
        assert run_command(tmp_path, "backup", "b.db").returncode == 0
    with served(tmp_path, "--db", "b.db") as promoted:
        put(promoted, "new", b"new")
        promoted.wait_for_log("b.db is a store of its own from now on")
    line = fails_with_one_line(run_command(tmp_path, "backup", "b.db"))
    assert "a store of its own" in line
    with served(tmp_path, "--db", "b.db") as promoted:
        assert get(promoted, "new") == b"new"


def test_backup_of_what_is_damaged(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        put(server, "a", b"x")
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        db.execute("UPDATE chunk_data SET bytes = X'00'")
    shown = run_command(tmp_path, "backup", "b.db")
    assert shown.returncode == 1
    assert "is damaged; it is part of 'a'\n" in shown.stdout
    assert shown.stderr == "chunkstore: 1 chunk is damaged.\n"


def test_import_and_export(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"a" * 1000)
    (tree / "b").write_bytes(b"a" * 1000)
    shown = run_command(tmp_path, "import", "--into", "x/y", "tree")
    assert shown.stdout == "Imported 2 files, 2.0 KiB, of which 1000 bytes were new.\n"
    with served(tmp_path) as server:
        assert get(server, "x/y/a") == b"a" * 1000
        shown = run_command(tmp_path, "export", "--from", "x/", "out")
        assert shown.stdout == "Exported 2 files, 2.0 KiB.\n"
        shown = run_command(tmp_path, "import", "--into", "served", "tree")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout == "Imported 2 files, 2.0 KiB, of which 0 bytes were new.\n"
        assert get(server, "served/b") == b"a" * 1000
    assert (tmp_path / "out/y/b").read_bytes() == b"a" * 1000
    (tree / "b").write_bytes(b"changed")
    shown = run_command(tmp_path, "import", "--into", "x/y", "tree")
    assert (shown.returncode, shown.stdout) == (
        1,
        "Imported 1 file, 1000 bytes, of which 0 bytes were new.\n",
    )
    assert shown.stderr == (
        "'tree/b' was not imported: There is a file 'x/y/b' already, with another content;"
        " --overwrite replaces it.\n"
        "chunkstore: 1 name was not imported.\n"
    )
    (tree / "link").symlink_to("a")
    shown = run_command(tmp_path, "import", "--into", "z", "tree")
    assert shown.returncode == 1
    assert shown.stderr == (
        "'tree/link': It is a symbolic link, which a store cannot hold.\n"
        "chunkstore: Nothing was imported; --skip leaves these out.\n"
    )
    assert run_command(tmp_path, "import", "--skip", "--into", "z", "tree").returncode == 0
    figures = json.loads(run_command(tmp_path, "stats", "--json").stdout)
    assert figures["files"] == 6


def test_an_export_names_what_it_cannot_write_and_goes_on(tmp_path: Path) -> None:
    long = "x" * 300
    with served(tmp_path) as server:
        for name in ("a", "b", long, f"{long}y/c", "z"):
            put(server, name, name.encode())
    (tmp_path / "out" / "b").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        db.execute("UPDATE chunk_data SET bytes = X'00' WHERE bytes = CAST('a' AS BLOB)")
    shown = run_command(tmp_path, "export", "out")
    assert shown.returncode == 1
    assert shown.stdout == "Exported 1 file, 1 bytes.\n"
    *named, last = shown.stderr.splitlines()
    assert [line.partition(" was not exported: ")[0] for line in named] == [
        "'a'",
        "'b'",
        f"'{long}'",
        f"'{long}y/'",
    ]
    assert last == "chunkstore: 4 names were not exported."
    assert (tmp_path / "out/z").read_bytes() == b"z"


def test_export_of_what_is_not_there(tmp_path: Path) -> None:
    fails_with_one_line(run_command(tmp_path, "export", "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_copy_names_what_is_damaged_or_in_the_way_and_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, "--db", "a.db") as server:
        for name in ("bad", "b/bad", "x/in", "b/good", "good"):
            put(server, name, name.encode())
    with served(tmp_path, "--db", "b.db") as server:
        put(server, "x", b"a file where a folder is")
    with closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute(
            "UPDATE chunk_data SET bytes = X'00' WHERE bytes IN (CAST('bad' AS BLOB),"
            " CAST('b/bad' AS BLOB))"
        )
    shown = run_command(tmp_path, "copy", "a.db", "b.db")
    assert shown.returncode == 1
    assert shown.stdout == "Copied 2 files, 10 bytes: 2 new chunks, 10 bytes.\n"
    *named, last = shown.stderr.splitlines()
    assert sorted(line.partition(" was not copied: ")[0] for line in named) == [
        "'b/bad'",
        "'bad'",
        "'x/in'",
    ]
    assert last == "chunkstore: 3 names were not copied."
    with served(tmp_path, "--db", "b.db") as server:
        assert get(server, "good") == b"good"
        assert get(server, "b/good") == b"b/good"


def test_a_copy_blames_the_store_that_cannot_be_opened(tmp_path: Path) -> None:
    line = fails_with_one_line(run_command(tmp_path, "copy", "none.db", "b.db"))
    assert "cannot open none.db: There is no such file." in line
    assert list(tmp_path.iterdir()) == []
    assert run_command(tmp_path, "init", "--db", "a.db").returncode == 0
    line = fails_with_one_line(run_command(tmp_path, "copy", "a.db", "none/b.db"))
    assert "cannot open none/b.db: " in line


def test_a_copy_onto_itself_is_refused(tmp_path: Path) -> None:
    assert run_command(tmp_path, "init", "--db", "a.db").returncode == 0
    (tmp_path / "b.db").symlink_to("a.db")
    for other in ("a.db", "./a.db", "b.db"):
        shown = run_command(tmp_path, "copy", "a.db", other)
        assert shown.returncode == 2
        assert "are the same store" in shown.stderr


def test_an_import_says_that_it_makes_a_store(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_bytes(b"content")
    assert "new store" in run_command(tmp_path, "import", "--db", "s.db", "tree").stderr
    assert run_command(tmp_path, "import", "--db", "s.db", "tree").stderr == ""
