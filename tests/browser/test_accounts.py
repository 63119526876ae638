"""The pages of an account and of administration, as people use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.closed import PASSWORD, closed, sign_in, status
from tests.browser.steps import PHONE, Visit, violations, width_of
from tests.process import ServerProcess

OTHER_PASSWORD = "staple correct horse"
NASTY = "\"'><img src=x onerror=alert(1)>"
SECTIONS = ["accounts", "groups", "rules", "who-can?verb=read&name=/hr/x", "tokens", "links"]
SECTIONS += ["quotas", "locks", "audit"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server with accounts."""
    with closed(tmp_path_factory.mktemp("closed"), "bert", "cleo", "dora") as server:
        yield server


def answer(page: Page, action: str = "Go on", **fields: str) -> None:
    """Answer the question that is open."""
    dialog = page.locator("#ask")
    for label, text in fields.items():
        dialog.get_by_label(label).fill(text)
    dialog.get_by_role("button", name=action).click()


def rows(page: Page) -> list[str]:
    return page.locator(".rows strong").all_inner_texts()


def make_token(page: Page, label: str) -> str:
    page.get_by_text("New token", exact=True).click()
    page.get_by_label("What it is for").fill(label)
    page.get_by_role("button", name="Make the token").click()
    return page.get_by_role("dialog").get_by_label("Token").input_value()


def test_a_token_is_shown_once_and_revoked(visit: Visit) -> None:
    page = visit.page
    sign_in(page, visit.url, "bert", "account")
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    token = make_token(page, NASTY)
    assert token.startswith("cks_")
    assert token in page.get_by_role("dialog").locator("code").inner_text()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#announcer")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#secret code")).to_have_text("")
    assert token not in page.content()
    assert page.locator("#secret input").input_value() == ""
    assert rows(page)[0] == NASTY
    assert status(visit.url, token) == 403
    page.get_by_role("button", name="Revoke").click()
    answer(page, "Cancel")
    assert status(visit.url, token) == 403
    page.get_by_role("button", name="Revoke").click()
    answer(page)
    expect(page.get_by_text("No tokens.")).to_be_visible()
    assert status(visit.url, token) == 401


