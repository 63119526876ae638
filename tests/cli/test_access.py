"""The commands of who may do what, as people run them: alone, beside a server, on PostgreSQL."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_command_line import fails_with_one_line
from tests.postgres import Cluster
from tests.process import COMMAND, clean_environment, run_command, served

PASSWORD = "correct horse battery"


def run(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with a text on standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=clean_environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def result(folder: Path, *arguments: str, text: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return what a command prints as JSON."""
    shown = run(folder, *arguments, "--json", text=text)
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)


def use(folder: Path, *db: str) -> None:
    """Go through the commands."""
    made = result(folder, "user", "add", "Anna", "--admin", *db, text=f"{PASSWORD}\n")
    assert (made["name"], made["admin"], made["password"]) == ("Anna", True, True)
    result(folder, "user", "add", "bert", *db, text=f"{PASSWORD}\r\nmore")
    line = fails_with_one_line(run(folder, "user", "add", "ANNA", *db, text=PASSWORD))
    assert "There is an account or a group with this name" in line
    result(folder, "group", "add", "hr", *db)
    result(folder, "group", "join", "hr", "Bert", *db)
    assert result(folder, "group", "ls", *db) == [{"name": "@hr", "members": ["bert"]}]
    rule = result(folder, "allow", "@HR", "hr", "editor", *db)
    assert rule == {"subject": "@hr", "folder": "/hr/", "verbs": "editor"}
    result(folder, "allow", "everyone", "/", "list,read", *db)
    result(folder, "allow", "everyone", "/hr/", "-", *db)
    assert [tuple(one.values()) for one in result(folder, "rules", *db)] == [
        ("Anna", "/", "owner"),
        ("everyone", "/", "reader"),
        ("@hr", "/hr/", "editor"),
        ("everyone", "/hr/", "-"),
    ]
    assert result(folder, "who-can", "write", "/hr/pay", *db) == [
        {"subject": "Anna", "by": ["Anna"]},
        {"subject": "bert", "by": ["@hr"]},
    ]
    assert result(folder, "who-can", "read", "x", *db)[0]["subject"] == "everyone"
    made = result(folder, "token", "add", "--account", "bert", "--role", "reader", *db)
    assert made["token"].startswith("cks_")
    listed = result(folder, "token", "ls", *db)
    assert [one["id"] for one in listed] == [made["id"]]
    assert made["token"] not in json.dumps(listed)
    result(folder, "token", "revoke", made["id"], *db)
    assert result(folder, "token", "ls", "--account", "bert", *db) == []
    result(folder, "user", "disable", "bert", *db)
    listed = result(folder, "user", "ls", *db)
    assert [(one["disabled"], one["totp"]) for one in listed] == [(False, False), (True, False)]
    issuer = "https://login.example.org"
    linked = result(folder, "user", "sso", "link", "Bert", issuer, "248 x", *db)
    assert (linked["account"], linked["issuer"], linked["subject"]) == ("bert", issuer, "248 x")
    line = fails_with_one_line(run(folder, "user", "sso", "link", "anna", issuer, "248 x", *db))
    assert "The account bert is linked with them" in line
    assert result(folder, "user", "sso", "ls", *db) == [linked]
    assert result(folder, "user", "sso", "unlink", "bert", *db) == [linked]
    line = fails_with_one_line(run(folder, "user", "totp", "remove", "Bert", *db))
    assert "Bert has no second factor" in line
    result(folder, "user", "enable", "bert", *db)
    result(folder, "user", "passwd", "bert", *db, text="staple correct horse")
    result(folder, "group", "leave", "hr", "bert", *db)
    result(folder, "group", "remove", "@hr", *db)
    result(folder, "allow", "everyone", "/hr/", "inherit", *db)
    line = fails_with_one_line(run(folder, "user", "remove", "Anna", "--open-store", *db))
    assert "not the last account" in line
    result(folder, "user", "remove", "bert", *db)
    result(folder, "user", "remove", "Anna", "--open-store", *db)
    assert result(folder, "user", "ls", *db) == []


