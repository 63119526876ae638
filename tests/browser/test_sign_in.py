"""Signing in and out by a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.closed import PASSWORD, closed, status
from tests.browser.steps import PHONE, Visit, violations, width_of
from tests.process import ServerProcess, run_command


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server with an account, `anna`, where everyone reads `open/`."""
    folder = tmp_path_factory.mktemp("closed")
    with closed(folder) as server:
        run_command(folder, "allow", "everyone", "/open/", "reader")
        token = run_command(folder, "token", "add", "--account", "anna").stdout.strip()
        for name in ("hr", "open"):
            assert status(server.url, token, f"files/{name}/", "MKCOL") == 201
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_somebody_signs_in_and_out(
    visit: Visit, chromium: Browser, axe: str, scheme: Literal["light", "dark"]
) -> None:
    visit.expected = {"401"}
    visit.again(chromium.new_context(color_scheme=scheme, viewport=PHONE, is_mobile=True))
    page = visit.page
    page.add_init_script(axe)
    page.goto(f"{visit.url}files/hr/?prefix=a%20b")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert violations(page) == []
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type("battery staple horse")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not right")
    expect(page.get_by_label("Name")).to_have_value("anna")
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("anna", exact=True)).to_be_visible()
    expect(page).to_have_url(f"{visit.url}files/hr/?prefix=a%20b")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_guest_is_led_back_to_where_they_were(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.url}files/open/")
    # What a reader could only be refused is not offered.
    expect(page.get_by_role("searchbox")).to_be_visible()
    expect(page.get_by_role("button", name="Upload files")).to_be_hidden()
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{visit.url}files/open/")
    expect(page.get_by_role("button", name="Upload files")).to_be_visible()
