"""Servers that cut in different ways, one after the other, on one store."""

from __future__ import annotations

import http.client
import json
import random
from base64 import b64encode
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from blake3 import blake3

from tests.cli.test_command_line import fails_with_one_line
from tests.cli.test_options import refusal
from tests.process import ServerProcess, run_command, served

MIB: Final = 1024 * 1024
CONTENT: Final = random.Random(7).randbytes(9 * MIB + 1234)
ETAG: Final = f'"{blake3(CONTENT).hexdigest()}"'


def ask(
    server: ServerProcess, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def assert_is_content(server: ServerProcess, name: str) -> None:
    answer, content = ask(server, "GET", f"/files/{name}")
    assert (answer.status, answer.headers["ETag"]) == (200, ETAG)
    assert content == CONTENT
    answer, part = ask(server, "GET", f"/files/{name}", Range="bytes=1000000-3000000")
    assert (answer.status, part) == (206, CONTENT[1_000_000:3_000_001])


def test_the_same_content_has_one_etag_and_is_kept_by_all_that_keeps(tmp_path: Path) -> None:
    for way in ("fixed", "cdc", "auto"):
        with served(tmp_path, "--chunking", way) as server:
            answer, _ = ask(server, "PUT", f"/files/{way}", CONTENT)
            assert (answer.status, answer.headers["ETag"]) == (201, ETAG)
            answer, _ = ask(server, "GET", "/files/fixed", If_None_Match=ETAG)
            assert answer.status == 304
            for name in ("fixed", way):
                assert_is_content(server, name)
    for command in (
        ("scrub",),
        ("backup", "backup.db"),
        ("copy", "backup.db", "copy.db"),
        ("export", "tree"),
        ("import", "--db", "imported.db", "--chunking", "cdc", "tree"),
    ):
        result = run_command(tmp_path, *command)
        assert result.returncode == 0, result.stderr
    for db in ("backup.db", "copy.db", "imported.db"):
        with served(tmp_path, "--db", db) as server:
            for name in ("fixed", "cdc", "auto"):
                assert_is_content(server, name)


def begin(server: ServerProcess, name: str) -> str:
    """Begin an upload by tus and return its path."""
    answer, _ = ask(
        server, "POST", "/uploads/", Tus_Resumable="1.0.0", Upload_Length=str(len(CONTENT)),
        Upload_Metadata=f"filename {b64encode(name.encode()).decode()}",
    )  # fmt: skip
    assert answer.status == 201
    return urlsplit(answer.headers["Location"]).path


@pytest.mark.parametrize("chunking", ["cdc", "fixed"])
def test_an_upload_goes_on_as_it_was_begun_whatever_ends_the_server(
    tmp_path: Path, chunking: str
) -> None:
    ways: Sequence[str] = [chunking, "fixed", "cdc", "auto"]
    stops = [0, 300_000, 5 * MIB, 7 * MIB + 5, len(CONTENT)]
    path = ""
    for way, (start, stop) in zip(ways, pairwise(stops), strict=True):
        server = ServerProcess(tmp_path, "--chunking", way)
        try:
            path = path or begin(server, "a")
            answer, _ = ask(
                server, "PATCH", path, CONTENT[start:stop], Tus_Resumable="1.0.0",
                Upload_Offset=str(start), Content_Type="application/offset+octet-stream",
            )  # fmt: skip
            assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(stop))
        finally:
            server.kill()
    with served(tmp_path, "--chunking", chunking) as server:
        assert_is_content(server, "a")
        # Its list is that of a PUT, so a PUT finds all of it.
        _, told = ask(server, "PUT", "/files/b", CONTENT)
        assert json.loads(told)["new_size"] == 0


@pytest.mark.parametrize("chunking", ["cdc", "auto"])
def test_a_store_of_small_chunks_is_told_to_cut_fixed_ones(tmp_path: Path, chunking: str) -> None:
    options = ("--chunking", chunking, "--port", "0")
    line = refusal(run_command(tmp_path, "serve", *options, "--chunk-size", "128KiB"))
    assert "--chunking fixed is the only way here: content-defined chunks have up to" in line
    with served(tmp_path, "--chunk-size", "128KiB"):
        pass
    line = fails_with_one_line(run_command(tmp_path, "serve", *options))
    assert "Files can only be cut by --chunking fixed" in line
    (tmp_path / "tree").mkdir()
    line = fails_with_one_line(run_command(tmp_path, "import", "--chunking", chunking, "tree"))
    assert "Files can only be cut by --chunking fixed" in line


def test_another_way_to_cut_is_refused(tmp_path: Path) -> None:
    line = refusal(run_command(tmp_path, "serve", "--chunking", "rabin"))
    assert "'rabin' is none of fixed, cdc, auto" in line
