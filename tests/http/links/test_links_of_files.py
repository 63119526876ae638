"""Links of a file: what they show, and that it is the content that they were made for."""

from __future__ import annotations

from io import BytesIO

import pytest

from tests.http.links.conftest import Shared
from tests.http.steps import BROWSER

FILE = "/secret/plan/a.txt"


async def test_the_page_tells_what_it_is_and_sends_nothing_of_it(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, label="For you")
    page = await shared_site.by(link, **BROWSER)
    assert page.status == 200
    text = page.body.decode()
    assert "a.txt" in text
    assert "For you" in text
    assert "8 bytes" in text
    assert f'href="{link["path"]}files/a.txt"' in text
    assert "the plan" not in text
    assert (await shared_site.told(link))["uses"] == 0


async def test_programs_are_told_where_the_content_is(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    told = (await shared_site.by(link)).json
    assert (told["kind"], told["name"], told["size"]) == ("file", "a.txt", 8)
    assert (await shared_site.ask(None, "GET", told["path"])).body == b"the plan"
    leads = await shared_site.ask(None, "GET", link["path"].removesuffix("/"))
    assert (leads.status, leads.headers["Location"]) == (307, link["path"])


async def test_head_ranges_and_conditions_are_those_of_any_file(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    there = await shared_site.ask("admin", "HEAD", f"/files{FILE}")
    head = await shared_site.by(link, "HEAD", "files/a.txt")
    for field in ("ETag", "Last-Modified", "Content-Length", "Content-Type", "Accept-Ranges"):
        assert head.headers[field] == there.headers[field]
    part = await shared_site.by(link, rest="files/a.txt", Range="bytes=4-")
    assert (part.status, part.body) == (206, b"plan")
    parts = await shared_site.by(link, rest="files/a.txt", Range="bytes=0-1,4-5")
    assert parts.status == 206
    assert b"th\r\n" in parts.body
    unchanged = await shared_site.by(link, rest="files/a.txt", If_None_Match=head.headers["ETag"])
    assert unchanged.status == 304
    failed = await shared_site.by(link, rest="files/a.txt", If_Match='"other"')
    assert failed.status == 412
    assert (await shared_site.by(link, rest="files/a.txt", Range="bytes=9-")).status == 416


async def test_replaced_content_is_gone_until_the_owner_says_follow(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    await shared_site.put("secret/plan/a.txt", b"quite other")
    for method, rest in (("GET", ""), ("GET", "files/a.txt"), ("HEAD", "files/a.txt")):
        answer = await shared_site.by(link, method, rest)
        assert answer.status == 410
        assert b"quite" not in answer.body
    assert (await shared_site.by(link)).kind == "link-content-replaced"
    # Nor does a condition tell what is there now.
    assert (await shared_site.by(link, rest="files/a.txt", If_None_Match="*")).status == 410
    assert (await shared_site.run("link set", id=link["id"], follows=True))["follows"]
    assert (await shared_site.by(link, rest="files/a.txt")).body == b"quite other"
    await shared_site.run("link set", id=link["id"], follows=False)
    assert (await shared_site.by(link, rest="files/a.txt")).body == b"quite other"
    await shared_site.put("secret/plan/a.txt", b"third")
    assert (await shared_site.by(link, rest="files/a.txt")).status == 410


@pytest.mark.parametrize("way", ["delete", "move"])
async def test_a_file_that_is_gone_is_told_as_gone(shared_site: Shared, way: str) -> None:
    link, following = await shared_site.link(FILE), await shared_site.link(FILE, follows=True)
    if way == "delete":
        await shared_site.ask("admin", "DELETE", f"/files{FILE}")
    else:
        await shared_site.ask("admin", "MOVE", f"/files{FILE}", Destination="/files/secret/new")
    assert (await shared_site.by(link, rest="files/a.txt")).kind == "link-content-replaced"
    assert (await shared_site.by(link)).status == 410
    assert (await shared_site.by(following, rest="files/a.txt")).kind == "not-found"


async def test_the_same_content_put_again_is_what_the_link_is_of(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    await shared_site.ask("admin", "DELETE", f"/files{FILE}")
    await shared_site.put("secret/plan/a.txt", b"the plan")
    assert (await shared_site.by(link, rest="files/a.txt")).body == b"the plan"


async def test_a_large_file_is_sent_whole_and_in_parts(shared_site: Shared) -> None:
    content = bytes(range(256)) * 8192
    await shared_site.put("secret/plan/large", BytesIO(content))
    link = await shared_site.link("/secret/plan/large")
    assert (await shared_site.by(link, rest="files/large")).body == content
    part = await shared_site.by(link, rest="files/large", Range="bytes=1000000-1000009")
    assert part.body == content[1000000:1000010]


async def test_no_page_is_found_or_followed_by_its_address(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    answers = [
        await shared_site.by(link),
        await shared_site.by(link, **BROWSER),
        await shared_site.by(link, rest="files/a.txt"),
        await shared_site.by({"path": f"/s/{'A' * 22}/"}),
    ]
    for answer in answers:
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] in ("private, no-cache", "no-store")
        assert "Set-Cookie" not in answer.headers


async def test_who_has_signed_in_is_no_other_visitor(shared_site: Shared) -> None:
    link = await shared_site.link(FILE)
    assert await shared_site.by(link) == await shared_site.ask("admin", "GET", link["path"])
    page = await shared_site.ask("admin", "GET", link["path"], **BROWSER)
    assert b"admin" not in page.body
