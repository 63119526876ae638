"""What may be seen and changed in a drive of WebDAV: what may be elsewhere, and no more."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.names import FolderName
from chunkstore.http import create_app
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import Answer, Site, basic, furnish
from tests.http.conftest import ServedAsInProduction

FILES = ["a", "c/d/x", "c/e", "c/h/secret", "hr/pay", "z"]
ASKED = '<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>'
UPDATE = (
    '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x>1</x></D:prop></D:set></D:propertyupdate>'
)


@pytest.fixture
async def filled(site: Site) -> Site:
    for name in FILES:
        assert await site.status("admin", "PUT", f"/files/{name}", data=name.encode()) == 201
    for who, rules in {
        "reader": {"": "reader", "hr/": "-", "c/h/": "-"},
        "deep": {"c/d/": "reader"},
        "lister": {"": "list"},
        "maker": {"": "list,create"},
        "dropper": {"c/": "create"},
        "editor": {"": "reader", "hr/": "-", "c/": "list,read,create,write"},
    }.items():
        await site.add(who)
        for folder, verbs in rules.items():
            await site.allow(who, folder, verbs)
    return site


def hrefs(answer: Answer) -> list[str]:
    assert answer.status == 207, answer.body
    return [each.findtext("{DAV:}href") or "" for each in fromstring(answer.body)]


async def seen(site: Site, who: str, path: str, depth: str) -> list[str]:
    return hrefs(await site.ask(who, "PROPFIND", f"/dav/{path}", Depth=depth))


async def test_propfind_shows_what_may_be_seen(filled: Site) -> None:
    """dufs #263 showed the siblings of what was granted, by WebDAV too."""
    assert await seen(filled, "reader", "", "1") == ["/dav/", "/dav/a", "/dav/c/", "/dav/z"]
    assert await seen(filled, "reader", "", "infinity") == [
        "/dav/", "/dav/a", "/dav/c/", "/dav/c/d/", "/dav/c/d/x", "/dav/c/e", "/dav/z",
    ]  # fmt: skip
    assert await seen(filled, "deep", "", "infinity") == [
        "/dav/", "/dav/c/", "/dav/c/d/", "/dav/c/d/x",
    ]  # fmt: skip
    assert await seen(filled, "deep", "c", "1") == ["/dav/c/", "/dav/c/d/"]


@pytest.mark.parametrize("path", ["hr", "hr/", "hr/pay", "c/h/secret", "none", "hr/none"])
async def test_what_is_hidden_is_not_there(filled: Site, path: str) -> None:
    for method in ("PROPFIND", "GET", "HEAD", "DELETE"):
        status = await filled.status("reader", method, f"/dav/{path}", Depth="infinity")
        # What is there and what is not are told in one way.
        other = "hr/zzz" if path.startswith("hr") else path
        assert status == await filled.status(
            "reader", method, f"/dav/{other}", Depth="infinity"
        ) or path in ("hr", "hr/", "c/h/secret")
        assert status in (403, 404)
    assert await filled.status(None, "PROPFIND", f"/dav/{path}") == 401


async def test_who_may_only_list_learns_no_digest(filled: Site) -> None:
    for depth in ("0", "1"):
        answer = await filled.ask("lister", "PROPFIND", "/dav/a", data=ASKED, Depth=depth)
        assert b"404 Not Found" in answer.body
        assert b"200 OK" not in answer.body
    answer = await filled.ask("lister", "PROPFIND", "/dav/", data=ASKED, Depth="infinity")
    assert b'<D:getetag>"' not in answer.body


async def test_who_may_not_read_learns_no_properties(filled: Site) -> None:
    """They are what others have written, as the content is."""
    update = UPDATE.replace("1</x>", "note</x>")
    for name in ("", "a", "c", "c/d/x"):
        answer = await filled.ask("admin", "PROPPATCH", f"/dav/{name}", data=update)
        assert b"200 OK" in answer.body
    paths = [("lister", "", "infinity"), ("lister", "a", "0"), ("lister", "c", "0")]
    for asked in (None, ASKED.replace("D:getetag", "x")):
        for who, path, depth in [*paths, ("deep", "", "1"), ("deep", "c", "0")]:
            answer = await filled.ask(who, "PROPFIND", f"/dav/{path}", data=asked, Depth=depth)
            assert b">note</" not in answer.body, (who, path)
        answer = await filled.ask("reader", "PROPFIND", "/dav/", data=asked, Depth="infinity")
        assert answer.body.count(b">note</") == 4
    answer = await filled.ask("deep", "PROPFIND", "/dav/", Depth="infinity")
    assert answer.body.count(b">note</") == 1


