"""A page of another origin on the same machine, whose requests bring the cookie along."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.closed import PASSWORD, closed, sign_in
from tests.process import run_command

ACCOUNT = {"name": "evil", "password": PASSWORD, "admin": True}
# What it is answered, or that the browser does not tell.
_FETCH = """async ([url, options]) => {
    try {
        const response = await fetch(url, { credentials: "include", ...options });
        return `${response.type} ${response.status} ${await response.text()}`;
    } catch (error) {
        return error.name;
    }
}"""
_FORM = """([url, text]) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: url, enctype: "text/plain" });
    const field = document.createElement("input");
    [field.name, field.value] = text.split("=");
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Return the origin of a server of another."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("is_let_in", [False, True])
def test_it_runs_no_commands_and_sees_no_pages(
    chromium: Browser, elsewhere: str, tmp_path: Path, is_let_in: bool
) -> None:
    options = ("--cors-origin", elsewhere) if is_let_in else ()
    with closed(tmp_path, options=options) as server, chromium.new_context() as context:
        page = context.new_page()
        sign_in(page, server.url, "anna", "account")
        page.goto(elsewhere)
        body = json.dumps(ACCOUNT)
        for path in ("access/user/add", "access/confirm", "access/rules"):
            for mode in ("cors", "no-cors"):
                for kind in ("application/json", "text/plain"):
                    sent = {"method": "POST", "mode": mode, "body": body}
                    sent["headers"] = {"Content-Type": kind}  # type: ignore[assignment]
                    assert_refused(page, f"{server.url}{path}", sent)
        for path in ("account", "admin/accounts", "files/"):
            for mode in ("cors", "no-cors"):
                assert_refused(page, f"{server.url}{path}", {"mode": mode})
        page.evaluate(_FORM, [f"{server.url}access/user/add", f'{body[:-1]},"x":"=y"}}'])
        page.wait_for_url(f"{server.url}access/user/add")
        assert "Pages of other sites" in page.inner_text("body")
        accounts = json.loads(run_command(tmp_path, "user", "ls", "--json").stdout)
        assert [account["name"] for account in accounts] == ["anna"]


def assert_refused(page: Page, url: str, options: dict[str, str]) -> None:
    """Nothing is told: not even whether there is something."""
    told = page.evaluate(_FETCH, [url, options])
    assert told in ("TypeError", "opaque 0 ") or told.startswith("cors 403"), (url, options)