def test_beside_a_server_they_have_it_do_what_they_say(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        use(tmp_path)
        assert server.stop() == 0
    assert not (tmp_path / "chunkstore.db-control").exists()


def test_on_postgresql_they_work_beside_servers(tmp_path: Path, postgres: Cluster) -> None:
    db = ("--db", postgres.create_database("accounts"))
    with served(tmp_path, *db):
        use(tmp_path, *db)


def test_after_a_server_was_killed_they_open_the_database_again(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        server.kill()
    assert (tmp_path / "chunkstore.db-control").exists()
    result(tmp_path, "user", "add", "anna", "--no-password")
    assert result(tmp_path, "user", "ls")[0]["password"] is False


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty store, which nothing is changed in."""
    folder = tmp_path_factory.mktemp("empty")
    assert run_command(folder, "init").returncode == 0
    return folder


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (("user", "add", "anna"), "", "There is no password on standard input"),
        (("user", "add", "anna"), "short\n", "15 characters or more"),
        (("user", "add", "anna"), "passwordpassword\n", "guessed first"),
        (("user", "add", "a b"), PASSWORD, "letters, digits and"),
        (("user", "add", "everyone"), PASSWORD, "stands for everybody"),
        (("allow", "everyone", "/a//b/", "reader"), "", "empty segment"),
        (("allow", "everyone", "", "reader"), "", "The folder is empty"),
        (("allow", "everyone", "/", "everything"), "", "neither a role"),
        (("allow", "nobody", "/", "reader"), "", "There is no account nobody"),
        (("allow", "@none", "/", "reader"), "", "There is no group @none"),
        (("who-can", "fly", "/"), "", "neither a role"),
        (("token", "add", "--account", "nobody"), "", "There is no account nobody"),
        (("token", "add", "--account", "x", "--expires", "soon"), "", "soon"),
        (("token", "revoke", "x"), "", "There is no such token"),
        (("user", "ls", "--db", "none.db"), "", "There is no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    empty: Path, arguments: tuple[str, ...], text: str, message: str
) -> None:
    failed = run(empty, *arguments, text=text)
    assert failed.returncode in (1, 2)
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_tables_are_for_people(tmp_path: Path) -> None:
    shown = run(tmp_path, "user", "add", "Anna", "--admin", text=PASSWORD)
    assert (shown.stdout, shown.stderr) == ("Anna may do everything.\n", "")
    assert run(tmp_path, "rules").stdout == "folder  subject  verbs\n/       Anna     owner\n"
    token = run(tmp_path, "token", "add", "--account", "anna", "--expires", "never").stdout
    assert token.startswith("cks_")
    assert len(token) == 43
    row = run(tmp_path, "token", "ls").stdout.splitlines()[1].split()
    assert row[1:] == ["Anna", "-", "/", "owner", "-", "-"]


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "user", "add", "anna"],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    shown = b""
    with suppress(OSError):
        for question in (b"Password:", b"confirmation:"):
            while not shown.rstrip().endswith(question):
                shown += os.read(terminal, 1000)
            os.write(terminal, PASSWORD.encode() + b"\n")
        while part := os.read(terminal, 1000):
            shown += part
    os.close(terminal)
    assert process.wait(60) == 0, shown
    assert PASSWORD.encode() not in shown
    assert b"anna may do nothing yet: `chunkstore allow anna FOLDER ROLE`." in shown


def test_who_may_write_in_one_folder_sends_only_what_is_missing_there(tmp_path: Path) -> None:
    content = bytearray(os.urandom(8 * 256 * 1024))
    (tmp_path / "file").write_bytes(content)
    run(tmp_path, "user", "add", "anna", "--admin", text=PASSWORD)
    run(tmp_path, "user", "add", "bert", text=PASSWORD)
    run(tmp_path, "allow", "bert", "/p/", "editor")
    token = result(tmp_path, "token", "add", "--account", "bert", "--role", "editor")["token"]
    with served(tmp_path) as server:
        push = ("push", "--json", "file", f"{server.url}files/p/file")
        refused = run_command(tmp_path, *push)
        assert "CHUNKSTORE_TOKEN" in refused.stdout + refused.stderr
        wrong = run_command(tmp_path, *push, environment={"CHUNKSTORE_TOKEN": f"{token}x"})
        assert "are not right here" in wrong.stdout
        environment = {"CHUNKSTORE_TOKEN": token, "HOME": str(tmp_path)}
        elsewhere = ("push", "file", f"{server.url}files/q/file")
        refused = run_command(tmp_path, *elsewhere, environment=environment)
        assert "There is no folder where you may put 'q/file'." in refused.stderr
        assert run_command(tmp_path, *push, environment=environment).returncode == 0
        content[:10] = bytes(10)
        (tmp_path / "file").write_bytes(content)
        done = run_command(tmp_path, *push, environment=environment)
        assert done.returncode == 0, done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        spared = {line["spared"] for line in told if "spared" in line}
        assert spared == {7 * 256 * 1024}