@pytest.mark.parametrize(
    ("who", "method", "path", "destination", "status"),
    [
        ("reader", "PUT", "a", None, 403),
        ("reader", "PROPPATCH", "a", None, 403),
        ("reader", "MKCOL", "new", None, 403),
        ("reader", "COPY", "a", "b", 403),
        ("reader", "MOVE", "a", "b", 403),
        ("maker", "PUT", "new", None, 201),
        ("maker", "PUT", "a", None, 403),
        ("maker", "PROPPATCH", "a", None, 403),
        ("admin", "PROPPATCH", "", None, 207),
        (None, "PROPPATCH", "", None, 401),
        ("reader", "PROPPATCH", "", None, 403),
        ("deep", "PROPPATCH", "", None, 403),
        ("editor", "PROPPATCH", "", None, 403),
        ("maker", "MKCOL", "new", None, 201),
        ("editor", "COPY", "a", "c/a", 201),
        ("editor", "COPY", "a", "c/e", 204),
        ("editor", "MOVE", "a", "c/a", 403),
        ("editor", "PROPPATCH", "c/e", None, 207),
        ("editor", "DELETE", "c/e", None, 403),
        # A folder that a file takes the place of goes, so it must be one that may be deleted.
        ("editor", "COPY", "a", "c/d", 403),
        ("editor", "COPY", "c/d", "c/e", 403),
        ("editor", "COPY", "hr/pay", "c/x", 404),
    ],
)
async def test_changes_need_what_they_need_elsewhere(
    filled: Site, who: str | None, method: str, path: str, destination: str | None, status: int
) -> None:
    headers = {} if destination is None else {"Destination": f"/dav/{destination}"}
    body = {"PUT": b"x", "PROPPATCH": UPDATE.encode()}.get(method)
    found = await filled.status(who, method, f"/dav/{path}", data=body, **headers)
    assert found == status


async def test_who_drops_files_learns_nothing(filled: Site) -> None:
    """Not that there is a folder, nor that there is none."""
    answers = [
        await filled.ask("dropper", "PUT", f"/dav/c/{name}", data=b"x")
        for name in ("e", "none", "d/x", "none/x")
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(201, b"")}
    assert all("ETag" not in answer.headers for answer in answers)
    assert await filled.status("dropper", "PROPFIND", "/dav/c/", Depth="1") == 403
    assert await filled.status("dropper", "PROPPATCH", "/dav/c/e", data=UPDATE) == 403


async def test_a_token_is_a_password(filled: Site) -> None:
    headers = basic("whoever", filled.tokens["reader"])
    async with filled.client.request("PROPFIND", "/dav/a", headers=headers) as response:
        assert response.status == 207
    answer = await filled.ask(None, "PROPFIND", "/dav/")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    # It is told to nobody what programs ask before they sign in.
    assert (await filled.ask(None, "OPTIONS", "/dav/")).headers["DAV"]


QUOTA_PROPERTIES = (
    '<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/>'
    "{}</D:prop></D:propfind>"
)


async def test_quotas_are_told_to_who_may_know_them(filled: Site) -> None:
    await filled.store.quotas.set(FolderName("c/"), 1000, None)
    await filled.store.quotas.set(FolderName(""), 100, None)
    used = sum(len(name) for name in FILES if name.startswith("c/"))
    asked = QUOTA_PROPERTIES.format("")
    answer = await filled.ask("admin", "PROPFIND", "/dav/c/", data=asked, Depth="0")
    assert f"<D:quota-used-bytes>{used}<".encode() in answer.body
    everything = sum(map(len, FILES))
    assert f"<D:quota-available-bytes>{100 - everything}<".encode() in answer.body
    # Something in it is hidden from the reader.
    answer = await filled.ask("reader", "PROPFIND", "/dav/c/", data=asked, Depth="0")
    assert b"200 OK" not in answer.body
    # macOS takes 90 seconds to mount a drive that tells it of its quota.
    of_macos = QUOTA_PROPERTIES.format("<D:quotaused/><D:quota/>")
    answer = await filled.ask("admin", "PROPFIND", "/dav/c/", data=of_macos, Depth="0")
    assert b"200 OK" not in answer.body
    # Nor is it in what nobody has asked for by name (RFC 4331 §2).
    answer = await filled.ask("admin", "PROPFIND", "/dav/c/", Depth="0")
    assert b"quota" not in answer.body
    # But it is among the names of what can be asked for.
    names = '<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'
    for who, is_told in (("admin", True), ("reader", False)):
        answer = await filled.ask(who, "PROPFIND", "/dav/c/", data=names, Depth="0")
        assert (b"<D:quota-used-bytes/>" in answer.body) is is_told
        assert (b"<D:quota-available-bytes/>" in answer.body) is is_told
    # One that is exceeded leaves nothing, and not less.
    await filled.store.quotas.set(FolderName(""), 1, None)
    answer = await filled.ask("admin", "PROPFIND", "/dav/c/", data=asked, Depth="0")
    assert b"<D:quota-available-bytes>0<" in answer.body


