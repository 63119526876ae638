"""Drop folders: each visit has a folder of its own, and sees and ends only its own uploads."""

from __future__ import annotations

import base64
import json
import re

import aiohttp
import pytest
from aiohttp import web

from chunkstore.http.message.request import UPLOADS
from tests.http.access.people import Answer
from tests.http.links.conftest import TUS, Shared
from tests.http.steps import BROWSER

INBOX = "/secret/inbox/"


def metadata(name: str, folder: str = "") -> str:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    return f"filename {encoded(name)},folder {encoded(folder)}"


async def visit(site: Shared, link: dict[str, str], name: str = "Berta") -> dict[str, str]:
    """Return a visit, in the place of a link."""
    begun = await site.by(link, "POST", "visits", {"name": name})
    assert begun.status == 303, begun
    return {"path": begun.headers["Location"]}


async def begin(site: Shared, visit: dict[str, str], name: str, size: int) -> Answer:
    return await site.by(
        visit, "POST", "uploads", **TUS, Upload_Length=str(size), Upload_Metadata=metadata(name)
    )


async def append(site: Shared, url: str, content: bytes, offset: int = 0) -> Answer:
    return await site.ask(
        None, "PATCH", url, content, **TUS, Upload_Offset=str(offset),
        Content_Type="application/offset+octet-stream",
    )  # fmt: skip


