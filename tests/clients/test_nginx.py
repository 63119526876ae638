"""nginx in front, with the configuration that README shows."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import pytest

from tests.clients.test_resumable_uploads import (
    MODES,
    check_content,
    end,
    start,
    wait_for_chunks,
    write_content,
)
from tests.conftest import RandomBytes
from tests.process import ServerProcess, served
from tests.programs import require_program

README = Path(__file__).parents[2] / "README.md"
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    {upstream}
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def proxied(
    folder: Path, server: ServerProcess, other: ServerProcess | None = None
) -> Iterator[str]:
    """Run nginx in front of one or two servers; yield the URL of the store behind it."""
    blocks = re.findall(r"```nginx\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [upstream] = [block for block in blocks if block.startswith("upstream ")]
    [location] = [block for block in blocks if block.startswith("location ")]
    if other is None:
        upstream, location = "", location.replace(":8080", f":{server.port}")
    else:
        upstream = upstream.replace(":8080", f":{server.port}").replace(":8081", f":{other.port}")
        location = location.replace("http://127.0.0.1:8080;", "http://chunkstore;")
    port = free_port()
    text = CONFIGURATION.format(folder=folder, port=port, upstream=upstream, location=location)
    (folder / "nginx.conf").write_text(text)
    program = require_program("nginx")
    nginx = subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"])
    try:
        wait_for_port(nginx, port)
        yield f"http://127.0.0.1:{port}/store/"
    finally:
        nginx.terminate()
        nginx.wait(60)


def wait_for_port(nginx: subprocess.Popen[bytes], port: int) -> None:
    while nginx.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("nginx ended")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    require_program("nginx")
    with served(tmp_path, "--base-path", "/store/") as server:
        yield server


@pytest.fixture
def url(tmp_path: Path, server: ServerProcess) -> Iterator[str]:
    with proxied(tmp_path, server) as url:
        yield url


class Answer(NamedTuple):
    """What of an answer is looked at."""

    status: int
    location: str
    body: bytes


def call(method: str, url: str, body: bytes | None = None, *headers: tuple[str, str]) -> Answer:
    try:
        with urlopen(Request(url, data=body, method=method, headers=dict(headers))) as response:
            location = response.headers.get("Location", "")
            return Answer(response.status, location, response.read())
    except HTTPError as error:
        return Answer(error.code, error.headers.get("Location", ""), error.read())


class Links(HTMLParser):
    """All URLs in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls |= {value for name, value in attrs if name in ("href", "src") and value}


def test_links_and_locations_lead_through_the_proxy(url: str) -> None:
    assert call("PUT", f"{url}files/a/b.txt", b"content").status == 201
    own, other = url.removesuffix("/store/"), "http://elsewhere.example"
    destination = ("Destination", f"{url}files/c.txt")
    copied = call("COPY", f"{url}files/a/b.txt", None, destination, ("Origin", own))
    assert (copied.status, copied.location) == (201, "/store/files/c.txt")
    copy = urljoin(url, copied.location)
    assert call("GET", copy).body == b"content"
    assert call("DELETE", copy, None, ("Origin", other)).status == 403
    browser = ("Accept", "text/html")
    page = call("GET", url, None, browser).body.decode()
    links = {urljoin(url, link) for link in Links(page).urls}
    assert f"{url}files/a/" in links
    for link in links:
        assert link.startswith(url)
        assert call("GET", link, None, browser).status == 200, link


def test_downloads_resume_through_the_proxy(
    tmp_path: Path, url: str, random_bytes: RandomBytes
) -> None:
    content = random_bytes(1_000_000)
    assert call("PUT", f"{url}files/a", content).status == 201
    part = tmp_path / "part"
    part.write_bytes(content[:300_000])
    curl = [require_program("curl"), "-sS", "-C", "-", "-o", str(part), f"{url}files/a"]
    subprocess.run(curl, check=True)
    assert part.read_bytes() == content


def test_a_body_beyond_the_limit_is_refused_by_the_proxy(url: str) -> None:
    curl = [require_program("curl"), "-s", "-o", "-", "-w", "%{http_code}", "-X", "PUT"]
    curl += ["-H", "Content-Length: 104857601", "-H", "Expect: 100-continue", f"{url}files/large"]
    answer = subprocess.run(curl, input="", capture_output=True, text=True, check=False).stdout
    assert answer.endswith("413")
    assert call("GET", f"{url}files/large").status == 404


@pytest.mark.parametrize("mode", ["tuspy", "tus-js-client-draft-05"])
def test_uploads_resume_through_the_proxy(
    tmp_path: Path, server: ServerProcess, url: str, pytestconfig: pytest.Config, mode: str
) -> None:
    write_content(tmp_path, pytestconfig)
    client = start(tmp_path, MODES[mode], url)
    wait_for_chunks(client, 4)
    server.kill()
    client.communicate(timeout=300)
    with served(tmp_path, "--base-path", "/store/", port=server.port):
        out = end(start(tmp_path, MODES[mode], url))
        assert out.startswith("resumed\n")
        check_content(tmp_path, url)


def test_nothing_is_outside_the_base_path(server: ServerProcess) -> None:
    outside = f"http://127.0.0.1:{server.port}/files/"
    assert call("GET", outside).status == 404
    assert call("GET", f"http://127.0.0.1:{server.port}/store").status == 200
