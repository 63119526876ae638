"""What nearly every test of the page does on its way."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    ViewportSize,
    expect,
)

from tests.browser.meter import Meter
from tests.process import ServerProcess

PATIENCE_MS = 60_000
KIB = 1024
MIB = 1024 * KIB
PHONE = ViewportSize(width=390, height=844)

expect.set_options(timeout=PATIENCE_MS)

_FAILED_LOADING = re.compile(r"Failed to load resource: (?:.*status of (\d+)|(net::\S+))")
_UNFINISHED = "#uploads li:not(.done)"
_DROP = """(contents) => {
    const transfer = new DataTransfer();
    for (const [name, content] of contents) {
        const bytes = Uint8Array.from(atob(content), (byte) => byte.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
    }
    for (const type of ["dragover", "drop"]) {
        const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
        document.querySelector("main").dispatchEvent(new DragEvent(type, options));
    }
}"""


class Visit:
    """A browser's visit to `folder` of a server; `files` is a folder on the browser's side.

    If there is a `meter`, the browser comes through it.

    When it ends, no script may have failed, no request have gone to another host, and no answer
    have been an error but those with a status (or Chromium's name of an error) in `expected`.
    """

    def __init__(
        self,
        context: BrowserContext,
        server: ServerProcess,
        folder: str,
        files: Path,
        meter: Meter | None = None,
    ) -> None:
        self.url = server.url if meter is None else meter.url
        self.meter = meter
        self.folder = folder
        self.files = files
        self.expected: set[str] = set()
        self._troubles: list[str] = []
        self._begin(context)

    def _begin(self, context: BrowserContext) -> None:
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self._troubles.append(str(error)))
        self.page.on("request", lambda request: self._follow(request.url))

    def again(self, context: BrowserContext) -> None:
        """Come back as another browser."""
        self.context.close()
        self._begin(context)

    def end(self) -> None:
        """Leave, and tell of what should not have happened."""
        self.context.close()
        assert self._troubles == []

    def open(self, query: str = "") -> Page:
        """Open the folder's page."""
        self.page.goto(f"{self.url}files/{quote(self.folder)}/{query}")
        return self.page

    def put(self, name: str, content: bytes = b"content") -> None:
        """Put a file into the folder, behind the page's back."""
        self._ask("PUT", name, content)

    def made(self) -> Visit:
        """Make the folder."""
        self._ask("MKCOL", "")
        return self

    def read(self, name: str) -> bytes:
        """Return the content of a file in the folder."""
        with urlopen(self._url(name)) as response:
            content: bytes = response.read()
            return content

    def names(self) -> list[str]:
        """Return all names in the folder, without its own."""
        listed = json.loads(self._ask("GET", "?delimiter="))
        return [file["name"].removeprefix(f"{self.folder}/") for file in listed["files"]]

    def file(self, name: str, content: bytes) -> Path:
        """Return a file on the browser's side."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def pick(self, *paths: Path) -> None:
        """Choose files as the button offers it."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Upload files").click()
        chooser.value.set_files(paths)

    def drop(self, **contents: bytes) -> None:
        """Drop files on the page."""
        encoded = [(name, base64.b64encode(one).decode()) for name, one in contents.items()]
        self.page.evaluate(_DROP, encoded)

    def upload(self, name: str) -> Locator:
        """Return the row of an upload."""
        named = self.page.locator(".name").get_by_text(name, exact=True)
        return self.page.locator("#uploads li", has=named)

    def uploaded(self, count: int) -> None:
        """Wait until so many uploads are done and none is not."""
        expect(self.page.locator("#uploads li.done")).to_have_count(count)
        expect(self.page.locator(_UNFINISHED)).to_have_count(0)

    def row(self, name: str) -> Locator:
        """Return the row of a file or folder in the list."""
        return self.page.locator(f'tr[data-name="{self.folder}/{name}"]')

    def shown(self) -> list[str]:
        """Return the names in the list, as they stand there."""
        return self.page.locator("tbody tr:not([hidden]) .name a").all_inner_texts()

    def choose(self, name: str, action: str) -> None:
        """Choose from the menu of a row."""
        self.row(name).get_by_role("button", name="Actions for").click()
        self.page.locator("#menu").get_by_text(action).click()

    def answer(self, button: str, text: str | None = None) -> None:
        """Answer the question that is open."""
        dialog = self.page.get_by_role("dialog")
        if text is not None:
            dialog.get_by_role("textbox").fill(text)
        dialog.get_by_role("button", name=button).click()

    def sent(self) -> int:
        """Return the bytes of all requests, heads included, since this was asked last."""
        assert self.meter is not None
        return self.meter.take()

    def send_whole(self) -> None:
        """Have the server know no chunks, as older ones do, so that files are sent whole."""
        self.expected.add("404")
        self.context.route("**/chunks", lambda route: route.fulfill(status=404))

    def slow(self, bytes_per_second: int) -> None:
        """Let no more bytes out."""
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
        conditions["uploadThroughput"] = bytes_per_second
        session.send("Network.emulateNetworkConditions", conditions)

    def _url(self, name: str) -> str:
        return f"{self.url}files/{quote(self.folder)}/{quote(name, safe='/?=')}"

    def _ask(self, method: str, name: str, content: bytes | None = None) -> bytes:
        # Left to itself the client would make up a type; the server is to guess one.
        headers = {"Content-Type": ""}
        with urlopen(Request(self._url(name), content, headers, method=method)) as response:
            answer: bytes = response.read()
            return answer

    def _listen(self, message: ConsoleMessage) -> None:
        failed = _FAILED_LOADING.match(message.text)
        if failed and (failed[1] or failed[2]) in self.expected:
            return
        if message.type in ("error", "warning"):
            self._troubles.append(message.text)

    def _follow(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc:
            self._troubles.append(f"a request to {url}")


def width_of(page: Page) -> int:
    """Return how wide the page is, in pixels."""
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


def violations(page: Page) -> list[str]:
    """Return what axe-core, which the page must have, finds wrong with the page as it is."""
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [
        f"{one['id']} ({one['impact']}): {node['html']}" for one in found for node in one["nodes"]
    ]
