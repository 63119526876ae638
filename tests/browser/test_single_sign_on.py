"""Signing in by a browser with another server, and with a second factor.

The other server is `oidc-provider`, which the OpenID Foundation has certified, and is another site
than ours to the browser: so cookies and redirects are those of real life.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chunkstore.service.access.totp import code_at, step_of
from tests.browser.steps import PHONE, violations, width_of
from tests.process import ServerProcess, run_command, served
from tests.programs import require_node_package

PASSWORD = "correct horse battery"
_PROVIDER = Path(__file__).with_name("provider.mjs")


@dataclass
class Company:
    """The other server."""

    process: subprocess.Popen[str]
    issuer: str

    def know(self, redirect_uri: str) -> None:
        """Let it send browsers back there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{redirect_uri}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "ready"


@contextmanager
def company() -> Iterator[Company]:
    folder = require_node_package("oidc-provider")
    with subprocess.Popen(
        ["node", str(_PROVIDER)],
        env={**os.environ, "NODE_PACKAGES": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Company(process, process.stdout.readline().strip())
        finally:
            process.kill()


@dataclass
class Signing:
    """A server, and with whom people sign in there."""

    server: ServerProcess
    company: Company

    @property
    def folder(self) -> Path:
        return self.server.folder


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    """Return a server on which anna and bert may read everything."""
    folder = tmp_path_factory.mktemp("signing")
    for name in ("anna", "bert"):
        run_command(folder, "user", "add", name, "--admin", text=PASSWORD)
    (folder / "secret").write_text("s%cret:+\n")
    with company() as other:
        options = (
            f"--oidc-issuer={other.issuer}", "--oidc-client-id=files", "--oidc-name=Company",
            "--oidc-client-secret-file=secret", "--min-free=0",
        )  # fmt: skip
        with served(folder, *options) as server:
            other.know(f"{server.url}login/oidc")
            yield Signing(server, other)


@pytest.fixture
def page(chromium: Browser, axe: str) -> Iterator[Page]:
    """Return a page of a browser that nobody has used."""
    context = chromium.new_context(viewport=PHONE, is_mobile=True)
    page = context.new_page()
    page.add_init_script(axe)
    yield page
    context.close()


def test_somebody_signs_in_with_another_server_once_they_are_linked(
    signing: Signing, page: Page
) -> None:
    wanted = f"{signing.server.url}files/?prefix=a"
    page.goto(wanted)
    page.get_by_role("link", name="Sign in with Company").click()
    assert page.url.startswith(signing.company.issuer)
    page.get_by_placeholder("Enter any login").fill("248289761001")
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("No account here is linked with you")).to_contain_text(
        f"the issuer {signing.company.issuer} and the subject 248289761001."
    )
    assert violations(page) == []
    linked = run_command(
        signing.folder, "user", "sso", "link", "anna", signing.company.issuer, "248289761001"
    )
    assert linked.returncode == 0, linked.stderr
    # They are signed in there, so nothing more is asked.
    page.goto(wanted)
    page.get_by_role("link", name="Sign in with Company").click()
    expect(page).to_have_url(wanted)
    expect(page.get_by_text("anna", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    assert run_command(signing.folder, "user", "sso", "unlink", "anna").returncode == 0
    page.goto(f"{signing.server.url}login/oidc/begin")
    expect(page.get_by_text("No account here is linked with you")).to_be_visible()


def test_somebody_adds_a_second_factor_signs_in_with_it_and_removes_it(
    signing: Signing, page: Page
) -> None:
    own, wanted = (
        f"{signing.server.url}account/second-factor",
        f"{signing.server.url}files/?prefix=a",
    )

    def give_password() -> None:
        page.get_by_label("Name").fill("bert")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()

    def is_fine() -> None:
        assert violations(page) == []
        assert width_of(page) == PHONE["width"]

    page.goto(own)
    give_password()
    expect(page).to_have_url(own)
    is_fine()
    page.get_by_role("button", name="Add a second factor").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    is_fine()
    secret = "".join(page.get_by_text("Secret:").locator("code").inner_text().split())
    page.get_by_label("Code that the app shows").fill("000000x")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    is_fine()
    page.get_by_label("Code that the app shows").fill(code_at(secret, step_of(datetime.now(UTC))))
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_text("From now on programs need a token")).to_be_visible()
    is_fine()
    codes = page.get_by_role("listitem").all_inner_texts()
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("10 recovery codes are left")).to_be_visible()
    is_fine()
    # Somewhere else.
    page.context.clear_cookies()
    page.goto(wanted)
    give_password()
    expect(page.get_by_label("Code of your app")).to_be_focused()
    is_fine()
    # Nothing else is theirs yet.
    page.goto(wanted)
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(f"{signing.server.url}login/code")
    page.get_by_label("Code of your app").fill("no code")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    is_fine()
    page.get_by_label("Code of your app").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(wanted)
    expect(page.get_by_text("bert", exact=True)).to_be_visible()
    page.goto(own)
    expect(page.get_by_text("9 recovery codes are left")).to_be_visible()
    page.get_by_label("Code of your app").fill(codes[1])
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Add a second factor")).to_be_visible()
