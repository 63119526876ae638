"""Several servers over one PostgreSQL database: behind nginx, as workers, and copied to."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import pytest

from tests.backends import PostgresBackend
from tests.clients.listed import fetch_by_list, send_by_list
from tests.clients.test_nginx import call, proxied
from tests.clients.test_resumable_uploads import (
    MODES,
    check_content,
    end,
    start,
    wait_for_chunks,
    write_content,
)
from tests.conftest import RandomBytes
from tests.process import ServerProcess, run_command, served
from tests.programs import require_program

SIZE = 24 * 1024 * 1024
# Slow enough for a server to be killed in the middle, whatever the machine.
RATE = 4 * 1024 * 1024
POLL_SECONDS = 0.05


@pytest.fixture
async def db(postgres_backend: PostgresBackend) -> str:
    """Return the URL of an empty database."""
    await postgres_backend.clear()
    return postgres_backend.location


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers of one database, and the URL at which nginx has both."""

    servers: tuple[ServerProcess, ServerProcess]
    url: str


@pytest.fixture
def pair(tmp_path: Path, db: str) -> Iterator[Pair]:
    require_program("nginx")
    folders = [tmp_path / name for name in ("first", "second", "nginx")]
    for folder in folders:
        folder.mkdir()
    options = ("--db", db, "--base-path", "/store/")
    with (
        served(folders[0], *options) as first,
        served(folders[1], *options) as second,
        proxied(folders[2], first, second) as url,
    ):
        yield Pair((first, second), url)


def test_a_list_goes_on_on_the_other_server(pair: Pair, random_bytes: RandomBytes) -> None:
    content = random_bytes(5 * 1024 * 1024)
    urls = [f"http://127.0.0.1:{server.port}/store/" for server in pair.servers]
    assert send_by_list(urls, "a", content) == 20
    changed = content[:1_000_000] + b"changed" + content[1_000_007:]
    # The other one begins.
    assert send_by_list(urls[::-1], "b", changed) == 1
    for url in (*urls, pair.url):
        assert fetch_by_list(url, "a") == content
        assert call("GET", f"{url}files/b").body == changed


@pytest.mark.parametrize("mode", ["tuspy", "tus-js-client-draft-05"])
def test_an_upload_goes_on_on_the_other_server(
    tmp_path: Path, pair: Pair, pytestconfig: pytest.Config, mode: str
) -> None:
    write_content(tmp_path, pytestconfig)
    client = start(tmp_path, MODES[mode], pair.url)
    wait_for_chunks(client, 4)
    # Both have had their part in it by now.
    for server in pair.servers:
        assert '"PATCH /store/' in server.log.read_text()
    pair.servers[0].kill()
    client.kill()
    client.communicate()
    out = end(start(tmp_path, MODES[mode], pair.url))
    assert out.startswith("resumed\n")
    check_content(tmp_path, pair.url)


def test_a_download_goes_on_on_the_other_server(
    tmp_path: Path, pair: Pair, random_bytes: RandomBytes
) -> None:
    content = random_bytes(SIZE)
    url = f"{pair.url}files/content"
    assert call("PUT", url, content).status == 201
    curl = [require_program("curl"), "-fsS", "-C", "-", "-o", str(tmp_path / "back"), url]
    download = subprocess.Popen([*curl, "--limit-rate", str(RATE)], stderr=subprocess.DEVNULL)
    wait_for_bytes(tmp_path / "back", download)
    # nginx gives them requests in turn.
    pair.servers[1].kill()
    assert download.wait() != 0
    assert 0 < (tmp_path / "back").stat().st_size < SIZE
    subprocess.run(curl, check=True)
    assert (tmp_path / "back").read_bytes() == content


def wait_for_bytes(path: Path, download: subprocess.Popen[bytes]) -> None:
    while not path.exists() or not path.stat().st_size:
        assert download.poll() is None
        time.sleep(POLL_SECONDS)


def test_workers_share_the_port_and_the_store(
    tmp_path: Path, db: str, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3_000_000)
    with served(tmp_path, "--db", db, "--workers", "3") as server:
        assert "Serving postgresql://" in server.announcement
        assert call("PUT", f"{server.url}files/a", content).status == 201
        workers = children(server.pid)
        assert len(workers) == 3
        for worker in workers[:2]:
            subprocess.run(["kill", "-KILL", str(worker)], check=True)
        # The third answers meanwhile; new ones take the places of the two.
        with urlopen(f"{server.url}files/a") as response:
            assert response.read() == content
        server.wait_for_log("another takes its place")
        while len(children(server.pid)) < 3:
            assert server.running
            time.sleep(POLL_SECONDS)
        assert server.stop() == 0


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_workers_end_with_the_process_that_watches_over_them(tmp_path: Path, db: str) -> None:
    with served(tmp_path, "--db", db, "--workers", "2") as server:
        workers = children(server.pid)
        server.kill()
        while any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
            time.sleep(POLL_SECONDS)


