"""What others have had to learn about links: one test for each rule, named after its case."""

from __future__ import annotations

import asyncio
import json
import logging
from io import BytesIO

import pytest

from chunkstore.core.errors import VerbLacking
from chunkstore.http.runtime.targets import mask_links
from tests.http import raw
from tests.http.links.conftest import OTHER, PASSWORD, TUS, Shared
from tests.http.links.test_links_that_take_files import append, begin, visit
from tests.http.links.test_routes import LINK_ROUTES
from tests.http.steps import BROWSER

FOLDER = "/secret/plan/"
INBOX = "/secret/inbox/"
# Other spellings of what lies beside `secret/plan/` and above it.
OUT = [
    "../planned", "..%2fplanned", "..%2Fplanned", "%2e%2e/planned", "%2e%2e%2fplanned",
    "sub/../../planned", "./../planned", "..\\planned", "..%5cplanned", "%252e%252e%252fplanned",
    "/planned", "//secret/planned", "%2fsecret/planned", "sub%2f..%2f..%2fplanned", "..;/planned",
    ".%00./planned", "%c0%ae%c0%ae/planned", "..%ef%bc%8fplanned", "ned",
]  # fmt: skip


async def test_dufs_691_no_octets_of_a_visitor_make_a_failure(shared_site: Shared) -> None:
    """aiohttp passes them on as lone surrogates, which have no UTF-8."""
    link = await shared_site.link(FOLDER + "a.txt", uses=1)
    inbox = await shared_site.link(INBOX, drop=True)
    for octets in (b"\x80", b"\xff\xfe", b"caf\xe9"):
        line = b"User-Agent: " + octets
        for path, expected in (("", 200), ("files/a.txt", 200 if octets == b"\x80" else 410)):
            get = raw.request("GET", link["path"] + path, line)
            assert (await raw.ask(shared_site.client, get)).status == expected
        put = raw.request("PUT", f"{inbox['path']}files/x", "Content-Length: 0", line)
        assert (await raw.ask(shared_site.client, put)).status == 201