async def test_what_a_visitor_sends_is_in_a_folder_that_tells_who_and_when(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(INBOX, drop=True, label="Send it here")
    page = await shared_site.by(link, **BROWSER)
    assert b"Send it here" in page.body
    assert b"inbox" not in page.body
    mine = await visit(shared_site, link, "  Berta\tMüller ")
    sent = await shared_site.by(mine, "PUT", "files/a/b.txt", b"mine")
    assert (sent.status, sent.json) == (201, {"name": "a/b.txt"})
    assert "ETag" not in sent.headers
    [name, _] = sorted(await shared_site.names())
    day = f"{shared_site.clock.now():%Y-%m-%d}"
    assert re.fullmatch(rf"{day} Berta Müller \w{{4}}/a/b\.txt", name), name
    assert (await shared_site.told(link))["files"] == 1


async def test_the_audit_log_tells_who_sent_what(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    assert (await shared_site.by(mine, "PUT", "files/x", b"x")).status == 201
    audit = await shared_site.ask("admin", "GET", "/audit")
    assert audit.status == 200, audit
    entries = [json.loads(line) for line in audit.body.splitlines()]
    [told] = [entry for entry in entries if entry["via"] == f"link {link['id']}"]
    assert (told["actor"], told["action"], told["address"]) == ("", "create", "127.0.0.1")
    assert re.fullmatch(r"secret/inbox/\S+ Berta \w{4}/x", told["name"])
    assert link["token"].encode() not in audit.body


async def test_each_visit_has_a_folder_of_its_own(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    one, other = await visit(shared_site, link), await visit(shared_site, link)
    for place in (one, other, link, link):
        assert (await shared_site.by(place, "PUT", "files/x", b"x")).status == 201
    folders = {name.split("/")[0] for name in await shared_site.names() if "/" in name}
    assert len(folders) == 4


async def test_a_locked_folder_takes_nothing_and_is_not_told_of(shared_site: Shared) -> None:
    info = (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
        "<D:locktype><D:write/></D:locktype><D:owner>Zoe</D:owner></D:lockinfo>"
    )
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    await shared_site.put("secret/inbox/first")
    locked = await shared_site.ask("admin", "LOCK", "/dav/secret/inbox/", data=info)
    assert locked.status == 200, locked
    token = locked.headers["Lock-Token"]
    # Not with the token either, which is somebody else's.
    for headers in ({}, {"If": f"({token})"}, {"Lock_Token": token}):
        refused = await shared_site.by(mine, "PUT", "files/x", b"1", **headers)
        assert refused.status in (412, 423), refused
        assert b"inbox" not in refused.body
        assert b"secret" not in refused.body
        assert b"Zoe" not in refused.body
    assert (await shared_site.told(link))["files"] == 0
    assert await shared_site.names() == ["first", "old"]
    shows = await shared_site.link(INBOX)
    shown = await shared_site.by(shows, "GET", "files/", **BROWSER)
    assert shown.status == 200
    assert b"locked" not in shown.body
    form = {"unlock": "/", "token": token.strip("<>")}
    assert (await shared_site.by(mine, "POST", "files/", form)).status == 403
    ended = await shared_site.run("locks break", folder="/secret/inbox/")
    assert [one["account"] for one in ended] == ["admin"]
    assert (await shared_site.by(mine, "PUT", "files/x", b"1")).status == 201
    assert (await shared_site.told(link))["files"] == 1


async def test_a_taken_name_is_kept_beside(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    answers = [await shared_site.by(mine, "PUT", "files/x", content) for content in (b"1", b"2")]
    assert answers[0] == answers[1]
    assert len(await shared_site.names()) == 3


async def test_nothing_can_be_looked_at(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    await shared_site.by(mine, "PUT", "files/x", b"x")
    for place, rest in (
        (mine, "files/x"), (mine, "files/"), (link, "files/"), (link, "files/old"),
        (mine, "files/../old"), (mine, "files/..%2fold"), (link, "files/?delimiter="),
    ):  # fmt: skip
        for method in ("GET", "HEAD"):
            answer = await shared_site.by(place, method, rest)
            assert answer.status in (400, 403, 404), (rest, answer)
            assert b"not shared" not in answer.body


async def test_forms_are_taken_without_scripts(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    form = aiohttp.FormData()
    form.add_field("file", b"one", filename="one.txt")
    form.add_field("file", b"two", filename="two.txt")
    response = await shared_site.client.post(f"{mine['path']}files/", data=form, headers=BROWSER,
                                             allow_redirects=False)  # fmt: skip
    assert response.status == 303
    assert response.headers["Location"] == f"{mine['path']}?sent=2"
    assert b"2 files were sent" in (await shared_site.by(mine, rest="?sent=2", **BROWSER)).body
    assert len(await shared_site.names()) == 3
    deleting = await shared_site.by(mine, "POST", "files/", {"delete": "one.txt"})
    assert deleting.status == 403
    assert b"inbox" not in deleting.body
    assert len(await shared_site.names()) == 3


@pytest.mark.parametrize("protocol", ["tus", "draft"])
async def test_an_upload_goes_on_where_it_stopped(shared_site: Shared, protocol: str) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    if protocol == "tus":
        begun = await begin(shared_site, mine, "large.bin", 6)
        url = begun.headers["Location"]
        assert url.startswith(f"{mine['path']}uploads/")
        assert (await append(shared_site, url, b"abc")).status == 204
        head = await shared_site.ask(None, "HEAD", url, **TUS)
        assert head.headers["Upload-Offset"] == "3"
        done = await append(shared_site, url, b"def", 3)
    else:
        begun = await shared_site.by(
            mine, "PUT", "files/large.bin", b"abc", Upload_Complete="?0", Upload_Length="6",
            Upload_Draft_Interop_Version="8",
        )  # fmt: skip
        url = begun.headers["Location"]
        done = await shared_site.ask(
            None, "PATCH", url, b"def", Upload_Offset="3", Upload_Complete="?1",
            Content_Type="application/partial-upload", Upload_Draft_Interop_Version="8",
        )  # fmt: skip
    assert done.status in (201, 204), done
    assert not {"ETag", "Content-Location"} & set(done.headers)
    [name] = [one for one in await shared_site.names() if one.endswith("/large.bin")]
    read = await shared_site.ask("admin", "GET", f"/files/secret/inbox/{name.replace(' ', '%20')}")
    assert read.body == b"abcdef"
    told = await shared_site.told(link)
    assert (told["files"], told["bytes"]) == (1, 6)


async def test_an_upload_that_begins_without_a_visit_begins_one(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    begun = await begin(shared_site, link, "x", 1)
    url = begun.headers["Location"]
    assert re.fullmatch(rf"{link['path']}v/[\w~-]+/uploads/[\w-]+", url)
    assert (await append(shared_site, url, b"x")).status == 204
    assert len(await shared_site.names()) == 2


async def test_others_neither_see_nor_end_an_upload(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine, other = await visit(shared_site, link), await visit(shared_site, link)
    another = await shared_site.link(INBOX, drop=True)
    begun = await begin(shared_site, mine, "x", 3)
    upload = begun.headers["Location"].rpartition("/")[2]
    for place in (other, link, await visit(shared_site, another)):
        for method in ("HEAD", "DELETE"):
            answer = await shared_site.by(place, method, f"uploads/{upload}", **TUS)
            assert answer.status in (403, 404), (method, answer)
    assert (await shared_site.ask("anna", "HEAD", f"/uploads/{upload}", **TUS)).status == 404
    assert (await shared_site.ask(None, "HEAD", f"/uploads/{upload}", **TUS)).status == 401
    ended = await shared_site.by(mine, "DELETE", f"uploads/{upload}", **TUS)
    assert ended.status == 204


async def test_no_more_files_than_allowed(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True, files=2)
    mine = await visit(shared_site, link)
    begun = await begin(shared_site, mine, "1", 1)
    assert (await shared_site.by(mine, "PUT", "files/2", b"2")).status == 201
    # One is there, one has begun.
    for answer in (
        await shared_site.by(mine, "PUT", "files/3", b"3"), await begin(shared_site, mine, "3", 1),
        await shared_site.by(link, "PUT", "files/3", b"3"),
    ):  # fmt: skip
        assert (answer.status, answer.kind) == (507, "link-full")
    await shared_site.ask(None, "DELETE", begun.headers["Location"], **TUS)
    assert (await shared_site.by(mine, "PUT", "files/3", b"3")).status == 201
    assert (await shared_site.told(link))["files"] == 2


async def test_no_more_bytes_than_allowed(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True, bytes=10)
    mine = await visit(shared_site, link)
    assert (await begin(shared_site, mine, "x", 11)).status == 507
    begun = await begin(shared_site, mine, "x", 6)
    assert (await shared_site.by(mine, "PUT", "files/y", b"12345")).status == 413

    # Also where nobody tells how many come.
    async def pieces() -> object:
        yield b"123"
        yield b"45"

    assert (await shared_site.by(mine, "PUT", "files/y", pieces())).status == 413
    assert (await shared_site.by(mine, "PUT", "files/y", b"1234")).status == 201
    assert (await append(shared_site, begun.headers["Location"], b"123456")).status == 204
    assert (await shared_site.by(mine, "PUT", "files/z", b"1")).status == 413
    told = await shared_site.told(link)
    assert (told["files"], told["bytes"]) == (2, 10)
    assert (await shared_site.by(mine, "PUT", "files/empty", b"")).status == 201


async def test_what_was_not_put_counts_for_nothing(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True, files=1, bytes=10)
    mine = await visit(shared_site, link)
    wrong = await shared_site.by(mine, "PUT", "files/x", b"1", Content_Digest="sha-256=:AAAA:")
    assert wrong.status == 400
    wrong = await shared_site.by(mine, "PUT", "files/x%2F", b"1")
    assert wrong.status == 400
    assert (await shared_site.told(link))["files"] == 0
    assert (await shared_site.by(mine, "PUT", "files/x", b"1")).status == 201


async def test_unfinished_uploads_of_a_link_are_bounded(
    shared_site: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkstore.service.access.link_uses.MOST_UNFINISHED", 3)
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    begun = [await begin(shared_site, mine, "x", 3) for _ in range(3)]
    refused = await begin(shared_site, mine, "x", 3)
    assert (refused.status, refused.kind) == (507, "link-full")
    # One that is gone without a word makes room.
    upload = begun[0].headers["Location"].rpartition("/")[2]
    assert isinstance(shared_site.client.app, web.Application)
    await shared_site.client.app[UPLOADS].delete(upload)
    assert (await begin(shared_site, mine, "x", 3)).status == 201


@pytest.mark.parametrize("way", ["PUT", "tus"])
async def test_an_upload_that_ended_without_a_word_takes_no_room(
    shared_site: Shared, way: str
) -> None:
    link = await shared_site.link(INBOX, drop=True, files=1, bytes=3)
    mine = await visit(shared_site, link)
    begun = await begin(shared_site, mine, "x", 3)
    assert (await shared_site.by(mine, "PUT", "files/y", b"y")).status == 507
    assert isinstance(shared_site.client.app, web.Application)
    upload = begun.headers["Location"].rpartition("/")[2]
    await shared_site.client.app[UPLOADS].delete(upload)
    if way == "PUT":
        assert (await shared_site.by(mine, "PUT", "files/y", b"y")).status == 201
    else:
        assert (await begin(shared_site, mine, "y", 3)).status == 201
    assert (await shared_site.by(mine, "PUT", "files/z", b"z")).status == 507


async def test_parts_and_lengths_told_later_are_refused(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    part = await shared_site.by(
        mine, "POST", "uploads", **TUS, Upload_Length="3", Upload_Concat="partial"
    )
    later = await shared_site.by(
        mine, "POST", "uploads", **TUS, Upload_Defer_Length="1", Upload_Metadata=metadata("x")
    )
    assert part.status == later.status == 400


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 61, "\x00", "\u202e" * 80])
async def test_names_that_no_folder_can_have_are_refused(shared_site: Shared, name: str) -> None:
    link = await shared_site.link(INBOX, drop=True)
    answer = await shared_site.by(link, "POST", "visits", {"name": name})
    if answer.status == 303:
        # It stands beside the day, so it leads nowhere.
        assert name == ".."
        mine = {"path": answer.headers["Location"]}
        assert (await shared_site.by(mine, "PUT", "files/x", b"x")).status == 201
        assert any(re.match(r"\S+ \.\. \w{4}/x", one) for one in await shared_site.names())
    else:
        assert answer.status == 400


async def test_a_visit_that_nobody_began_is_none(shared_site: Shared) -> None:
    link, other = [await shared_site.link(INBOX, drop=True) for _ in range(2)]
    mine = await visit(shared_site, link)
    text = mine["path"].removeprefix(link["path"])
    forged = base64.urlsafe_b64encode(b"../plan").decode().rstrip("=")
    for place in (
        f"{other['path']}{text}", f"{link['path']}v/{forged}~{'A' * 22}/", f"{link['path']}v/x/",
        f"{link['path']}v/{forged}~/", f"{link['path']}v/~/",
    ):  # fmt: skip
        answer = await shared_site.by({"path": place}, "PUT", "files/x", b"x")
        assert answer.status == 404, place
    assert await shared_site.names() == ["old"]


async def test_the_browser_sends_forms_from_a_page_that_hides_its_address(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(INBOX, drop=True)
    begun = await shared_site.by(link, "POST", "visits", {"name": ""}, Origin="null")
    assert begun.status == 303
    elsewhere = await shared_site.by(
        link, "POST", "visits", {"name": ""}, Origin="http://evil.example"
    )
    assert elsewhere.status == 403
    assert (
        await shared_site.by(link, "POST", "visits", {}, Origin="null", Sec_Fetch_Site="cross-site")
    ).status == 403
