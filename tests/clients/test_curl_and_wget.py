"""Real clients: what docs/http.md shows, and downloads that break off."""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest
from blake3 import blake3

from tests.process import ServerProcess, served
from tests.programs import require_program

RandomBytes = Callable[[int], bytes]
GUIDE = Path(__file__).parents[2] / "docs" / "http.md"
SIZE = 24 * 1024 * 1024 + 12345
# Slow enough for a client to be killed in the middle, whatever the machine.
RATE = 4 * 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with served(tmp_path) as server:
        yield server


@pytest.fixture
def content(tmp_path: Path, random_bytes: RandomBytes) -> bytes:
    content = random_bytes(SIZE)
    (tmp_path / "content").write_bytes(content)
    return content


def run(folder: Path, *command: str) -> str:
    require_program(command[0])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def resume_commands(url: str) -> dict[str, tuple[str, ...]]:
    return {
        "curl": ("curl", "-fsS", "-C", "-", "-o", "back", url),
        "wget": ("wget", "-q", "-c", "-O", "back", url),
    }


def slow_commands(url: str) -> dict[str, tuple[str, ...]]:
    return {
        "curl": ("curl", "-fsS", "--limit-rate", str(RATE), "-o", "back", url),
        "wget": ("wget", "-q", f"--limit-rate={RATE}", "--tries=1", "-O", "back", url),
    }


def test_a_folder_comes_back_whole(tmp_path: Path, server: ServerProcess) -> None:
    commands = GUIDE.read_text().replace("\\\n", "").splitlines()
    [line] = [line for line in commands if line.startswith("wget -q")]
    *command, url = shlex.split(line, comments=True)
    folder = urlsplit(url).path.lstrip("/")
    names = {"x/ä #1", *(f"{number:02}" for number in range(70))}
    for name in names:
        place = f"{server.url}{folder}{quote(name)}"
        urlopen(Request(place, data=name.encode(), method="PUT")).close()
    # In more pages than wget follows links of its own accord.
    run(tmp_path, *command, f"{server.url}{folder}?limit=10")
    back = tmp_path / "back" / folder.removeprefix("files/")
    found = {path.relative_to(back) for path in back.rglob("*") if path.is_file()}
    assert found == set(map(Path, names))
    assert all((back / name).read_text() == name for name in names)


def test_put_list_get_delete(tmp_path: Path, server: ServerProcess, content: bytes) -> None:
    url = f"{server.url}files/some/content"
    told = json.loads(run(tmp_path, "curl", "-fsS", "-T", "content", url))
    assert told["digest"] == blake3(content).hexdigest()
    listed = json.loads(run(tmp_path, "curl", "-fsS", f"{server.url}files/some/"))
    assert [file["name"] for file in listed["files"]] == ["some/content"]
    run(tmp_path, "curl", "-fsS", "-o", "back", url)
    assert (tmp_path / "back").read_bytes() == content
    run(tmp_path, "curl", "-fsS", "-X", "DELETE", url)
    listed = json.loads(run(tmp_path, "curl", "-fsS", f"{server.url}files/"))
    assert listed == {"files": [], "folders": [], "next": None}


def test_curl_takes_a_refusal_before_it_sends_the_body(
    tmp_path: Path, server: ServerProcess, content: bytes
) -> None:
    url = f"{server.url}files/content"
    run(tmp_path, "curl", "-fsS", "-T", "content", url)
    shown = run(
        tmp_path, "curl", "-sS", "-w", "%{http_code} %{size_upload}", "-o", "answer",
        "-H", "If-None-Match: *", "-T", "content", url,
    )  # fmt: skip
    assert shown == "412 0"
    # What `curl -C -` makes of an upload: a part, which must not replace the whole.
    shown = run(
        tmp_path, "curl", "-sS", "-w", "%{http_code} %{size_upload}", "-o", "answer",
        "-C", "1000", "-T", "content", url,
    )  # fmt: skip
    assert shown == "400 0"


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_a_download_cut_by_killing_the_client_goes_on(
    tmp_path: Path, server: ServerProcess, content: bytes, client: str
) -> None:
    url = f"{server.url}files/content"
    run(tmp_path, "curl", "-fsS", "-T", "content", url)
    back = cut_download(tmp_path, slow_commands(url)[client])
    back.kill()
    back.wait()
    assert 0 < (tmp_path / "back").stat().st_size < SIZE
    run(tmp_path, *resume_commands(url)[client])
    assert (tmp_path / "back").read_bytes() == content


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_a_download_cut_by_restarting_the_server_goes_on(
    tmp_path: Path, server: ServerProcess, content: bytes, client: str
) -> None:
    url = f"{server.url}files/content"
    run(tmp_path, "curl", "-fsS", "-T", "content", url)
    back = cut_download(tmp_path, slow_commands(url)[client])
    server.kill()
    assert back.wait() != 0
    assert 0 < (tmp_path / "back").stat().st_size < SIZE
    with served(tmp_path, port=server.port):
        run(tmp_path, *resume_commands(url)[client])
    assert (tmp_path / "back").read_bytes() == content


def cut_download(folder: Path, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a slow download and return it when a random part has come."""
    require_program(command[0])
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    back = folder / "back"
    enough = random.randrange(1, SIZE // 2)
    while not back.exists() or back.stat().st_size < enough:
        assert process.poll() is None
        time.sleep(0.01)
    return process
