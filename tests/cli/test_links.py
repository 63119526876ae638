"""The commands of links, as people run them: alone, and beside a server."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.test_access import result, run
from tests.cli.test_command_line import fails_with_one_line
from tests.process import served

PASSWORD = "correct horse battery"
LINK_PASSWORD = "tulips for berta"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where a store is that has a file, `a/b`, and an account, `anna`."""
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "b").write_text("content")
    assert run(tmp_path, "import", "tree").returncode == 0
    result(tmp_path, "user", "add", "anna", "--admin", text=PASSWORD)
    return tmp_path


def test_links_are_made_changed_listed_and_revoked(folder: Path) -> None:
    made = run(folder, "link", "add", "/a/b", "--account", "anna", "--uses", "2")
    assert (made.returncode, made.stderr) == (0, "")
    path = made.stdout.strip()
    assert path.startswith("/s/")
    assert path.endswith("/")
    dropped = result(
        folder, "link", "add", "a/", "--account", "anna", "--drop", "--files", "2", "--bytes",
        "1MiB", "--expires", "1d", "--label", "In", "--password", text=LINK_PASSWORD,
    )  # fmt: skip
    assert (dropped["kind"], dropped["password"], dropped["most_bytes"]) == ("drop", True, 2**20)
    first, second = result(folder, "link", "ls", "--account", "anna")
    assert (first["target"], first["most_uses"], first["uses"]) == ("/a/b", 2, 0)
    assert {"token", "path"} & second.keys() == set()
    changed = result(folder, "link", "set", first["id"], "--follow", "--expires", "2d")
    assert changed["follows"]
    assert changed["expires"] < first["expires"]
    assert not result(folder, "link", "set", second["id"], "--no-password")["password"]
    shown = run(folder, "link", "ls").stdout
    assert "0 of 2" in shown
    assert "0 (0 bytes)" in shown
    assert "is revoked" in run(folder, "link", "revoke", second["id"]).stdout
    assert [link["id"] for link in result(folder, "link", "ls")] == [first["id"]]


def test_what_is_not_possible_is_one_line(folder: Path) -> None:
    for arguments, told in [
        (("add", "/a/c", "--account", "anna"), "no file"),
        (("add", "/a/b", "--account", "bert"), "no account"),
        (("add", "/a/b", "--account", "anna", "--drop"), "slash"),
        (("add", "/a/b", "--account", "anna", "--expires", "never"), "365 days"),
        (("set", "nope", "--pin"), "no such link"),
        (("revoke", "nope"), "no such link"),
        (("policy", "--default", "500d"), "365 days"),
    ]:
        assert told in fails_with_one_line(run(folder, "link", *arguments)), arguments
    assert run(folder, "link", "policy").stdout == "Links last 30 days, 365 days at most.\n"
    run(folder, "link", "policy", "--default", "1d", "--greatest", "never")
    assert (
        run(folder, "link", "policy").stdout == "Links last 1 day, as long as their makers like.\n"
    )


def test_a_running_server_has_them_at_once(folder: Path) -> None:
    with served(folder) as server:
        path = run(folder, "link", "add", "/a/b", "--account", "anna").stdout.strip()
        url = f"{server.url.rstrip('/')}{path}files/b"
        with urlopen(url) as response:
            assert response.read() == b"content"
        [link] = result(folder, "link", "ls")
        assert link["uses"] == 1
        run(folder, "link", "revoke", link["id"])
        with pytest.raises(HTTPError, match="404"):
            urlopen(Request(url))
        assert path.split("/")[2] not in server.log.read_text()
