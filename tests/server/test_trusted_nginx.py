"""A real proxy that is trusted, as docs/operations.md has it, and clients that lie to it."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
    urlopen,
)

import pytest

from tests.cli.test_access import PASSWORD
from tests.documents.blocks import ROOT
from tests.documents.nginx import free_port, nginx
from tests.http.access.people import basic
from tests.process import ServerProcess, served
from tests.server.certificates import make_pair
from tests.server.test_admission import add_admin
from tests.server.test_hosts import own_address

FORGED = {
    "X-Forwarded-For": "6.6.6.6, 10.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X_Forwarded_Host": "evil.example",
    "X-Request-ID": "forged",
    "Forwarded": 'for=6.6.6.6;host=evil.example;proto=https, for="open',
}


def settings() -> str:
    """Return what the documents let nginx set."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.partition("### Trusted proxies")[2].partition("\n## ")[0]
    [block] = re.findall(r"```nginx\n(.*?)```", section, re.DOTALL)
    assert isinstance(block, str)
    return block


@pytest.fixture(params=["tcp", "unix"])
def behind(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[ServerProcess, str]]:
    """Return a server, and the URL at which nginx has it."""
    folder, path = tmp_path / "nginx", tmp_path / "a.sock"
    folder.mkdir()
    # Not the address of the clients.
    options = ["--trusted-proxy", "127.0.0.2", "--hsts", "1d"]
    if request.param == "unix":
        options = ["--trusted-proxy", "unix", "--hsts", "1d", "--unix", str(path)]
    with served(tmp_path, *options) as server:
        target = f"127.0.0.1:{server.port}" if server.port else f"unix:{path}"
        port = free_port()
        block = (
            f"server {{ listen 127.0.0.1:{port}; underscores_in_headers on; {settings()}"
            f"{' proxy_bind 127.0.0.2;' if server.port else ''}"
            f" location / {{ proxy_pass http://{target}; }} }}"
        )
        with nginx(folder, block, port):
            yield server, f"http://127.0.0.1:{port}"


def test_what_clients_forge_counts_nowhere(behind: tuple[ServerProcess, str]) -> None:
    server, url = behind
    with urlopen(Request(f"{url}/files/", headers=FORGED)) as answer:
        assert answer.status == 200
        # nginx was asked over http, and has an id of its own.
        assert "Strict-Transport-Security" not in answer.headers
        request_id = answer.headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", request_id)
    server.wait_for_log(request_id)
    [line] = [line for line in server.log.read_text().splitlines() if request_id in line]
    assert ' INFO 127.0.0.1 "GET /files/' in line


def test_the_host_that_nginx_was_asked_for_is_judged(behind: tuple[ServerProcess, str]) -> None:
    _, url = behind
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{url}/files/", headers={"Host": "evil.example"}))
    with refused.value as answer:
        assert answer.status == 421


def test_a_url_with_the_port_of_nginx_is_of_this_server(behind: tuple[ServerProcess, str]) -> None:
    _, url = behind
    urlopen(Request(f"{url}/files/a", data=b"a", method="PUT")).close()
    headers = {"Destination": f"{url}/files/b"}
    with urlopen(Request(f"{url}/files/a", method="MOVE", headers=headers)) as answer:
        assert answer.status == 201


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[tuple[str, str, ssl.SSLContext]]:
    """Return the URLs of a store with an account behind nginx, without TLS and with it."""
    folder, address = tmp_path / "nginx", own_address()
    folder.mkdir()
    pair = make_pair(folder)
    add_admin(tmp_path)
    options = ("--trusted-proxy", "127.0.0.2", "--allow-host", address)
    with served(tmp_path, *options) as server:
        plain, secure = free_port(), free_port()
        rest = (
            f"{settings()} proxy_bind 127.0.0.2;"
            f" location / {{ proxy_pass http://127.0.0.1:{server.port}; }} }}"
        )
        keys = f"ssl_certificate {pair.chain}; ssl_certificate_key {pair.key};"
        blocks = f"server {{ listen {plain}; {rest} server {{ listen {secure} ssl; {keys} {rest}"
        with nginx(folder, blocks, secure):
            context = pair.client_context()
            context.check_hostname = False
            yield f"http://{address}:{plain}", f"https://{address}:{secure}", context


def test_passwords_are_taken_that_came_to_nginx_by_tls(
    with_tls: tuple[str, str, ssl.SSLContext],
) -> None:
    plain, secure, context = with_tls
    credentials = basic("anna", PASSWORD)
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{plain}/files/", headers=credentials))
    with refused.value as answer:
        assert answer.status == 403
        assert json.load(answer)["type"].endswith(":insecure-login")
    with urlopen(Request(f"{secure}/files/", headers=credentials), context=context) as answer:
        assert answer.status == 200
    form = urlencode({"name": "anna", "password": PASSWORD}).encode()
    opener = build_opener(HTTPSHandler(context=context), NoRedirect())
    headers = {"Origin": secure}
    with pytest.raises(HTTPError) as led:
        opener.open(Request(f"{secure}/login", form, headers))
    with led.value as answer:
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-chunkstore-")
        assert "; Secure" in cookie


class NoRedirect(HTTPRedirectHandler):
    """Leaves redirections to whoever asked."""

    def redirect_request(self, *_: object) -> None:
        return None
