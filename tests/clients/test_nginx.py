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
from urllib.parse import urljoin, urlsplit
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
# What README has the operator give, the name by which people reach nginx among it.
OPTIONS = ("--base-path", "/store/", "--allow-host", "files.example.org")
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
    folder: Path, server: ServerProcess, other: ServerProcess | None = None, *, rules: str = ""
) -> Iterator[str]:
    """Run nginx, with more `rules`, before one or two servers; yield the URL of the store."""
    blocks = re.findall(r"```nginx\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [upstream] = [block for block in blocks if block.startswith("upstream ")]
    [location] = [block for block in blocks if block.startswith("location ")]
    if other is None:
        upstream, location = "", location.replace(":8080", f":{server.port}")
    else:
        upstream = upstream.replace(":8080", f":{server.port}").replace(":8081", f":{other.port}")
        location = location.replace("http://127.0.0.1:8080;", "http://chunkstore;")
    port = free_port()
    location += rules
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
    with served(tmp_path, *OPTIONS) as server:
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
    with served(tmp_path, *OPTIONS, port=server.port):
        out = end(start(tmp_path, MODES[mode], url))
        assert out.startswith("resumed\n")
        check_content(tmp_path, url)


def test_nothing_is_outside_the_base_path(server: ServerProcess) -> None:
    outside = f"http://127.0.0.1:{server.port}/files/"
    assert call("GET", outside).status == 404
    assert call("GET", f"http://127.0.0.1:{server.port}/store").status == 200


def test_the_public_name_is_answered_for(server: ServerProcess, url: str) -> None:
    for host, status in [
        ("files.example.org", 200),
        ("files.example.org:443", 200),
        ("evil.example", 421),
    ]:
        assert call("GET", f"{url}files/", None, ("Host", host)).status == status
    own, named = ("Origin", "https://files.example.org"), ("Host", "files.example.org")
    assert call("PUT", f"{url}files/own", b"x", named, own).status == 201
    assert call("PUT", f"{url}files/own", b"x", named, ("Origin", "http://a.example")).status == 403
    # Checks of the server's health that go around the proxy.
    assert call("GET", f"http://127.0.0.1:{server.port}/store/health/ready").status == 200


def raw_status(url: str, method: str, target: str, *lines: str) -> int:
    """Return the status of a request whose target is sent as it is."""
    port = urlsplit(url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return int(connection.makefile("rb").readline().split()[1])


SPELLINGS = [
    "/store/files/private/a",
    "/store/%66iles/private/a",
    "/store/file%73/private/a",
    "/%73tore/files/private/a",
    "/store/files/%70rivate/a",
    "/store/files/private%2fa",
    "/store/files%2fprivate/a",
    "/store/%66iles%2Fprivate%2Fa",
    "/store//files/private/a",
    "/store/files//private/a",
    "/store/./files/private/a",
    "/store/files/./private/a",
    "/store/files/x/../private/a",
    "/store/files/x/%2e%2e/private/a",
    "/store/files/x/..%2fprivate/a",
    "/store/files/private/./a",
    "/store/files/private/a#",
    "/store/files/private/a?x",
    "/store/files/x#/../private/a",
    "/store/files/private;/../private/a",
    "/store/files/%ef%bd%90rivate/a",
    "/store/files\\private\\a",
    "http://localhost/store/files/private/a",
    "http://localhost/store/%66iles/private/a",
    "//store/files/private/a",
    "/store/%66iles/x/",
    "/store/%66iles/",
    "/store/%66iles",
    "/store/%66iles/public/",
]


def test_no_spelling_of_a_path_passes_a_rule_of_the_proxy(
    tmp_path: Path, server: ServerProcess
) -> None:
    direct = f"{server.url}files/"
    for name in ("private/a", "private/b/c", "public/d"):
        assert call("PUT", direct + name, b"content").status == 201
    before = call("GET", f"{direct}?delimiter=").body
    rules = "location /store/files/private/ { deny all; }"
    lines = ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 0")
    with proxied(tmp_path, server, rules=rules) as url:
        assert raw_status(url, "GET", "/store/files/public/d") == 200
        for target in SPELLINGS:
            for method in ("GET", "HEAD", "DELETE", "COPY", "MOVE", "POST"):
                destination = "Destination: /store/files/public/stolen"
                status = raw_status(url, method, target, destination, *lines)
                assert status in (400, 403, 404, 405), (method, target, status)
    assert call("GET", f"{direct}?delimiter=").body == before
