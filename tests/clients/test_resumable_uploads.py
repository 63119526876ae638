"""Real clients of resumable uploads: cut off in the middle, they go on to identical bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from blake3 import blake3

from tests.process import served
from tests.programs import require_node_package

RandomBytes = Callable[[int], bytes]
SIZE = 10 * 1024 * 1024 + 12345
CHUNK_SIZE = 512 * 1024 + 17
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


def start(folder: Path, mode: Mode, url: str) -> subprocess.Popen[str]:
    options: dict[str, Any] = {
        "file": str(folder / "content"),
        "name": NAME,
        "endpoint": url + mode.endpoint,
        "protocol": mode.protocol,
        "chunkSize": CHUNK_SIZE,
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
    tmp_path: Path, random_bytes: RandomBytes, mode: Mode
) -> None:
    content = random_bytes(SIZE)
    (tmp_path / "content").write_bytes(content)
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
        assert out.count("chunk\n") < SIZE // CHUNK_SIZE - 4
        with urlopen(f"{server.url}files/{NAME}") as response:
            assert response.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
            assert response.read() == content
