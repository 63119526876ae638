"""Uploads from the page that send only what the server lacks."""

from __future__ import annotations

import random
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from tests.browser.meter import metered
from tests.browser.steps import MIB, Visit
from tests.process import served

CHUNK = 256 * 1024
OLD = random.Random(8).randbytes(24 * MIB)
NEW = OLD[: 5 * MIB] + bytes(CHUNK) + OLD[5 * MIB + CHUNK : -CHUNK] + bytes(CHUNK - 1) + b"\1"


def test_a_new_version_sends_what_changed(visit: Visit) -> None:
    visit.expected = {"412"}
    visit.put("disk.img", OLD)
    page = visit.open()
    visit.sent()
    visit.pick(visit.file("disk.img", NEW))
    row = visit.upload("disk.img")
    with page.expect_request("**/chunks/missing") as asked:
        row.get_by_role("button", name="Replace").click()
    # Who may not read everything is told of the chunks of what is replaced only if it is named.
    assert asked.value.headers["base"] == f"/files/{visit.folder}/disk.img"
    visit.uploaded(1)
    # 2 of 96 chunks, which are 2.1 %.
    assert 2 * CHUNK < visit.sent() < 0.03 * len(NEW)
    assert visit.read("disk.img") == NEW
    expect(row).to_contain_text("24.0 MiB · 512.0 KiB sent, 23.5 MiB already known")
    visit.pick(visit.file("copy.img", NEW))
    visit.uploaded(2)
    assert visit.read("copy.img") == NEW
    assert visit.sent() < 0.001 * len(NEW)
    expect(visit.upload("copy.img")).to_contain_text("nothing sent, all of it already known")
    expect(page.locator("#uploads .summary")).to_contain_text("100 % · 47.5 MiB spared")


def test_equal_chunks_of_a_file_are_sent_once(visit: Visit) -> None:
    visit.made().open()
    chunk = random.Random(9).randbytes(CHUNK)
    visit.sent()
    visit.pick(visit.file("same", 20 * chunk + b"end"))
    visit.uploaded(1)
    assert visit.read("same") == 20 * chunk + b"end"
    assert CHUNK < visit.sent() < 2 * CHUNK


def test_many_large_files_at_once(visit: Visit) -> None:
    visit.made().open()
    contents = {str(number): random.Random(number).randbytes(2 * MIB) for number in range(8)}
    visit.pick(*(visit.file(name, content) for name, content in contents.items()))
    visit.uploaded(8)
    assert {name: visit.read(name) for name in contents} == contents


def test_a_file_that_changes_meanwhile_is_no_mixture(visit: Visit, large: bytes) -> None:
    visit.expected = {"net::ERR_UPLOAD_FILE_CHANGED"}
    visit.made().open()
    path = visit.file("big", large[: 2 * MIB])
    visit.slow(MIB // 4)
    visit.pick(path)
    row = visit.upload("big")
    expect(row).to_contain_text("left")
    row.get_by_role("button", name="Pause").click()
    visit.slow(-1)
    path.write_bytes(large)
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("changed or moved since")
    assert visit.names() == []


def test_what_went_meanwhile_is_sent_after_all(visit: Visit, large: bytes) -> None:
    visit.expected = {"409"}
    page = visit.made().open()
    answers = iter([b""])

    def claim_all(route: Route) -> None:
        """Answer the first question as if nothing were missing."""
        answer = next(answers, None)
        route.continue_() if answer is None else route.fulfill(body=answer)

    page.route("**/chunks/missing", claim_all)
    with page.expect_response(lambda response: response.status == 409):
        visit.pick(visit.file("big", large))
    visit.uploaded(1)
    assert visit.read("big") == large
    expect(visit.upload("big")).to_contain_text("all of it new")


def test_a_digest_that_takes_its_time_is_waited_for(visit: Visit, large: bytes) -> None:
    page = visit.made().open()

    def accept(route: Route) -> None:
        """Answer that the digest is being computed."""
        response = route.fetch()
        assert response.status == 201
        headers = {"Upload-Offset": str(len(large)), "Retry-After": "1"}
        route.fulfill(status=202, headers=headers)

    page.route("**/uploads/*", lambda route: accept(route), times=1)
    visit.pick(visit.file("big", large))
    visit.uploaded(1)
    assert visit.read("big") == large
    expect(visit.upload("big").locator("code")).not_to_be_empty()


def test_without_its_worker_the_page_sends_files_whole(visit: Visit) -> None:
    visit.expected = {"404"}
    page = visit.made().open()
    page.route("**/static/hasher.js", lambda route: route.fulfill(status=404))
    visit.put("old", NEW)
    visit.sent()
    visit.pick(visit.file("big", NEW))
    visit.uploaded(1)
    assert visit.read("big") == NEW
    assert visit.sent() > len(NEW)
    expect(visit.upload("big")).to_contain_text("all of it already known")


def test_what_is_cut_by_its_content_is_sent_whole(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", "--chunking", "auto") as server, metered(server.port) as meter:
        visit = Visit(chromium.new_context(), server, "d", tmp_path, meter)
        visit.expected = {"412"}
        tar = bytes(257) + b"ustar" + OLD[: 2 * MIB]
        visit.put("a.tar", tar)
        visit.open()
        visit.sent()
        visit.pick(visit.file("a.tar", tar + b"more"))
        visit.upload("a.tar").get_by_role("button", name="Replace").click()
        visit.uploaded(1)
        assert visit.sent() > len(tar)
        assert visit.read("a.tar") == tar + b"more"
        # The server, which cut it, recognised it.
        expect(visit.upload("a.tar")).to_contain_text("already known")
        visit.end()