async def test_what_is_over_a_quota_is_told_in_xml(filled: Site) -> None:
    await filled.store.quotas.set(FolderName("c/"), 20, None)
    answer = await filled.ask("admin", "PUT", "/dav/c/large", data=b"x" * 100)
    assert answer.status == 507
    assert b"<D:error" in answer.body
    assert b"<D:quota-not-exceeded/>" in answer.body


LOCK = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


async def taken(site: Site, who: str, path: str, **headers: str) -> str:
    answer = await site.ask(who, "LOCK", f"/dav/{path}", data=LOCK, **headers)
    assert answer.status in (200, 201), answer.body
    return answer.headers["Lock-Token"]


@pytest.mark.parametrize(
    ("who", "path", "depth", "status"),
    [
        ("reader", "a", "0", 403),
        ("deep", "z", "0", 404),
        ("dropper", "c/e", "0", 403),
        ("dropper", "c/new", "0", 403),
        ("maker", "new", "0", 201),
        # What is there others may be writing.
        ("maker", "a", "0", 403),
        ("maker", "c/", "0", 403),
        ("editor", "c/e", "0", 200),
        ("editor", "c/", "infinity", 200),
        # Others write there too.
        ("editor", "", "infinity", 403),
        (None, "a", "0", 401),
    ],
)
async def test_locks_need_a_right_to_write(
    filled: Site, who: str | None, path: str, depth: str, status: int
) -> None:
    answer = await filled.ask(who, "LOCK", f"/dav/{path}", data=LOCK, Depth=depth)
    assert answer.status == status
    if status in (403, 404):
        # Nothing is left of it, either.
        assert await filled.status("admin", "PUT", f"/dav/{path or 'a'}x", data=b"x") in (201, 204)
        assert await filled.store.locks.list() == []


async def test_a_token_is_of_use_to_who_took_the_lock_alone(filled: Site) -> None:
    """§6.4: everybody can find it out."""
    token = await taken(filled, "editor", "c/e")
    tagged = {"If": f"({token})"}
    assert await filled.status("admin", "PUT", "/dav/c/e", data=b"x", **tagged) == 423
    assert await filled.status("editor", "PUT", "/dav/c/e", data=b"x", **tagged) == 204
    assert await filled.status("admin", "LOCK", "/dav/c/e", **tagged) == 412
    await filled.add("other")
    await filled.allow("other", "c/", "editor")
    assert await filled.status("other", "UNLOCK", "/dav/c/e", Lock_Token=token) == 403
    assert await filled.status("admin", "UNLOCK", "/dav/c/e", Lock_Token=token) == 204


async def test_conditions_tell_nothing_of_what_is_hidden(filled: Site) -> None:
    """If is no way to ask for a digest, or for a lock, of what one may not see."""
    etag = (await filled.ask("admin", "HEAD", "/dav/hr/pay")).headers["ETag"]
    token = await taken(filled, "admin", "hr/pay")
    for condition in (f"[{etag}]", token):
        guess = f"</dav/hr/pay> ({condition})"
        assert await filled.status("reader", "GET", "/dav/a", If=guess) == 412
        assert await filled.status("reader", "GET", "/dav/a", If=guess.replace("(", "(Not ")) == 200
        assert await filled.status("admin", "GET", "/dav/a", If=guess) == 200


async def test_a_condition_tells_no_etag_to_who_may_not_read(filled: Site) -> None:
    for who, is_told in (("admin", True), ("dropper", False)):
        answer = await filled.ask(who, "PUT", "/dav/c/e", data=b"x", If_None_Match="*")
        assert (answer.headers.get("ETag") is not None) is is_told
        assert answer.status == 412 or not is_told


async def test_who_may_not_read_learns_no_checksum(store: Store) -> None:
    """Not even where the same content is at a name that may be read."""
    people = People.of(store)
    app = create_app(store, limits=FRESH, people=people, checksums=["md5"])
    asked = ASKED.replace("D:getetag", 'o:checksums xmlns:o="http://owncloud.org/ns"')
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Site(client, store, people)
        await furnish(site)
        await site.add("half")
        await site.allow("half", "", "list")
        await site.allow("half", "open/", "reader")
        for name in ("open/a", "b"):
            assert await site.status("admin", "PUT", f"/files/{name}", data=b"same") == 201
        answer = await site.ask("half", "PROPFIND", "/dav/", data=asked, Depth="infinity")
        told = {
            each.findtext("{DAV:}href"): each.find(".//{http://owncloud.org/ns}checksum")
            for each in fromstring(answer.body)
        }
        assert told["/dav/open/a"] is not None
        assert told["/dav/b"] is None
        answer = await site.ask("half", "PROPFIND", "/dav/b", data=asked, Depth="0")
        assert b"MD5" not in answer.body
