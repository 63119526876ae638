"""Signing in by a browser with another server, and with a second factor.

The other server is `oidc-provider`, which the OpenID Foundation has certified, and is another site
than ours to the browser: so cookies and redirects are those of real life.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chunkstore.service.access.people import People
from chunkstore.service.access.principal import Principal
from chunkstore.service.access.totp import code_at, step_of
from chunkstore.store.open import open_store
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
        yield Company(process, process.stdout.readline().strip())
        process.kill()


@dataclass
class Signing:
    """A server, with whom people sign in there, and the secret of bert's second factor."""

    server: ServerProcess
    company: Company
    secret: str
    recovery_codes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.server.folder


async def _enrol(database: Path) -> tuple[str, tuple[str, ...]]:
    """Give bert a second factor."""
    store = await open_store(str(database))
    people = People(store.records)
    try:
        principal = await people.log_in("bert", PASSWORD, "192.0.2.1")
        assert isinstance(principal, Principal)
        begun = await people.totp.begin(principal)
        code = code_at(begun.secret, step_of(people.clock.now()))
        done = await people.totp.confirm(principal, begun.id, code)
    finally:
        people.close()
        await store.close()
    return begun.secret, done.recovery_codes


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    """Return a server on which anna and bert may read everything."""
    folder = tmp_path_factory.mktemp("signing")
    for name in ("anna", "bert"):
        run_command(folder, "user", "add", name, "--admin", text=PASSWORD)
    # Playwright may run an event loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        enrolled = thread.submit(lambda: asyncio.run(_enrol(folder / "chunkstore.db"))).result()
    (folder / "secret").write_text("s%cret:+\n")
    with company() as other:
        options = (
            f"--oidc-issuer={other.issuer}", "--oidc-client-id=files", "--oidc-name=Company",
            "--oidc-client-secret-file=secret", "--min-free=0",
        )  # fmt: skip
        with served(folder, *options) as server:
            other.know(f"{server.url}login/oidc")
            yield Signing(server, other, *enrolled)


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


def test_somebody_signs_in_with_a_second_factor(signing: Signing, page: Page) -> None:
    wanted = f"{signing.server.url}files/?prefix=a"
    page.goto(wanted)
    page.get_by_label("Name").fill("bert")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Code of your app")).to_be_focused()
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    # Nothing else is theirs yet.
    page.goto(wanted)
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(f"{signing.server.url}login/code")
    page.get_by_label("Code of your app").fill("no code")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    assert violations(page) == []
    page.get_by_label("Code of your app").fill(signing.recovery_codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(wanted)
    expect(page.get_by_text("bert", exact=True)).to_be_visible()
