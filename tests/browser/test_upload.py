"""Uploads from the page: by button and drop, paused, interrupted, resumed, refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from blake3 import blake3
from playwright.sync_api import Browser, expect

from tests.browser.steps import KIB, MIB, PATIENCE_MS, Visit
from tests.process import served

# So slow that an upload is caught on its way, whatever the machine.
SLOW = 256 * KIB
FAST = -1
ONE_OF_THREE = re.compile(r"1\.\d MiB of 3\.0 MiB")


@pytest.fixture(params=["chunks", "whole"])
def either(visit: Visit, request: pytest.FixtureRequest) -> Visit:
    """Return a visit that sends files as chunks, or whole to a server that knows none."""
    if request.param == "whole":
        visit.send_whole()
    return visit


def test_upload_by_button(either: Visit, large: bytes) -> None:
    visit = either
    page = visit.made().open()
    contents = {"a.txt": b"some text", "empty": b"", "ä & <b>.bin": large}
    visit.pick(*(visit.file(name, content) for name, content in contents.items()))
    visit.uploaded(3)
    for name, content in contents.items():
        assert visit.read(name) == content
        expect(visit.row(name)).to_be_visible()
    row = visit.upload("ä & <b>.bin")
    expect(row).to_contain_text("all of it new")
    row.get_by_text("Digest").click()
    expect(row.locator("code")).to_have_text(blake3(large).hexdigest())
    expect(page.locator("#uploads .summary")).to_contain_text("3 of 3 files · 100 %")
    page.get_by_role("button", name="Clear finished").click()
    expect(page.locator("#uploads")).to_be_hidden()


def test_upload_tells_what_was_known(either: Visit, large: bytes) -> None:
    visit = either
    visit.put("old", large[: 2 * MIB])
    visit.open()
    visit.pick(visit.file("same", large[: 2 * MIB]), visit.file("longer", large))
    visit.uploaded(2)
    expect(visit.upload("same")).to_contain_text("all of it already known")
    expect(visit.upload("longer")).to_contain_text("2.0 MiB already known")


def test_upload_by_drop(visit: Visit) -> None:
    visit.made().open()
    visit.drop(**{"a": b"dropped", "b c": b"too"})
    visit.uploaded(2)
    assert (visit.read("a"), visit.read("b c")) == (b"dropped", b"too")


def test_folder_by_button(visit: Visit) -> None:
    page = visit.made().open()
    for name in ("a", "in/b", "in/deep/c"):
        visit.file(f"top/{name}", name.encode())
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload folder").click()
    chooser.value.set_files(visit.files / "top")
    visit.uploaded(3)
    assert visit.names() == ["top/a", "top/in/b", "top/in/deep/c"]
    expect(visit.row("top/")).to_be_visible()


def test_folder_by_drop(visit: Visit) -> None:
    page = visit.made().open()
    # A browser hands over a hundred entries at a time.
    for number in range(101):
        visit.file(f"top/many/{number:03}", str(number).encode())
    visit.file("top/one/deep/file", b"deep")
    box = page.locator("main").bounding_box()
    assert box is not None
    session = visit.context.new_cdp_session(page)
    # What a desktop hands over: paths, of which the browser makes entries.
    dragged = {"items": [], "files": [str(visit.files / "top")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + 20, "y": box["y"] + 20}
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": dragged})
    summary = page.locator("#uploads .summary")
    expect(summary).to_contain_text("102 of 102 files", timeout=5 * PATIENCE_MS)
    assert len(visit.names()) == 102
    assert visit.read("top/one/deep/file") == b"deep"


def test_pause_and_resume(either: Visit, large: bytes) -> None:
    visit = either
    visit.made().open()
    visit.slow(SLOW)
    visit.pick(visit.file("big", large))
    row = visit.upload("big")
    expect(row).to_contain_text("/s")
    expect(row).to_contain_text("left")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("Paused at")
    assert visit.names() == []
    visit.slow(FAST)
    row.get_by_role("button", name="Resume").click()
    visit.uploaded(1)
    assert visit.read("big") == large


def test_cancel(visit: Visit, large: bytes) -> None:
    page = visit.made().open()
    visit.slow(SLOW)
    visit.pick(visit.file("big", large))
    row = visit.upload("big")
    expect(row).to_contain_text("of 3.0 MiB")
    with page.expect_request(lambda request: request.method == "DELETE") as ended:
        row.get_by_role("button", name="Cancel").click()
    response = ended.value.response()
    assert response is not None
    assert response.status == 204
    expect(page.locator("#uploads")).to_be_hidden()
    page.reload()
    expect(page.locator("#uploads")).to_be_hidden()


def test_reload_and_resume(either: Visit, large: bytes) -> None:
    visit = either
    page = visit.made().open()
    big = visit.file("big", large)
    visit.slow(SLOW)
    visit.pick(big)
    expect(visit.upload("big")).to_contain_text(ONE_OF_THREE)
    page.reload()
    row = visit.upload("big")
    expect(row).to_contain_text("Choose or drop the same file to go on.")
    visit.slow(FAST)
    visit.sent()
    visit.pick(big)
    visit.uploaded(1)
    assert visit.read("big") == large
    # It went on where it was.
    assert visit.sent() < len(large)
    # What was sent before was not known.
    expect(visit.upload("big")).to_contain_text("all of it new")
    page.reload()
    expect(page.locator("#uploads")).to_be_hidden()


def test_discard_what_was_interrupted(visit: Visit, large: bytes) -> None:
    page = visit.made().open()
    visit.slow(SLOW)
    visit.pick(visit.file("big", large))
    expect(visit.upload("big")).to_contain_text("left")
    page.reload()
    visit.upload("big").get_by_role("button", name="Discard").click()
    expect(page.locator("#uploads")).to_be_hidden()
    page.reload()
    expect(page.locator("#uploads")).to_be_hidden()


_BLOCK_STORAGE = """
    Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("Access is denied for this document.", "SecurityError"); },
    });