def test_the_password_is_asked_for_again(visit: Visit) -> None:
    visit.expected = {"401", "403"}
    page, refused = visit.page, list[str]()

    def refuse(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            body = '{"type": "urn:chunkstore:problem:password-needed", "detail": "again"}'
            route.fulfill(status=403, content_type="application/problem+json", body=body)

    sign_in(page, visit.url, "bert", "account")
    page.route("**/access/token/add", refuse)
    page.get_by_text("New token", exact=True).click()
    page.get_by_label("What it is for").fill("second")
    page.get_by_role("button", name="Make the token").click()
    dialog = page.locator("#confirm")
    dialog.get_by_label("Password").fill("not that one")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("not right")
    page.keyboard.press("Escape")
    expect(page.get_by_role("main").get_by_role("alert").last).to_contain_text(
        "Nothing has changed"
    )
    refused.clear()
    page.get_by_role("button", name="Make the token").click()
    dialog.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#secret")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    assert "second" in rows(page)


def test_sessions_end(visit: Visit, chromium: Browser) -> None:
    visit.expected = {"401"}
    page = visit.page
    others = [chromium.new_context() for _ in range(2)]
    for other in others:
        sign_in(other.new_page(), visit.url, "cleo", "account")
    sign_in(page, visit.url, "cleo", "account")
    expect(page.locator("#session-list").get_by_text("this one", exact=True)).to_have_count(1)
    page.get_by_role("button", name="End the session").first.click()
    answer(page)
    expect(page.get_by_role("button", name="End the session")).to_have_count(1)
    page.get_by_role("button", name="End all others").click()
    answer(page)
    expect(page.get_by_role("button", name="End the session")).to_have_count(0)
    for other in others:
        other.pages[0].reload()
        expect(other.pages[0].get_by_role("heading", name="Sign in")).to_be_visible()
        other.close()
    page.reload()
    expect(page.get_by_text("this one", exact=True)).to_be_visible()


def test_another_password(visit: Visit) -> None:
    visit.expected = {"401"}
    page = visit.page
    sign_in(page, visit.url, "dora", "account")
    page.get_by_text("Change the password").first.click()
    page.get_by_label("New password").fill(OTHER_PASSWORD)
    page.get_by_label("The same again").fill("something else")
    page.get_by_role("button", name="Change the password").click()
    assert page.get_by_label("The same again").evaluate("field => field.validity.customError")
    page.get_by_label("The same again").fill(OTHER_PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    page.get_by_label("Name").fill("dora")
    page.get_by_label("Password").fill(OTHER_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{visit.url}account")


def test_an_administrator_lets_people_in(visit: Visit, chromium: Browser) -> None:
    visit.expected = {"400", "403", "409"}
    page = visit.page
    sign_in(page, visit.url, "anna", "files/")
    page.get_by_role("link", name="Administration").click()
    page.get_by_text("New account", exact=True).click()
    page.locator(".fields").get_by_label("Name").first.fill("bert")
    page.get_by_role("button", name="Add the account").click()
    expect(page.locator("form").get_by_role("alert")).to_contain_text("There is an account")
    page.locator(".fields").get_by_label("Name").first.fill("Emil")
    page.locator("form").get_by_label("Password", exact=True).first.fill(PASSWORD)
    page.get_by_role("button", name="Add the account").click()
    expect(page.locator("#account-list").get_by_text("Emil")).to_be_visible()

    page.get_by_role("link", name="Groups").click()
    page.get_by_text("New group").click()
    page.locator(".fields").get_by_label("Name").first.fill("hr")
    page.get_by_role("button", name="Add the group").click()
    page.get_by_role("button", name="Add somebody to @hr").click()
    answer(page, "Save", Accounts="emil, bert")
    expect(page.locator(".members")).to_contain_text("Emil")
    page.get_by_role("button", name="Leave: bert in @hr").click()
    answer(page)
    expect(page.locator(".members")).not_to_contain_text("bert")

    page.get_by_role("link", name="Rules").click()
    for who, verbs, folder in (
        ("@hr", "editor", "/hr/"),
        ("@hr", "list,admin", f"/hr/{NASTY}/"),
        ("everyone", "reader", "/"),
    ):
        page.get_by_label("Who", exact=True).last.fill(who)
        page.get_by_label("May", exact=True).fill(verbs)
        page.get_by_label("In", exact=True).fill(folder)
        page.get_by_role("button", name="Add the rule").click()
        expect(
            page.locator("#rule-list").get_by_role("rowheader", name=folder, exact=True).first
        ).to_be_visible()
    page.get_by_role("button", name="Forget the rule of everyone").click()
    answer(page)
    expect(page.locator("#rule-list")).not_to_contain_text("everyone")
    page.get_by_label("May", exact=True).fill("boss")
    page.get_by_label("Who", exact=True).last.fill("bert")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.locator("form").get_by_role("alert")).to_contain_text("neither a role")
    page.get_by_role("searchbox", name="Who").fill("HR")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#rule-list tbody tr")).to_have_count(2)

    page.get_by_role("link", name="Who can").click()
    page.get_by_role("searchbox").fill("/hr/pay.ods")
    page.get_by_role("button", name="Ask").click()
    assert rows(page) == ["anna", "Emil"]

    page.get_by_role("link", name="Tokens").click()
    page.get_by_text("New token", exact=True).click()
    page.locator(".fields").get_by_label("Account", exact=True).fill("emil")
    page.get_by_label("What it is for").fill("ci")
    page.get_by_role("button", name="Make the token").click()
    token = page.get_by_role("dialog").get_by_label("Token").input_value()
    page.get_by_role("button", name="Close").click()
    assert status(visit.url, token, "files/hr/x", "PUT") == 201

    # Who only administers a folder sees its rules, and gives no more than they have.
    with chromium.new_context() as context:
        other = context.new_page()
        sign_in(other, visit.url, "Emil", "account")
        other.get_by_role("link", name="Administration").click()
        expect(other.locator("#rule-list tbody tr")).to_have_count(1)
        other.get_by_label("Who", exact=True).last.fill("bert")
        other.get_by_label("May", exact=True).fill("owner")
        other.get_by_label("In", exact=True).fill(f"/hr/{NASTY}/")
        other.get_by_role("button", name="Add the rule").click()
        expect(other.locator("form").get_by_role("alert")).to_contain_text("no right to give")

    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("button", name="Disable Emil").click()
    answer(page)
    expect(page.get_by_text("disabled")).to_be_visible()
    assert status(visit.url, token) == 401
    page.get_by_role("button", name="Set the password of Emil").click()
    answer(page, "Save", New="short")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("15 characters")
    answer(page, "Cancel")
    page.get_by_role("button", name="Remove Emil").click()
    answer(page)
    expect(page.locator("#account-list").get_by_text("Emil")).to_have_count(0)


def test_a_link_is_made_from_the_list_and_revoked(visit: Visit, chromium: Browser) -> None:
    visit.expected = {"404"}
    page = visit.page
    sign_in(page, visit.url, "anna", "files/")
    page.evaluate("fetch('/files/letter.txt', { method: 'PUT', body: 'Dear' })")
    page.reload()
    page.get_by_role("button", name="Actions for letter.txt").click()
    page.get_by_role("link", name="Share…").click()
    assert page.get_by_label("File, or folder").input_value() == "/letter.txt"
    page.get_by_label("What it is for").last.fill("to Zoe")
    page.get_by_label("How often").fill("3")
    page.get_by_role("button", name="Make the link").click()
    url = page.get_by_role("dialog").get_by_label("Link").input_value()
    assert url.startswith(f"{visit.url}s/")
    page.get_by_role("button", name="Close").click()
    assert "to Zoe" in rows(page)
    with chromium.new_context() as context:
        other = context.new_page()
        other.goto(url)
        expect(other.get_by_role("main")).to_contain_text("letter.txt")
        page.get_by_role("button", name="Revoke to Zoe").click()
        answer(page)
        expect(page.locator("#link-list")).to_contain_text("No links.")
        other.reload()
        expect(other.get_by_role("main")).not_to_contain_text("letter.txt")


def test_a_quota_is_set_and_what_was_done_is_told(visit: Visit) -> None:
    visit.expected = {"400"}
    page = visit.page
    sign_in(page, visit.url, "anna", "admin/quotas")
    page.get_by_text("New quota").click()
    page.get_by_label("Folder").fill("/bounded/")
    page.get_by_role("button", name="Set the quota").click()
    expect(page.locator("form").get_by_role("alert")).to_contain_text("A quota has")
    page.get_by_label("GiB").fill("1.5")
    page.get_by_role("button", name="Set the quota").click()
    expect(page.locator("#quota-list")).to_contain_text("0 bytes of 1.5 GiB")
    page.get_by_role("button", name="Remove the quota of /bounded/").click()
    answer(page)
    expect(page.locator("#quota-list")).not_to_contain_text("/bounded/")
    page.get_by_role("link", name="Audit log").click()
    page.get_by_label("What").fill("quota remove")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".rows")).to_contain_text("bounded/")
    expect(page.locator(".rows strong")).to_have_text(["quota remove"])


