"""The list and what can be done to it, by mouse and by keyboard."""

from __future__ import annotations

import sqlite3
import struct
import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from blake3 import blake3
from playwright.sync_api import APIResponse, Browser, Route, expect

from tests.browser.steps import KIB, Visit
from tests.process import served

MANY = 10_000
PAGE = 200
_PLANT = """
    WITH RECURSIVE number(value) AS (
        SELECT 1 UNION ALL SELECT value + 1 FROM number WHERE value < ?
    )
    INSERT INTO file (name, manifest, proof, media_type, created, modified)
    SELECT printf('%s/%05d', ?, value), manifest, proof, media_type, created, modified
    FROM number, file WHERE name = 'many/00000'
"""


def png() -> bytes:
    """Return a picture of one pixel."""

    def part(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\x10\x60\xc0")
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", pixel) + part(b"IEND", b"")


def wav() -> bytes:
    """Return a tenth of a second of silence."""
    samples = bytes(800)
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    body = head + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_new_folder_rename_delete(visit: Visit) -> None:
    visit.expected = {"405", "412"}
    visit.made().put("a.txt", b"a")
    page = visit.open()
    page.get_by_role("button", name="New folder").click()
    visit.answer("Create", "neu & ä")
    expect(visit.row("neu & ä/")).to_be_visible()
    page.get_by_role("button", name="New folder").click()
    visit.answer("Create", "neu & ä")
    expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    visit.answer("Cancel")

    visit.choose("a.txt", "Rename")
    visit.answer("Save", f"{visit.folder}/neu & ä/b.txt")
    expect(visit.row("a.txt")).to_have_count(0)
    assert visit.names() == ["neu & ä/b.txt"]

    visit.choose("neu & ä/", "Rename")
    visit.answer("Save", f"{visit.folder}/c")
    expect(visit.row("c/")).to_be_visible()
    assert visit.names() == ["c/b.txt"]

    visit.put("d.txt", b"d")
    visit.put("e.txt", b"e")
    page.reload()
    visit.choose("d.txt", "Rename")
    visit.answer("Save", f"{visit.folder}/e.txt")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("exists already")
    assert visit.read("e.txt") == b"e"
    visit.answer("Replace")
    expect(visit.row("d.txt")).to_have_count(0)
    assert visit.read("e.txt") == b"d"

    visit.choose("e.txt", "Delete")
    visit.answer("Cancel")
    assert "e.txt" in visit.names()
    visit.choose("e.txt", "Delete")
    visit.answer("Delete")
    expect(visit.row("e.txt")).to_have_count(0)
    visit.choose("c/", "Delete")
    visit.answer("Delete")
    expect(visit.row("c/")).to_have_count(0)
    assert visit.names() == []
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()


def test_copy_link(visit: Visit) -> None:
    visit.put("a b.txt")
    page = visit.open()
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.choose("a b.txt", "Copy link")
    expect(page.locator("#announcer")).to_have_text("Link copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{visit.url}files/{visit.folder}/a%20b.txt"


def test_preview(visit: Visit) -> None:
    text = ("läng " * 20_000).encode()
    for name, content in {
        "1.png": png(),
        "2.wav": wav(),
        "3.txt": text,
        "4.html": b"<script>alert(1)</script>",
        "5.bin": b"\0",
        "6.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="4"/></svg>',
    }.items():
        visit.put(name, content)
    page = visit.open()
    dialog = page.get_by_role("dialog")
    page.get_by_role("link", name="1.png").click()
    picture = dialog.get_by_role("img", name="1.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    expect(dialog).to_contain_text(blake3(png()).hexdigest())
    dialog.get_by_role("button", name="Next").click()
    sound = dialog.locator("audio")
    sound.evaluate("sound => sound.readyState || new Promise(r => sound.onloadedmetadata = r)")
    assert sound.evaluate("sound => sound.duration") == pytest.approx(0.1)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.locator("pre")).to_contain_text("läng läng")
    expect(dialog).to_contain_text("This is the beginning, 64.0 KiB of")
    assert len(dialog.locator("pre").inner_text().encode()) <= 65 * KIB
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.locator("pre")).to_have_text("<script>alert(1)</script>")
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("img", name="6.svg")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    visit.choose("5.bin", "details")
    expect(dialog).to_contain_text("no preview")
    expect(dialog).to_contain_text(blake3(b"\0").hexdigest())
    dialog.get_by_role("button", name="Close").click()


def test_sort_and_filter(visit: Visit) -> None:
    sizes = {"b": 1, "a": 30, "C": 200, "ab": 1000}
    for name, size in sizes.items():
        visit.put(name, b"x" * size)
    visit.put("folder/x")
    page = visit.open()
    assert visit.shown() == ["folder/", "C", "a", "ab", "b"]
    header = page.get_by_role("columnheader", name="Size")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    assert visit.shown() == ["folder/", "b", "a", "C", "ab"]
    header.get_by_role("button").click()
    assert visit.shown() == ["folder/", "ab", "C", "a", "b"]
    page.get_by_role("searchbox").fill("B")
    expect(page.locator("#count")).to_have_text("2 matches")
    assert visit.shown() == ["ab", "b"]
    page.get_by_role("searchbox").fill("")
    expect(page.locator("#count")).to_have_text("5 entries")


def test_keyboard_alone(visit: Visit) -> None:
    visit.made().put("a.txt", b"a")
    page = visit.open()
    visit.row("a.txt").get_by_role("link").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#menu")).to_be_visible()
    expect(page.locator("#menu a")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#menu").get_by_text("Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_hidden()
    expect(visit.row("a.txt").locator(".menu-button")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(visit.row("a.txt")).to_have_count(0)
    page.get_by_role("button", name="New folder").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("b")
    page.keyboard.press("Enter")
    expect(visit.row("b/")).to_be_visible()


def test_many_files(chromium: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as server:
        Visit(chromium.new_context(), server, "many", tmp_path).put("00000")
    with closing(sqlite3.connect(tmp_path / "chunkstore.db")) as db, db:
        for folder, count in (("few", PAGE), ("many", MANY - 1)):
            db.execute(_PLANT, (count, folder))
    with served(tmp_path) as server:
        few = Visit(chromium.new_context(), server, "few", tmp_path)
        visit = Visit(chromium.new_context(), server, "many", tmp_path)
        # The first time of each also starts what the second finds running.
        for one in (few, visit):
            seconds_to_open(one)
        # As long as any page takes, not fifty times that; the rest is the machine's noise.
        assert seconds_to_open(visit) < 5 * seconds_to_open(few)
        page = visit.page
        page.get_by_role("link", name="Show more").click()
        expect(page.locator("#count")).to_contain_text("400 entries shown")
        assert visit.shown() == [f"{number:05}" for number in range(400)]
        for count in (600, 800, 1000, 1200):
            page.get_by_role("link", name="Show more").click()
            expect(page.locator("#count")).to_contain_text(f"{count:,} entries shown")
        # An upload brings the list up to date, and makes it no shorter.
        visit.pick(visit.file("00000a", b"new"))
        expect(visit.row("00000a")).to_be_visible()
        assert len(visit.shown()) >= 1200
        page.get_by_role("searchbox").fill("0999")
        expect(page.locator("#count")).to_contain_text("10 matches")
        assert visit.shown() == [f"{number:05}" for number in range(9990, 10_000)]
        few.end()
        visit.end()


def seconds_to_open(visit: Visit) -> float:
    started = time.monotonic()
    expect(visit.open().locator("#count")).to_contain_text(f"{PAGE} entries")
    return time.monotonic() - started


def test_the_newest_list_wins(visit: Visit) -> None:
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        """Let the first list wait, as it is, until another one has been asked for."""
        if held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    for number in range(PAGE + 1):
        visit.put(f"{number:03}")
    page = visit.open()
    page.route(f"**/files/{visit.folder}/?*", hold)
    page.get_by_role("searchbox").fill("00")
    while not held:
        page.wait_for_timeout(10)
    page.get_by_role("searchbox").fill("")
    visit.choose("010", "Delete")
    visit.answer("Delete")
    # Time for another list to come before the first one. None may, so there is nothing to wait for.
    page.wait_for_timeout(500)
    expect(page.locator("#announcer")).not_to_have_text("010 deleted.")
    [(route, response)] = held
    route.fulfill(response=response)
    expect(page.locator("#announcer")).to_have_text("010 deleted.")
    # Neither the narrower list is shown, nor what is gone.
    expect(page.locator("#count")).to_contain_text(f"{PAGE} entries")
    expect(visit.row("010")).to_have_count(0)
    # All of it is here, and is found by any part of its name.
    page.get_by_role("searchbox").fill("11")
    expect(page.locator("#count")).to_have_text("11 matches")
