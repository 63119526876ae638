"""A server that has accounts, and browsers in which people sign in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Page

from tests.process import ServerProcess, run_command, served

PASSWORD = "correct horse battery"


@contextmanager
def closed(folder: Path, *others: str, options: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """Run a server with `anna`, who may do everything, and others, who may do nothing."""
    run_command(folder, "user", "add", "anna", "--admin", text=PASSWORD)
    for name in others:
        run_command(folder, "user", "add", name, text=PASSWORD)
    with served(folder, "--min-free", "0", *options) as server:
        yield server


def sign_in(page: Page, url: str, name: str, path: str = "") -> None:
    """Sign in, and be led to a path."""
    page.goto(f"{url}login?next=/{path}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}{path}")


def status(url: str, token: str, path: str = "files/", method: str = "GET") -> int:
    """Return what a program is answered that has a token."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(f"{url}{path}", headers=headers, method=method)) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            return error.code