def test_by_keyboard_alone(visit: Visit) -> None:
    page = visit.page
    sign_in(page, visit.url, "bert", "account")
    page.get_by_text("New token", exact=True).focus()
    for key in ("Enter", "Tab"):
        page.keyboard.press(key)
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    expect(page.locator("#secret")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Revoke typed").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ask .cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#token-list").get_by_text("typed")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_phone", [False, True])
def test_accessible(
    visit: Visit, chromium: Browser, axe: str, scheme: Literal["light", "dark"], is_phone: bool
) -> None:
    viewport = PHONE if is_phone else None
    visit.again(chromium.new_context(color_scheme=scheme, viewport=viewport))
    page = visit.page
    sign_in(page, visit.url, "anna", "account")
    for path in ("account", *(f"admin/{section}" for section in SECTIONS)):
        page.goto(visit.url + path)
        page.evaluate(axe)
        for summary in page.locator("summary").all():
            summary.click()
        assert violations(page) == []
        if is_phone:
            assert width_of(page) == PHONE["width"]
        asking = page.locator("button[data-command]")
        if asking.count():
            asking.first.click()
            assert violations(page) == []
            page.keyboard.press("Escape")
    page.locator("#secret").evaluate("dialog => dialog.showModal()")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("#confirm").evaluate("dialog => dialog.showModal()")
    assert violations(page) == []
