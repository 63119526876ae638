"""Write locks on the page: seen, in the way, and broken."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.closed import closed, sign_in
from tests.browser.steps import KIB, MIB, PHONE, Visit, violations, width_of

OWNER = "Anna &lt;script&gt;alert(1)&lt;/script&gt;"
SLOW = 256 * KIB
FAST = -1


def lock(url: str, path: str, owner: str = OWNER, depth: str = "0", **headers: str) -> str:
    """Lock something for ten minutes, as a program does; return the token."""
    body = (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype>'
        f"<D:write/></D:locktype><D:owner>{owner}</D:owner></D:lockinfo>"
    )
    request = Request(f"{url}dav/{quote(path)}", body.encode(), method="LOCK")
    for name, value in {"Depth": depth, "Content-Type": "text/xml", **headers}.items():
        request.add_header(name, value)
    with urlopen(request) as response:
        return str(response.headers["Lock-Token"])


def unlock(url: str, path: str, token: str) -> None:
    headers = {"Lock-Token": token}
    with urlopen(Request(f"{url}dav/{quote(path)}", headers=headers, method="UNLOCK")) as response:
        assert response.status == 204


def said(visit: Visit, name: str) -> str:
    return visit.row(name).locator(".lock").inner_text()


def test_locks_are_shown_and_broken(visit: Visit) -> None:
    odd = "it's odd & <b>é.txt"
    for name in (odd, "plain", "sub/x"):
        visit.put(name)
    lock(visit.url, f"{visit.folder}/{odd}")
    lock(visit.url, f"{visit.folder}/sub/", "Bert", "infinity")
    page = visit.open()
    told = r"locked by Anna <script>alert\(1\)</script> until \d+:\d\d( [AP]M)?"
    assert re.fullmatch(told, said(visit, odd))
    expect(page.locator(".lock")).to_have_count(2)
    visit.row("plain").get_by_role("button", name="Actions for").click()
    expect(page.locator("#menu").get_by_text("Unlock")).to_be_hidden()
    page.keyboard.press("Escape")
    visit.choose(odd, "Unlock…")
    expect(page.get_by_role("dialog")).to_contain_text("locked by Anna")
    visit.answer("Cancel")
    assert visit.row(odd).locator(".lock").count() == 1
    visit.choose(odd, "Unlock…")
    visit.answer("Unlock")
    expect(page.locator(".lock")).to_have_count(1)
    expect(page.locator("#announcer")).to_have_text(f"{odd} is unlocked.")
    visit.row("sub/").get_by_role("link").click()
    expect(page.locator("#locks")).to_contain_text("This folder is locked by Bert until")
    # Before its script is there, a button does nothing.
    expect(page.locator("#count")).to_have_text("1 entry")
    # By the keys alone.
    page.get_by_role("button", name="Unlock…").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Unlock").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#locks .lock")).to_have_count(0)
    visit.open()
    expect(page.locator(".lock")).to_have_count(0)


def test_what_a_lock_is_in_the_way_of_is_told(visit: Visit) -> None:
    visit.expected = {"412", "423"}
    visit.put("a.txt", b"before")
    token = lock(visit.url, f"{visit.folder}/a.txt", "Anna")
    page = visit.open()
    for action, button, text in (("Delete", "Delete", None), ("Rename", "Save", "other/place")):
        visit.choose("a.txt", action)
        visit.answer(button, text)
        problem = page.get_by_role("dialog").get_by_role("alert")
        expect(problem).to_contain_text(f"/{visit.folder}/a.txt is locked by Anna until")
        if text is not None:
            # What was typed in stays.
            expect(page.get_by_role("dialog").get_by_role("textbox")).to_have_value(text)
        visit.answer("Cancel")
    visit.pick(visit.file("a.txt", b"after"))
    visit.upload("a.txt").get_by_role("button", name="Replace").click()
    expect(visit.upload("a.txt")).to_contain_text("is locked by Anna until")
    expect(visit.upload("a.txt")).not_to_contain_text("What was sent is kept")
    assert visit.read("a.txt") == b"before"
    unlock(visit.url, f"{visit.folder}/a.txt", token)
    # The file that was chosen is still there to be sent.
    visit.upload("a.txt").get_by_role("button", name="Retry").click()
    visit.uploaded(1)
    assert visit.read("a.txt") == b"after"


@pytest.mark.parametrize(
    ("whole", "reloaded"), [(False, True), (True, False)], ids=["chunks, reloaded", "whole"]
)
def test_an_upload_that_ends_in_a_lock_is_kept(
    visit: Visit, large: bytes, whole: bool, reloaded: bool
) -> None:
    visit.expected = {"423"}
    if whole:
        visit.send_whole()
    page = visit.made().open()
    visit.slow(SLOW)
    big = visit.file("big", large)
    visit.pick(big)
    expect(visit.upload("big")).to_contain_text(re.compile(r"1\.\d MiB of 3\.0 MiB"))
    token = lock(visit.url, f"{visit.folder}/", "Anna", "infinity")
    visit.slow(FAST)
    expect(visit.upload("big")).to_contain_text("What was sent is kept.")
    expect(visit.upload("big")).to_contain_text(f"/{visit.folder}/ is locked by Anna until")
    assert visit.names() == []
    # Too early, it is refused again.
    visit.upload("big").get_by_role("button", name="Retry").click()
    expect(visit.upload("big")).to_contain_text("What was sent is kept.")
    unlock(visit.url, f"{visit.folder}/", token)
    visit.sent()
    if reloaded:
        page.reload()
        visit.pick(big)
    else:
        visit.upload("big").get_by_role("button", name="Retry").click()
    visit.uploaded(1)
    assert visit.read("big") == large
    # None of it was sent again.
    assert visit.sent() < MIB


def test_without_javascript(visit: Visit, chromium: Browser) -> None:
    visit.put("a.txt")
    lock(visit.url, f"{visit.folder}/a.txt", "Anna")
    lock(visit.url, f"{visit.folder}/", "Bert")
    visit.again(chromium.new_context(java_script_enabled=False))
    visit.expected = {"423"}
    page = visit.open()
    assert re.fullmatch(r"locked by Anna until \d\d:\d\d UTC", said(visit, "a.txt"))
    visit.row("a.txt").get_by_text("Delete", exact=True).click()
    visit.row("a.txt").get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("main")).to_contain_text("is locked by")
    page.go_back()
    visit.row("a.txt").get_by_text("Unlock", exact=True).click()
    visit.row("a.txt").get_by_role("button", name="Break the lock").click()
    expect(page.locator(".lock")).to_have_count(1)
    page.locator("#locks").get_by_text("Unlock", exact=True).click()
    page.locator("#locks").get_by_role("button", name="Break the lock").click()
    expect(page.locator(".lock")).to_have_count(0)
    expect(page).to_have_url(f"{visit.url}files/{visit.folder}/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_on_a_phone_too(visit: Visit, chromium: Browser, axe: str, scheme: str) -> None:
    long = "x" * 70
    visit.put(f"{long}.txt")
    lock(visit.url, f"{visit.folder}/{long}.txt", "y" * 100)
    lock(visit.url, f"{visit.folder}/", "z" * 100)
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
    visit.again(
        chromium.new_context(color_scheme="dark" if scheme == "dark" else "light", **phone)  # type: ignore[arg-type] # of one kind each
    )
    page = visit.open()
    page.evaluate(axe)
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    visit.choose(f"{long}.txt", "Unlock…")
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]


def test_who_administers_breaks_locks(chromium: Browser, axe: str, tmp_path: Path) -> None:
    with closed(tmp_path, "bert") as server:
        visit = Visit(chromium.new_context(), server, "", tmp_path)
        page = visit.page
        sign_in(page, visit.url, "anna", "files/")
        page.evaluate("fetch('/files/a.txt', { method: 'PUT', body: 'Dear' })")
        _lock_from(page, "a.txt")
        page.reload()
        expect(page.locator(".lock")).to_contain_text("locked by you until")
        page.get_by_role("link", name="Administration").click()
        page.get_by_role("link", name="Locks").click()
        row = page.locator("#lock-list li", has_text="/a.txt")
        expect(row).to_contain_text("anna, “Anna <b>”; since")
        page.evaluate(axe)
        assert violations(page) == []
        row.get_by_role("button", name="Break").click()
        page.locator("#ask").get_by_role("button", name="Go on").click()
        expect(page.locator("#lock-list")).to_have_text(re.compile("No locks."))
        visit.end()


def _lock_from(page: Page, path: str) -> None:
    """Lock something as a program of whoever has signed in does."""
    status = page.evaluate(
        """async (path) => {
            const body = '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>' +
                '<D:locktype><D:write/></D:locktype><D:owner>Anna &lt;b&gt;</D:owner></D:lockinfo>';
            const response = await fetch(`/dav/${path}`, { method: "LOCK", body });
            return response.status;
        }""",
        path,
    )
    assert status == 200