"""


@pytest.mark.parametrize("storage", ["blocked", "corrupt"])
def test_uploads_need_no_storage(visit: Visit, storage: str, large: bytes) -> None:
    page = visit.made().open()
    if storage == "blocked":
        page.add_init_script(_BLOCK_STORAGE)
    else:
        for value in ("{", "null", '"text"', '{"target": 1}', '{"target": "a", "url": "b"}'):
            key = f"chunkstore /uploads {value}"
            page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, value])
    page.reload()
    expect(page.locator("#uploads")).to_be_hidden()
    visit.slow(SLOW)
    visit.pick(visit.file("big", large), visit.file("small", b"small"))
    row = visit.upload("big")
    expect(row).to_contain_text(ONE_OF_THREE)
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("Paused at")
    visit.slow(FAST)
    visit.sent()
    row.get_by_role("button", name="Resume").click()
    visit.uploaded(2)
    assert visit.read("big") == large
    # It went on where it was.
    assert visit.sent() < len(large)


@pytest.mark.parametrize("whole", [False, True], ids=["chunks", "whole"])
def test_server_restarts(chromium: Browser, tmp_path: Path, whole: bool, large: bytes) -> None:
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", "--min-free", "0") as first:
        visit = Visit(chromium.new_context(), first, "d", tmp_path)
        visit.expected = {"net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET"}
        visit.expected |= {"net::ERR_EMPTY_RESPONSE", "net::ERR_SOCKET_NOT_CONNECTED"}
        if whole:
            visit.send_whole()
        visit.made().open()
        visit.slow(SLOW)
        visit.pick(visit.file("big", large))
        row = visit.upload("big")
        expect(row).to_contain_text("left")
        first.kill()
        expect(row).to_contain_text("goes on by itself")
        expect(row.get_by_role("button", name="Try now")).to_be_visible()
    visit.slow(FAST)
    with served(tmp_path / "served", "--min-free", "0", port=first.port):
        visit.uploaded(1)
        assert visit.read("big") == large
        visit.end()


@pytest.mark.parametrize("size", [3, 3 * MIB], ids=["small", "large"])
def test_replace_asks(either: Visit, large: bytes, size: int) -> None:
    visit = either
    content = large[:size]
    visit.expected |= {"412"}
    visit.put("a", b"old")
    visit.put("b", b"old")
    page = visit.open()
    visit.pick(visit.file("a", content), visit.file("b", content))
    for name in "ab":
        expect(visit.upload(name)).to_contain_text("There is a file of this name. Replace it?")
    assert visit.read("a") == b"old"
    page.get_by_role("button", name="Skip a").click()
    page.get_by_role("button", name="Replace b").click()
    visit.uploaded(1)
    assert (visit.read("a"), visit.read("b")) == (b"old", content)


def test_refusal_stays_and_says_why(visit: Visit) -> None:
    visit.expected = {"409"}
    visit.put("a/b")
    page = visit.open()
    visit.pick(visit.file("a", b"cannot be: a folder has this name"))
    row = visit.upload("a")
    expect(row).to_have_class("failed")
    expect(row.locator(".said")).not_to_be_empty()
    expect(page.locator("#announcer")).not_to_be_empty()
    row.get_by_role("button", name="Retry").click()
    expect(row).to_have_class("failed")
    row.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#uploads")).to_be_hidden()


def test_many_at_once(visit: Visit) -> None:
    page = visit.made().open()
    visit.drop(**{f"{number:03}": str(number).encode() for number in range(60)})
    expect(page.locator("#uploads .summary")).to_contain_text("60 of 60 files")
    assert len(visit.names()) == 60
    expect(page.locator("#count")).to_contain_text("60 entries")


# Files without bytes, and a server that answers at once: what is left is the page's own work.
_UPLOAD_MANY = """async (count) => {
    const transfer = new DataTransfer();
    for (let number = 0; number < count; number += 1) {
        transfer.items.add(new File([], `${count}-${number}`));
    }
    const { XMLHttpRequest: Real } = window;
    let answered;
    const all = new Promise((resolve) => (answered = resolve));
    let left = count;
    window.XMLHttpRequest = class extends EventTarget {
        upload = new EventTarget();
        status = 201;
        responseText = '{"digest": "", "new_size": 0}';
        open() {}
        setRequestHeader() {}
        send() {
            queueMicrotask(() => {
                this.onload();
                this.onloadend();
                this.dispatchEvent(new Event("loadend"));
                left -= 1;
                if (!left) {
                    answered();
                }
            });
        }
    };
    const begun = performance.now();
    const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
    document.querySelector("main").dispatchEvent(new DragEvent("drop", options));
    await all;
    const took = performance.now() - begun;
    window.XMLHttpRequest = Real;
    return took;
}"""


def test_twenty_thousand_at_once(visit: Visit) -> None:
    page = visit.made().open()
    few = page.evaluate(_UPLOAD_MANY, 2_000)
    summary = page.locator("#uploads .summary")
    expect(summary).to_contain_text("2000 of 2,000 files")
    many = page.evaluate(_UPLOAD_MANY, 20_000)
    expect(summary).to_contain_text("22000 of 22,000 files")
    # Ten times as much, or some times that on a busy machine; a hundred were it quadratic.
    assert many < 50 * few
    # The rest is counted, not shown.
    assert page.locator("#uploads li").count() <= 100
    expect(page.locator("#uploads .rest")).to_contain_text("more")
    page.get_by_role("button", name="Clear finished").click()
    expect(page.locator("#uploads")).to_be_hidden()
    page.context.set_offline(True)
    visit.expected = {"net::ERR_INTERNET_DISCONNECTED"}
    visit.drop(**{f"{number}": b"x" for number in range(200)})
    expect(page.locator("#uploads li.retrying")).to_have_count(3)
    expect(page.locator("#uploads li.waiting")).to_have_count(50)
    expect(page.locator("#uploads .rest")).to_have_text("… and 147 files more")
    page.get_by_role("button", name="Pause all").click()
    expect(page.locator("#uploads li.paused")).to_have_count(50)
    expect(page.locator("#uploads .rest")).to_have_text("… and 150 files more")
    page.context.set_offline(False)
    page.get_by_role("button", name="Resume all").click()
    expect(summary).to_contain_text("200 of 200 files", timeout=5 * PATIENCE_MS)
    assert len(visit.names()) == 200


def test_a_dead_network_is_noticed(chromium: Browser, tmp_path: Path, large: bytes) -> None:
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", "--min-free", "0") as server:
        visit = Visit(chromium.new_context(), server, "d", tmp_path)
        visit.expected = {"net::ERR_FAILED", "net::ERR_ABORTED", "net::ERR_INTERNET_DISCONNECTED"}
        page = visit.made().open()
        # Its time goes on when the test says so; the network's does not depend on it.
        page.clock.install()
        big, other = visit.upload("big"), visit.upload("other")
        with server.suspended():
            # What is sent is taken by nobody, and no connection breaks.
            visit.pick(visit.file("big", large))
            expect(big).to_have_class("active")
            page.clock.run_for(6000)
            expect(big).to_contain_text("nothing heard for")
            while big.get_attribute("class") != "retrying":
                page.clock.run_for(1000)
            expect(big).to_contain_text("cannot be reached")
            # A browser that knows it at once says so at once.
            visit.pick(visit.file("other", large[1:]))
            expect(other).to_have_class("active")
            page.evaluate("dispatchEvent(new Event('offline'))")
            expect(other).to_have_class("retrying")
        page.clock.resume()
        page.evaluate("dispatchEvent(new Event('online'))")
        visit.uploaded(2)
        assert visit.read("big") == large
        visit.end()
