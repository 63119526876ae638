"""Real clients of resumable uploads: cut off in the middle, they go on to identical bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from blake3 import blake3

from benchmarks.machine import write_random
from tests.process import served
from tests.programs import require_node_package

MIB = 1024 * 1024
# How many chunks of the client a content has.
CHUNKS = 20
NAME = "folder/content"
HERE = Path(__file__).parent


class Mode(NamedTuple):
    """A client, and what it is asked to do."""

    program: str
    endpoint: str = "uploads"
    protocol: str = "tus-v1"
    parallel: int = 1


MODES = {
    "tuspy": Mode("tus_upload.py"),
    "tus-js-client": Mode("tus_upload.cjs"),
    "tus-js-client-in-parallel": Mode("tus_upload.cjs", parallel=3),
    "tus-js-client-draft-03": Mode("tus_upload.cjs", f"files/{NAME}", "ietf-draft-03"),
    "tus-js-client-draft-05": Mode("tus_upload.cjs", f"files/{NAME}", "ietf-draft-05"),
}


def write_content(folder: Path, config: pytest.Config) -> None:
    """Write what is uploaded, of an odd size not much above what was asked for."""
    write_random(folder / "content", config.getoption("--upload-size") + 12345)


def check_content(folder: Path, url: str) -> None:
    """Check that what was uploaded comes back, as it is and with its digest."""
    digest = blake3().update_mmap(folder / "content").hexdigest()
    received = blake3()
    with urlopen(f"{url}files/{NAME}") as response:
        assert response.headers["ETag"] == f'"{digest}"'
        while piece := response.read(MIB):
            received.update(piece)
    assert received.hexdigest() == digest


def start(folder: Path, mode: Mode, url: str) -> subprocess.Popen[str]:
    options: dict[str, Any] = {
        "file": str(folder / "content"),
        "name": NAME,
        "endpoint": url + mode.endpoint,
        "protocol": mode.protocol,
        "chunkSize": -(-(folder / "content").stat().st_size // CHUNKS),
        "parallelUploads": mode.parallel,
        "storage": str(folder / "urls.json"),
        "pauseMilliseconds": 30,
    }
    command = [sys.executable, str(HERE / mode.program)]
    if mode.program.endswith(".cjs"):
        package = require_node_package("tus-js-client")
        command = ["node", str(HERE / mode.program), str(package)]
    return subprocess.Popen(
        [*command, json.dumps(options)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_chunks(client: subprocess.Popen[str], count: int) -> None:
    assert client.stdout is not None
    while count:
        line = client.stdout.readline()
        assert line, client.communicate()
        count -= line == "chunk\n"


def end(client: subprocess.Popen[str]) -> str:
    out, errors = client.communicate(timeout=300)
    assert client.returncode == 0, errors
    assert out.splitlines()[-1] == "done"
    return out


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_an_upload_goes_on_after_client_and_server_were_killed(
    tmp_path: Path, pytestconfig: pytest.Config, mode: Mode
) -> None:
    write_content(tmp_path, pytestconfig)
    with served(tmp_path) as server:
        client = start(tmp_path, mode, server.url)
        wait_for_chunks(client, 4)
        client.kill()
        client.communicate()
        client = start(tmp_path, mode, server.url)
        wait_for_chunks(client, 4)
        server.kill()
        client.communicate(timeout=300)
        assert client.returncode != 0
    with served(tmp_path, port=server.port) as server:
        out = end(start(tmp_path, mode, server.url))
        assert out.startswith("resumed\n")
        # It was not begun anew.
        assert out.count("chunk\n") < CHUNKS - 4
        check_content(tmp_path, server.url)
