"""The page without JavaScript, in the dark, on a phone, and as a screen reader finds it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.steps import PHONE, Visit, violations, width_of

LONG = "a name without any place to break it, " + "x" * 60 + ".txt"


def test_without_javascript(visit: Visit, chromium: Browser) -> None:
    visit.put("a.txt", b"a")
    visit.put("b/c.txt", b"c")
    visit.again(chromium.new_context(java_script_enabled=False))
    page = visit.open()
    expect(page.get_by_role("button", name="New folder")).to_be_hidden()
    page.get_by_label("Files", exact=True).set_input_files(visit.file("up.txt", b"up"))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(visit.row("up.txt")).to_be_visible()
    assert visit.read("up.txt") == b"up"

    page.get_by_label("Filter by name").fill("u")
    page.get_by_role("button", name="Filter").click()
    assert visit.shown() == ["up.txt"]

    visit.open()
    visit.row("up.txt").get_by_text("Delete", exact=True).click()
    visit.row("up.txt").get_by_role("button", name="Delete for good").click()
    expect(visit.row("up.txt")).to_have_count(0)
    assert visit.names() == ["a.txt", "b/c.txt"]

    with page.expect_download() as download:
        visit.row("a.txt").get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"a"
    visit.row("b/").get_by_role("link").click()
    expect(page).to_have_url(f"{visit.url}files/{visit.folder}/b/")
    visit.open("?limit=1")
    page.get_by_role("link", name="Show more").click()
    assert visit.shown() == ["a.txt"] or visit.shown() == ["b/"]


def test_dark_and_light(visit: Visit, chromium: Browser) -> None:
    visit.put("a.txt")
    grounds = {}
    for scheme in ("light", "dark"):
        visit.again(chromium.new_context(color_scheme=scheme))
        colour = "getComputedStyle(document.body).backgroundColor"
        grounds[scheme] = visit.open().evaluate(colour)
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}


def test_phone(visit: Visit, chromium: Browser) -> None:
    visit.put(LONG, b"x")
    visit.put("b", b"x" * 2048)
    visit.again(chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True))
    page = visit.open()
    visit.pick(visit.file(f"other {LONG}", b"y"))
    visit.uploaded(1)
    expect(visit.row(f"other {LONG}")).to_be_visible()
    expect(page.locator("#store svg")).to_be_visible()
    assert width_of(page) == PHONE["width"]
    visit.row("b").locator(".menu-button").tap()
    box = page.locator("#menu").bounding_box()
    assert box is not None
    assert 0 <= box["x"] <= PHONE["width"] - box["width"]
    page.keyboard.press("Escape")
    visit.row(LONG).get_by_role("link").tap()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text("x")
    assert width_of(page) == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(visit: Visit, chromium: Browser, axe: str, scheme: str) -> None:
    visit.expected = {"412"}
    visit.put("a.txt", b"a")
    visit.put("b/c.txt", b"c")
    visit.again(chromium.new_context(color_scheme="dark" if scheme == "dark" else "light"))
    page = visit.open()
    page.evaluate(axe)
    visit.pick(visit.file("new.txt", b"new"), visit.file("a.txt", b"other"))
    expect(visit.row("new.txt")).to_be_visible()
    expect(visit.upload("a.txt")).to_contain_text("Replace it?")
    expect(page.locator("#store")).to_contain_text("kept")
    assert violations(page) == []
    visit.row("a.txt").locator(".menu-button").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="a.txt", exact=True).click()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text("a")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New folder").click()
    assert violations(page) == []
