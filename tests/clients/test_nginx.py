"""nginx in front, with the configuration that docs/operations.md shows."""

from __future__ import annotations

import json
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

from tests.clients.listed import fetch_by_list, send_by_list
from tests.clients.test_resumable_uploads import (
    MODES,
    check_content,
    end,
    start,
    wait_for_chunks,
    write_content,
)
from tests.conftest import RandomBytes
from tests.documents.blocks import all_sections
from tests.documents.nginx import free_port, nginx, shared_settings
from tests.process import ServerProcess, served
from tests.programs import require_program

# What the documents have the operator give, the name by which people reach nginx among it.
OPTIONS = ("--base-path", "/store/", "--allow-host", "files.example.org")
# Without rules of nginx about who may do what.
SERVER = """
{upstream}
server {{
    listen 127.0.0.1:{port};
    {settings}
    location /store/ {{ proxy_pass http://{target}; }}
    {rules}
}}
"""


@contextmanager
def proxied(
    folder: Path, server: ServerProcess, other: ServerProcess | None = None, *, rules: str = ""
) -> Iterator[str]:
    """Run nginx, with more `rules`, before one or two servers; yield the URL of the store."""
    target, upstream = f"127.0.0.1:{server.port}", ""
    if other is not None:
        target, upstream = "chunkstore", upstream_of_two()
        upstream = upstream.replace(":8080", f":{server.port}").replace(":8081", f":{other.port}")
    port = free_port()
    servers = SERVER.format(
        upstream=upstream, port=port, settings=shared_settings(), target=target, rules=rules
    )
    with nginx(folder, servers, port):
        yield f"http://127.0.0.1:{port}/store/"


def upstream_of_two() -> str:
    """Return what docs/operations.md has nginx share requests by."""
    [text] = [
        block.text
        for section in all_sections()
        for block in section.blocks
        if block.language == "nginx" and block.text.startswith("upstream ")
    ]
    return text


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


def test_a_file_is_sent_and_fetched_by_its_list(url: str, random_bytes: RandomBytes) -> None:
    content = random_bytes(5 * 1024 * 1024)
    assert call("PUT", f"{url}files/a", content).status == 201
    changed = content[:1_000_000] + b"changed" + content[1_000_007:]
    assert send_by_list([url], "a", changed) == 1
    assert fetch_by_list(url, "a") == changed
    assert call("GET", f"{url}files/a").body == changed


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


def test_a_large_file_goes_up_by_one_command(tmp_path: Path, url: str) -> None:
    # More than nginx takes unless it is told otherwise (1 MiB), or proxies commonly do (100 MB).
    with (tmp_path / "large").open("wb") as file:
        file.truncate(110_000_000)
    curl = [require_program("curl"), "-sS", "-T", str(tmp_path / "large"), f"{url}files/"]
    told = subprocess.run(curl, capture_output=True, text=True, check=True).stdout
    assert json.loads(told)["size"] == 110_000_000


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