def test_workers_are_refused_on_sqlite(tmp_path: Path) -> None:
    done = run_command(tmp_path, "serve", "--workers", "2")
    assert done.returncode == 2
    assert "--workers needs PostgreSQL" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/none"
    environment = {"CHUNKSTORE_DB": url, "CHUNKSTORE_PORT": "0"}
    for arguments in (["stats"], ["serve"], ["serve", "--workers", "2"]):
        done = run_command(tmp_path, *arguments, environment=environment)
        assert done.returncode == 1
        assert "cannot open postgresql://user@127.0.0.1:1/none" in done.stderr
        assert "secret" not in done.stderr + done.stdout


def test_a_store_moves_to_postgres_and_back(
    tmp_path: Path, db: str, random_bytes: RandomBytes
) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "empty" / "inner").mkdir(parents=True)
    content = random_bytes(5_000_000)
    (source / "a" / "large").write_bytes(content)
    (source / "a" / "b" / "second").write_bytes(content + b"more")
    (source / "text.txt").write_text("text")
    assert run_command(tmp_path, "import", str(source)).returncode == 0
    there = run_command(tmp_path, "copy", "chunkstore.db", db)
    assert (there.returncode, there.stderr) == (0, "")
    assert "Copied 3 files, 9.5 MiB: " in there.stdout
    again = run_command(tmp_path, "copy", "chunkstore.db", db)
    assert again.stdout == "Copied 3 files, 9.5 MiB: 0 new chunks, 0 bytes.\n"
    back = run_command(tmp_path, "copy", db, "back.db")
    assert back.returncode == 0, back.stderr
    exported = run_command(tmp_path, "export", "--db", "back.db", "exported")
    assert exported.returncode == 0, exported.stderr
    assert tree(tmp_path / "exported") == tree(source)
    lists = [list_of(tmp_path, name) for name in ("chunkstore.db", db, "back.db")]
    assert lists[0] == lists[1] == lists[2]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def list_of(folder: Path, db: str) -> bytes:
    """Return what the list tells of all files: also types, digests and times."""
    with (
        served(folder, "--db", db) as server,
        urlopen(f"{server.url}files/?delimiter=") as response,
    ):
        listed: bytes = response.read()
    return listed


async def test_writers_at_the_last_byte_of_a_quota_of_both_servers(
    tmp_path: Path, db: str, random_bytes: RandomBytes
) -> None:
    limit, least = 3_000_000, 50_000
    audited = ("--db", db, "--audit", "always")
    with served(tmp_path, *audited) as first, served(tmp_path, *audited) as second:
        size = ("--size", str(limit), "--files", "1000")
        assert run_command(tmp_path, "quota", "set", "/q/", *size, "--db", db).returncode == 0

        async def write(number: int) -> int:
            """Put files of several sizes until there is no room; return what there was for."""
            server, written = (first, second)[number % 2], 0
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
                for turn in range(20):
                    content = random_bytes((least, 120_000, 70_000)[turn % 3])
                    name = f"/files/q/{number}/{turn % 7}"
                    async with session.put(name, data=content) as response:
                        told = await response.json()
                    if response.status == 507:
                        assert told["type"].endswith(":quota-exceeded")
                        assert told["used"] <= told["limit"] == limit
                        async with session.delete(name) as response:
                            assert response.status in (204, 404)
                    else:
                        assert response.status in (200, 201), told
                        written += 1
            return written

        written = await asyncio.gather(*map(write, range(16)))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{first.port}") as session:
            async with session.get("/files/?delimiter=") as response:
                files = (await response.json())["files"]
            async with session.get("/audit?action=create") as response:
                created = len((await response.text()).splitlines())
            async with session.get("/audit?action=replace") as response:
                replaced = len((await response.text()).splitlines())
        [quota] = json.loads(run_command(tmp_path, "quota", "ls", "--db", db, "--json").stdout)
    assert quota["size"] == sum(file["size"] for file in files) <= limit
    assert quota["files"] == len(files)
    assert created + replaced == sum(written)