async def test_filebrowser_cve_2026_54097_a_link_of_a_folder_is_none_of_a_longer_name(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(FOLDER)
    listed = (await shared_site.by(link, rest="files/?delimiter=")).json
    assert "planned" not in json.dumps(listed)
    for rest in ("files/ned", "files/../planned", "files/?prefix=ned&delimiter="):
        answer = await shared_site.by(link, rest=rest)
        assert b"not shared" not in answer.body
        assert answer.status in (400, 404) or answer.json["files"] == []


@pytest.mark.parametrize("rest", OUT)
async def test_filebrowser_cve_2026_28492_a_link_of_a_folder_reaches_no_parent(
    shared_site: Shared, rest: str
) -> None:
    link, drop = await shared_site.link(FOLDER), await shared_site.link(INBOX, drop=True)
    for method in ("GET", "HEAD"):
        for target in (f"files/{rest}", f"files/sub/{rest}"):
            answer = await shared_site.by(link, method, target)
            assert answer.status in (400, 404), target
            assert b"not shared" not in answer.body
    before = await shared_site.names("secret/plan/")
    mine = await visit(shared_site, drop)
    answer = await shared_site.by(mine, "PUT", f"files/{rest}", b"x")
    if answer.status == 201:
        own = [name for name in await shared_site.names() if name != "old"]
        assert len(own) == 1
        assert "/" in own[0]
    else:
        assert answer.status in (400, 404)
    assert await shared_site.names("secret/plan/") == before


async def test_filebrowser_cve_2026_28492_by_tus_and_forms_neither(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    for name in ("../x", "/x", "a/../../x"):
        assert (await begin(shared_site, mine, name, 1)).status == 400
        head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        form = f"--b\r\n{head}\r\n\r\nx\r\n--b--\r\n".encode()
        answer = await shared_site.by(
            mine, "POST", "files/", form, Content_Type="multipart/form-data; boundary=b"
        )
        assert answer.status == 400
    assert await shared_site.names() == ["old"]


async def test_copyparty_cve_2025_58753_a_link_of_a_file_reaches_no_sibling(
    shared_site: Shared,
) -> None:
    link = await shared_site.link("/secret/plan/a.txt")
    await shared_site.put("secret/plan/a.txt2", b"not shared")
    await shared_site.put("secret/plan/a", b"not shared")
    for rest in (
        "files/a.txt2", "files/a", "files/sub/b.txt", "files/", "files/sub/", "files/a.txt/",
        "files/../planned", "files/?delimiter=",
    ):  # fmt: skip
        answer = await shared_site.by(link, rest=rest)
        assert answer.status in (400, 403, 404), rest
        assert b"not shared" not in answer.body
    assert (await shared_site.by(link, rest="files/a.txt")).status == 200


async def test_filebrowser_cve_2026_54091_the_creator_s_own_limits_hold_within_a_link(
    shared_site: Shared,
) -> None:
    """On absolute names: also where sharing alone was withheld, and on rules made later."""
    await shared_site.put("secret/plan/pay/x", b"hidden")
    await shared_site.put("secret/plan/own/x", b"kept")
    link = await shared_site.link(FOLDER)
    assert (await shared_site.by(link, rest="files/pay/x")).status == 200
    await shared_site.allow("anna", "secret/plan/pay/", "-")
    await shared_site.allow("anna", "secret/plan/own/", "list,read")
    for folder in ("pay", "own"):
        assert (await shared_site.by(link, rest=f"files/{folder}/x")).status == 404
        assert (await shared_site.by(link, rest=f"files/{folder}/")).status == 404
    flat = (await shared_site.by(link, rest="files/?delimiter=")).json
    assert [file["name"] for file in flat["files"]] == ["a.txt", "sub/b.txt"]
    assert (await shared_site.by(link, rest="files/")).json["folders"] == ["sub/"]


async def test_filebrowser_cve_2026_35604_a_link_ends_with_the_right_to_share_or_read(
    shared_site: Shared,
) -> None:
    link, drop = await shared_site.link(FOLDER), await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, drop)
    for verbs, reads, puts in (
        ("list,read,create", 404, 404), ("list,read,share", 200, 404),
        ("list,create,share", 404, 201), ("-", 404, 404), (None, 404, 404), ("editor", 200, 201),
    ):  # fmt: skip
        await shared_site.allow("anna", "secret/", verbs)
        assert (await shared_site.by(link, rest="files/a.txt")).status == reads, verbs
        assert (await shared_site.by(mine, "PUT", "files/x", b"x")).status == puts, verbs
        # The list is the creator's too.
        shared_site.clock.advance(60)


async def test_filebrowser_cve_2026_54096_there_is_no_link_of_what_does_not_exist(
    shared_site: Shared,
) -> None:
    """And none where its creator may not share: sharing is withheld by not giving that verb."""
    await shared_site.allow("anna", "secret/plan/", "list,read,create,write,delete")
    with pytest.raises(VerbLacking, match="share"):
        await shared_site.link(FOLDER)


async def test_filebrowser_cve_2026_62684_what_is_told_of_links_lets_nobody_in(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(FOLDER, password=PASSWORD)
    token = link.pop("token")
    link.pop("path")
    record = (await shared_site.store.records.list("link"))[0]
    assert token not in record.value + record.key
    value = json.loads(record.value)
    told = json.dumps([link, await shared_site.run("link ls"), await shared_site.run(
        "link set", id=link["id"], expires_seconds=60)])  # fmt: skip
    for secret in (token, record.key, value["secret"], value["password"], PASSWORD):
        assert secret not in told
    assert value["secret"] not in repr(await shared_site.people.links.list())


async def test_nc_sa_2019_002_receivers_extend_nothing(shared_site: Shared) -> None:
    """No route changes a link: what there is reads, puts files, or asks for the password."""
    assert {(method, path.removeprefix("/s/{link}")) for method, path in LINK_ROUTES
            if method not in ("GET", "HEAD")} == {
        ("POST", "/visits"), ("PUT", "{visit}/files/{name}"), ("POST", "{visit}/files/{name}"),
        ("POST", "{visit}/files/{folder}"), ("POST", "{visit}/uploads"),
        ("PATCH", "{visit}/uploads/{upload}"), ("DELETE", "{visit}/uploads/{upload}"),
        ("POST", "{visit}/uploads/{upload}"),
    }  # fmt: skip
    link = await shared_site.link(FOLDER)
    assert (await shared_site.by(link, "POST", "visits", {"name": "x"})).status == 400


async def test_copyparty_960_a_link_serves_no_other_file_of_that_name(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/plan/a.txt")
    await shared_site.ask("admin", "DELETE", "/files/secret/plan/a.txt")
    await shared_site.put("secret/plan/a.txt", b"of somebody else")
    assert (await shared_site.by(link, rest="files/a.txt")).status == 410


async def test_copyparty_1647_an_id_used_again_revives_nothing(
    shared_site: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkstore.service.access.link_administration.new_id", lambda: "again")
    link = await shared_site.link(INBOX, drop=True, files=2)
    mine = await visit(shared_site, link)
    begun = await begin(shared_site, mine, "x", 3)
    await shared_site.by(mine, "PUT", "files/x", b"x")
    usage = await shared_site.store.records.find("link-use", "again")
    assert usage is not None
    await shared_site.run("link revoke", id="again")
    assert await shared_site.store.records.find("link-use", "again") is None
    link = await shared_site.link(INBOX, drop=True, files=2)
    told = await shared_site.told(link)
    assert (told["uses"], told["files"]) == (0, 0)
    # Nor are visits of the old one, and their uploads, those of the new one.
    text = mine["path"].rpartition("/v/")[2]
    upload = begun.headers["Location"].rpartition("/")[2]
    answer = await shared_site.by(link, "HEAD", f"v/{text}uploads/{upload}", **TUS)
    assert answer.status == 404


async def test_filebrowser_cve_2026_29188_an_upload_is_judged_at_each_request_and_at_its_end(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    url = (await begin(shared_site, mine, "x", 6)).headers["Location"]
    assert (await append(shared_site, url, b"abc")).status == 204
    received = asyncio.Event()

    async def revoked_meanwhile() -> object:
        yield b"d"
        await shared_site.run("link revoke", id=link["id"])
        received.set()
        yield b"ef"

    last = await append(shared_site, url, revoked_meanwhile(), 3)  # type: ignore[arg-type]
    assert received.is_set()
    assert last.status == 404
    assert await shared_site.names() == ["old"]
    assert (await append(shared_site, url, b"", 6)).status == 404
    assert (await shared_site.ask(None, "HEAD", url, **TUS)).status == 404


async def test_a_put_whose_link_is_revoked_meanwhile_puts_nothing(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)

    async def revoked_meanwhile() -> object:
        yield b"d"
        await shared_site.run("link revoke", id=link["id"])
        yield b"ef"

    assert (await shared_site.by(link, "PUT", "files/x", revoked_meanwhile())).status == 404
    assert await shared_site.names() == ["old"]


async def test_a_download_whose_link_is_revoked_meanwhile_is_broken_off(
    shared_site: Shared,
) -> None:
    content = bytes(range(256)) * 256 * 1024
    await shared_site.put("secret/plan/large", BytesIO(content))
    link = await shared_site.link("/secret/plan/large")
    response = await shared_site.client.get(f"{link['path']}files/large")
    assert response.status == 200
    got = await response.content.readexactly(1000)
    await shared_site.run("link revoke", id=link["id"])
    with pytest.raises(Exception, match=r"payload|closed|disconnected"):
        got += await response.content.read()
    assert len(got) < len(content)


async def test_filebrowser_cve_2026_32759_absurd_lengths_are_refused(shared_site: Shared) -> None:
    link = await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, link)
    for length in (2**63, 10**40):
        answer = await shared_site.by(
            mine, "POST", "uploads", **TUS, Upload_Length=str(length),
            Upload_Metadata="filename eA==",
        )  # fmt: skip
        assert answer.status in (400, 413)


async def test_quantum_ghsa_mmpx_jh39_wrv6_content_is_inert(shared_site: Shared) -> None:
    await shared_site.put("secret/plan/x.svg", b"<svg onload=alert(1)>")
    link = await shared_site.link(FOLDER)
    answer = await shared_site.by(link, rest="files/x.svg")
    assert (
        "sandbox" in answer.headers["Content-Security-Policy"]
        if ("Content-Security-Policy" in answer.headers)
        else True
    )
    raw = await shared_site.client.get(f"{link['path']}files/x.svg")
    assert raw.headers["Content-Security-Policy"].startswith("sandbox")


async def test_gogs_cve_2026_26196_nothing_logged_lets_anybody_in(
    shared_site: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    link = await shared_site.link(INBOX, drop=True, password=PASSWORD)
    with caplog.at_level(logging.DEBUG):
        mine = await shared_site.by(link, "POST", "visits", {"name": "b"}, password=PASSWORD)
        place = {"path": mine.headers["Location"]}
        await shared_site.by(place, "PUT", "files/x", b"x", password=PASSWORD)
        await shared_site.by(link, rest="files/x?y=z")
        await shared_site.by(link, password=OTHER)
        token = link["token"]
        await shared_site.ask(None, "GET", f"/s/%{ord(token[0]):02X}{token[1:]}/")
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert link["token"] not in text
    assert link["token"][1:] not in text
    assert PASSWORD not in text
    assert place["path"].rpartition("~")[2] not in text


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        (f"/s/{'a' * 22}/", "/s/*/"),
        (f"/s/{'a' * 22}", "/s/*"),
        (f"/base/s/{'a' * 22}/v/abc~def/files/x?y", "/base/s/*/v/*/files/x?y"),
        (f"/s/%61{'a' * 21}/x", "/s/*/x"),
        (f"/%73/{'a' * 22}/x", "/%73/*/x"),
        (f"/%2Fs%2f{'a' * 22}/x", "/%2Fs%2f*/x"),
        (f"/s/{'a' * 21}/x", f"/s/{'a' * 21}/x"),
        ("/files/a?b=c", "/files/a?b=c"),
    ],
)
def test_tokens_of_links_are_masked_however_they_are_spelled(target: str, masked: str) -> None:
    assert mask_links(target) == masked


async def test_problems_name_nothing_above_the_link(shared_site: Shared) -> None:
    """Whatever fails, in JSON and on pages: no folder above, no sibling, no account."""
    link, drop = await shared_site.link(FOLDER), await shared_site.link(INBOX, drop=True)
    mine = await visit(shared_site, drop)
    await shared_site.by(mine, "PUT", "files/a", b"x")
    for headers in ({}, BROWSER):
        for place, method, rest in (
            (link, "GET", "files/nope"), (link, "GET", "files/nope/"), (link, "PUT", "files/a.txt"),
            (link, "PUT", "files/a.txt/x"), (link, "GET", "files/a.txt/x"),
            (link, "GET", f"files/{'x' * 1020}"), (link, "GET", f"files/{'x' * 2000}"),
            (mine, "PUT", f"files/{'x' * 1020}"), (mine, "PUT", "files/a/b"),
            (mine, "GET", "files/a"),
            (mine, "PUT", "files/"), (mine, "DELETE", "uploads/x"), (drop, "GET", "files/"),
        ):  # fmt: skip
            answer = await shared_site.by(place, method, rest, **headers)
            text = answer.body + repr(answer.headers).encode()
            for name in (b"secret", b"inbox", b"anna", b"planned"):
                assert name not in text, (method, rest, answer)


async def test_a_removed_account_leaves_no_links(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    await shared_site.by(link, rest="files/a.txt")
    await shared_site.run("user remove", name="anna", open=False)
    assert (await shared_site.by(link)).status == 404
    assert await shared_site.store.records.list("link") == []
    assert await shared_site.store.records.list("link-use") == []
    await shared_site.add("anna")
    await shared_site.allow("anna", "secret/", "editor")
    assert (await shared_site.by(link)).status == 404
