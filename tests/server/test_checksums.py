"""Servers that keep checksums, whatever ends them."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.cli.test_options import refusal
from tests.postgres import Cluster
from tests.process import ServerProcess, run_command, served
from tests.server.test_chunking import ask

OPTIONS: Final = ("--checksums", "md5,sha1")
ASKED: Final = (
    b'<D:propfind xmlns:D="DAV:"><D:prop>'
    b'<o:checksums xmlns:o="http://owncloud.org/ns"/></D:prop></D:propfind>'
)
_TOLD: Final = re.compile(
    r"<D:href>/dav/d/([^<]+)</D:href>.*?SHA1:([0-9a-f]{40}) MD5:([0-9a-f]{32})</"
)


def told_of(server: ServerProcess) -> dict[str, tuple[str, str]]:
    """Return SHA-1 and MD5 of the files in a folder, of which they are told."""
    _, answer = ask(server, "PROPFIND", "/dav/d/", ASKED, Depth="1")
    responses = answer.decode().split("</D:response>")
    found = [match for response in responses if (match := _TOLD.search(response))]
    return {match[1]: (match[2], match[3]) for match in found}


def until_all_are_told_of(server: ServerProcess, contents: Mapping[str, bytes]) -> None:
    expected = {
        name: (hashlib.sha1(content).hexdigest(), hashlib.md5(content).hexdigest())
        for name, content in contents.items()
    }
    deadline = time.monotonic() + 100
    while (told := told_of(server)) != expected:
        assert told.items() <= expected.items()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def put_until_refused(server: ServerProcess, contents: dict[str, bytes], who: int) -> None:
    """Put files until the server has gone; note those that were confirmed."""
    for number in range(10_000):
        name, content = f"{who}-{number}", b"%d of %d" % (number, who)
        try:
            answer, _ = ask(server, "PUT", f"/files/d/{name}", content)
        except OSError:
            return
        assert answer.status == 201
        contents[name] = content


def test_what_a_kill_has_cost_is_computed_at_the_next_start(tmp_path: Path) -> None:
    contents: dict[str, bytes] = {}
    server = ServerProcess(tmp_path, *OPTIONS)
    try:
        threads = [
            threading.Thread(target=put_until_refused, args=(server, contents, who))
            for who in range(4)
        ]
        for thread in threads:
            thread.start()
        while len(contents) < 100:
            time.sleep(0.01)
    finally:
        server.kill()
    for thread in threads:
        thread.join()
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        # As after a loss of power too, since they are not synced.
        db.execute("DELETE FROM checksum WHERE manifest % 3 = 0")
        # Files whose answer did not arrive.
        for (name,) in db.execute("SELECT name FROM file").fetchall():
            who, number = name.removeprefix("d/").split("-")
            contents.setdefault(f"{who}-{number}", b"%d of %d" % (int(number), int(who)))
    with served(tmp_path, *OPTIONS) as server:
        until_all_are_told_of(server, contents)


def test_what_is_imported_has_them_with_and_without_a_server(tmp_path: Path) -> None:
    contents = {f"{number}": b"%d" % number for number in range(3)}
    for part, names in (("with", ["0", "1"]), ("without", ["2"])):
        (tmp_path / part / "d").mkdir(parents=True)
        for name in names:
            (tmp_path / part / "d" / name).write_bytes(contents[name])
    assert run_command(tmp_path, "import", "without").returncode == 0
    with served(tmp_path, *OPTIONS) as server:
        assert run_command(tmp_path, "import", "with").returncode == 0
        # What the server puts has them at once.
        assert {"0", "1"} <= told_of(server).keys()
        until_all_are_told_of(server, contents)


def test_processes_of_one_server_complete_a_store(tmp_path: Path, postgres: Cluster) -> None:
    db = ("--db", postgres.create_database("checksums"))
    contents = {f"{number}": b"%d" % number for number in range(40)}
    with served(tmp_path, *db) as server:
        for name, content in contents.items():
            assert ask(server, "PUT", f"/files/d/{name}", content)[0].status == 201
    with served(tmp_path, *db, *OPTIONS, "--workers", "2") as server:
        until_all_are_told_of(server, contents)
        answer, told = ask(server, "GET", "/health/ready")
        assert answer.status == 200
        assert b'"checksums"' in told
        assert server.stop() == 0


@pytest.mark.parametrize(("given", "named"), [("crc32", "crc32"), ("md5,b2", "b2")])
def test_another_algorithm_is_refused(tmp_path: Path, given: str, named: str) -> None:
    line = refusal(run_command(tmp_path, "serve", "--checksums", given))
    assert f"'{named}' is none of md5, sha1, sha256" in line
