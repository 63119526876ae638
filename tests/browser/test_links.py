"""The pages of links, as people without an account see them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.steps import KIB, PHONE, Visit, violations, width_of
from tests.process import ServerProcess, run_command, served

PASSWORD = "correct horse battery"
LINK_PASSWORD = "tulips for berta"
SLOW = 256 * KIB


class Owner:
    """Whoever makes the links: `anna`, by a token."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder
        made = run_command(folder, "token", "add", "--account", "anna")
        self._headers = {"Authorization": f"Bearer {made.stdout.strip()}", "Content-Type": ""}

    def ask(self, method: str, name: str, content: bytes | None = None) -> bytes:
        url = f"{self.server.url}files/{quote(name, safe='/?=')}"
        with urlopen(Request(url, content, self._headers, method=method)) as response:
            answer: bytes = response.read()
            return answer

    def names(self, folder: str) -> list[str]:
        listed = json.loads(self.ask("GET", f"{folder}?delimiter="))
        return [file["name"].removeprefix(folder) for file in listed["files"]]

    def link(self, target: str, *options: str, text: str = "") -> str:
        """Return the path of a new link, without the slash that URLs of servers end in."""
        arguments = ("link", "add", target, "--account", "anna", *options)
        made = run_command(self.folder, *arguments, text=text)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip().removeprefix("/")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server with an account, `anna`."""
    folder = tmp_path_factory.mktemp("links")
    run_command(folder, "user", "add", "anna", "--admin", text=PASSWORD)
    with served(folder, "--min-free", "0") as server:
        yield server


@pytest.fixture(scope="module")
def owner(server: ServerProcess) -> Owner:
    """Return who has files there to share."""
    owner = Owner(server, server.folder)
    owner.ask("PUT", "secret/plan/the plan.txt", b"first this, then that")
    owner.ask("PUT", "secret/plan/parts/b.txt", b"part b")
    owner.ask("MKCOL", "secret/inbox/")
    return owner


def begin(page: Page, name: str) -> None:
    """Say who one is, and go on to the page by which files are sent."""
    page.get_by_label("Your name").fill(name)
    with page.expect_navigation():
        page.get_by_role("button", name="Choose files").click()
    expect(page).to_have_url(re.compile(r"/s/\w{22}/v/[\w~-]+/$"))


def come(visit: Visit, chromium: Browser, axe: str, path: str, scheme: str = "light") -> Page:
    """Open a link on a phone."""
    dark: Literal["dark", "light"] = "dark" if scheme == "dark" else "light"
    visit.again(chromium.new_context(color_scheme=dark, viewport=PHONE, is_mobile=True))
    visit.page.add_init_script(axe)
    visit.page.goto(f"{visit.url}{path}")
    return visit.page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_file(visit: Visit, chromium: Browser, axe: str, owner: Owner, scheme: str) -> None:
    link = owner.link("/secret/plan/the plan.txt", "--label", "For Berta")
    page = come(visit, chromium, axe, link, scheme)
    expect(page.get_by_role("heading", name="the plan.txt")).to_be_visible()
    expect(page.get_by_text("For Berta")).to_be_visible()
    expect(page.get_by_text("21 bytes")).to_be_visible()
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"first this, then that"
    assert download.value.suggested_filename == "the plan.txt"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_folder(visit: Visit, chromium: Browser, axe: str, owner: Owner, scheme: str) -> None:
    page = come(visit, chromium, axe, owner.link("/secret/plan/"), scheme)
    expect(page).to_have_url(re.compile(r"/s/\w{22}/files/$"))
    assert visit.shown() == ["parts/", "the plan.txt"]
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    page.get_by_role("link", name="the plan.txt").click()
    expect(page.get_by_role("dialog").locator("pre")).to_have_text("first this, then that")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("tr.file .menu-button").click()
    assert page.locator("#menu").locator("a, button").all_inner_texts() == [
        "Download", "Preview and details",
    ]  # fmt: skip
    page.keyboard.press("Escape")
    page.get_by_role("link", name="parts/").click()
    assert visit.shown() == ["b.txt"]
    page.get_by_label("Filter by name").fill("none")
    expect(page.locator("#count")).to_have_text("0 matches")
    page.get_by_role("link", name="plan", exact=True).click()
    assert visit.shown() == ["parts/", "the plan.txt"]
    assert "secret" not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_files_are_sent(
    visit: Visit, chromium: Browser, axe: str, owner: Owner, large: bytes, scheme: str
) -> None:
    link = owner.link("/secret/inbox/", "--drop", "--label", "Send it to Anna")
    page = come(visit, chromium, axe, link, scheme)
    expect(page.get_by_role("heading", name="Send it to Anna")).to_be_visible()
    assert violations(page) == []
    begin(page, f"Berta {scheme}")
    visit.pick(visit.file("one.txt", b"one"), visit.file("large.bin", large))
    visit.uploaded(2)
    visit.pick(visit.file("one.txt", b"one, again"))
    visit.uploaded(3)
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    mine = [name for name in owner.names("secret/inbox/") if f" Berta {scheme} " in name]
    assert len({name.split("/")[0] for name in mine}) == 1
    folder = mine[0].split("/")[0]
    assert owner.ask("GET", f"secret/inbox/{folder}/large.bin") == large
    assert len(mine) == 3
    assert "inbox" not in page.content()


def test_a_folder_that_takes_files_too(
    visit: Visit, chromium: Browser, axe: str, owner: Owner
) -> None:
    page = come(visit, chromium, axe, owner.link("/secret/plan/", "--both"))
    assert visit.shown() == ["parts/", "the plan.txt"]
    assert violations(page) == []
    assert width_of(page) == PHONE["width"]
    page.get_by_label("Your name").fill("Emma")
    with page.expect_navigation():
        page.get_by_role("button", name="Send files").click()
    visit.pick(visit.file("more.txt", b"more"))
    visit.uploaded(1)
    [name] = [name for name in owner.names("secret/plan/") if " Emma " in name]
    # Others look into the same folder.
    owner.ask("DELETE", f"secret/plan/{name.split('/')[0]}/")


def test_what_was_interrupted_goes_on(
    visit: Visit, chromium: Browser, owner: Owner, large: bytes
) -> None:
    page = visit.page
    page.goto(f"{visit.url}{owner.link('/secret/inbox/', '--drop')}")
    begin(page, "Cleo")
    big = visit.file("big", large)
    visit.slow(SLOW)
    visit.pick(big)
    expect(visit.upload("big")).to_contain_text(re.compile(r"1\.\d MiB of 3\.0 MiB"))
    page.reload()
    expect(visit.upload("big")).to_contain_text("Choose or drop the same file to go on.")
    visit.slow(-1)
    visit.sent()
    visit.pick(big)
    visit.uploaded(1)
    assert visit.sent() < len(large)
    [name] = [name for name in owner.names("secret/inbox/") if " Cleo " in name]
    assert owner.ask("GET", f"secret/inbox/{name}") == large
    visit.slow(SLOW)
    visit.pick(visit.file("other", large[::-1]))
    expect(visit.upload("other")).to_contain_text("left")
    visit.upload("other").get_by_role("button", name="Cancel").click()
    expect(visit.upload("other")).to_have_count(0)


def test_files_are_sent_without_javascript(visit: Visit, chromium: Browser, owner: Owner) -> None:
    visit.again(chromium.new_context(java_script_enabled=False))
    page = visit.page
    page.goto(f"{visit.url}{owner.link('/secret/inbox/', '--drop')}")
    begin(page, "Dora")
    page.get_by_label("Files", exact=True).set_input_files(visit.file("up.txt", b"up"))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("main").get_by_role("status")).to_contain_text("1 file was sent.")
    [name] = [name for name in owner.names("secret/inbox/") if " Dora " in name]
    assert owner.ask("GET", f"secret/inbox/{name}") == b"up"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_password_is_asked_for(
    visit: Visit, chromium: Browser, axe: str, owner: Owner, scheme: str
) -> None:
    visit.expected = {"401"}
    link = owner.link("/secret/plan/the plan.txt", "--password", text=LINK_PASSWORD)
    page = come(visit, chromium, axe, link, scheme)
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.get_by_text("This link has a password.")).to_be_visible()
    assert violations(page) == []
    page.keyboard.type("another one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the one")
    assert violations(page) == []
    page.get_by_label("Password").fill(LINK_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="the plan.txt")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"first this, then that"


def test_a_link_that_is_over(visit: Visit, chromium: Browser, axe: str, owner: Owner) -> None:
    visit.expected = {"404"}
    link = owner.link("/secret/plan/")
    [told] = json.loads(run_command(owner.folder, "link", "ls", "--json").stdout)[-1:]
    page = come(visit, chromium, axe, link)
    assert visit.shown() == ["parts/", "the plan.txt"]
    assert run_command(owner.folder, "link", "revoke", told["id"]).returncode == 0
    page.reload()
    expect(page.get_by_text("no such link")).to_be_visible()
    expect(page.get_by_role("link")).to_have_count(0)
    assert violations(page) == []
