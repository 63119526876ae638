"""Programs that fetch only what differs, by chunks of their own or by ranges.

The commands are those of docs/clients.md, and the programs are real, but for desync.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.clients.conftest import Machine
from tests.process import served
from tests.programs import require_program

# More than any of these clients asks for in one request, so that they ask several times.
CHANGES = 300


def write_versions(folder: Path, mark: bytes = b"") -> None:
    """Write `model.bin`, and `old.bin`, which differs in CHANGES of twice as many records."""
    source = random.Random(20230521)
    records = [mark + source.randbytes(5000) for _ in range(2 * CHANGES)]
    (folder / "model.bin").write_bytes(b"".join(records))
    records[::2] = [mark + source.randbytes(5000) for _ in range(CHANGES)]
    (folder / "old.bin").write_bytes(b"".join(records))


def same(folder: Path, one: str, other: str) -> bool:
    """Whether two files are equal."""
    return (folder / one).read_bytes() == (folder / other).read_bytes()


def test_casync(machine: Machine) -> None:
    require_program("casync")
    machine.run("casync")
    assert same(machine.folder, "back.bin", "model.bin")
    # The next version, in the same store of chunks.
    content = bytearray((machine.folder / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (machine.folder / "model.bin").write_bytes(content)
    (machine.folder / "back.bin").unlink()
    printed = machine.run("casync")
    assert same(machine.folder, "back.bin", "model.bin")
    [line] = [line for line in printed.splitlines() if line.startswith("{")]
    files = json.loads(line)["files"]
    assert sum(file["new_size"] for file in files) < sum(file["size"] for file in files) / 10
    assert {one.status for one in machine.requests()} == {200, 201}


def test_zsync(machine: Machine) -> None:
    for program in ("zsync", "zsyncmake"):
        require_program(program)
    write_versions(machine.folder)
    machine.run("zsync")
    assert same(machine.folder, "new.bin", "model.bin")
    whole = (machine.folder / "model.bin").stat().st_size
    check_ranges(machine, "model.bin", most_bytes=whole)


def test_zchunk(machine: Machine) -> None:
    write_versions(machine.folder, mark=b"#RECORD#")
    require_program("zckdl")
    # So that there are as many chunks as records.
    machine.install("zck", require_program("zck"), "-m", "-s", "'#RECORD#'")
    machine.shell.run("zck -o old.zck old.bin")
    machine.run("zchunk")
    assert same(machine.folder, "back/model.zck", "model.zck")
    whole = (machine.folder / "model.zck").stat().st_size
    check_ranges(machine, "model.zck", most_bytes=0.7 * whole)


def check_ranges(machine: Machine, name: str, most_bytes: float) -> None:
    """Check that a file was fetched by few requests of many ranges each, and by no whole one."""
    asked = [one for one in machine.requests() if one.path.endswith(f"/{name}")]
    gets = [one for one in asked if one.method == "GET"]
    assert {one.status for one in gets} == {206}
    assert len(gets) < CHANGES / 20
    assert sum(one.size for one in gets) < most_bytes


@contextmanager
def connected(port: int) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", port)
    try:
        yield connection
    finally:
        connection.close()


def test_what_desync_asks(tmp_path: Path) -> None:
    # As folbricht/desync has it, remotehttp.go: HEAD is 200 or 404, PUT 200 or 201.
    digest = "d04421364c903b8ddb71eda209765bab9696a1e1869ff37ef2718ba4b7574b4f"
    chunk = f"/files/castr/{digest[:4]}/{digest}.cacnk"
    with served(tmp_path) as server, connected(server.port) as connection:

        def ask(method: str, path: str, body: bytes | Iterator[bytes] | None = None) -> int:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, path, body, encode_chunked=chunked)
            with connection.getresponse() as response:
                content = response.read()
                assert method != "GET" or content == b"chunk"
                return response.status

        assert ask("HEAD", chunk) == 404
        assert ask("PUT", chunk, b"chunk") == 201
        assert ask("HEAD", chunk) == 200
        assert ask("PUT", chunk, b"chunk") == 200
        assert ask("GET", chunk) == 200
        # An index comes as a stream of unknown length.
        assert ask("PUT", "/files/index/model.caibx", iter([b"chunk"])) == 201
        assert ask("GET", "/files/index/model.caibx") == 200
