"""How long and how often links can be used, whoever asks, and on however many servers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient

from chunkstore.core.errors import (
    InvalidRequest,
    NoSuchAccount,
    NotFound,
    PasswordRefused,
    StoreAway,
    StoreFull,
    VerbLacking,
)
from chunkstore.http import create_app
from chunkstore.service.access.people import People
from tests.backends import FRESH
from tests.http.conftest import ServedAsInProduction
from tests.http.links.conftest import PASSWORD, TUS, Shared
from tests.http.steps import BROWSER, wait_until

FILE = "/secret/plan/a.txt"
CONTENT = "files/a.txt"


async def get(site: Shared, link: dict[str, Any], agent: str = "a", **headers: str) -> int:
    return (await site.by(link, rest=CONTENT, User_Agent=agent, **headers)).status


async def test_a_get_from_the_start_is_a_use(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, uses=2)
    for method, rest in (("GET", ""), ("HEAD", ""), ("HEAD", CONTENT)):
        assert (await shared_site.by(link, method, rest, User_Agent="preview")).status == 200
    etag = (await shared_site.by(link, "HEAD", CONTENT)).headers["ETag"]
    assert await get(shared_site, link, If_None_Match=etag) == 304
    assert await get(shared_site, link, If_Match='"other"') == 412
    assert await get(shared_site, link, Range="bytes=99-") == 416
    assert (await shared_site.told(link))["uses"] == 0
    assert await get(shared_site, link) == 200
    assert (await shared_site.told(link))["uses"] == 1
    # The same again, by the same address and program.
    assert await get(shared_site, link) == 200
    assert await get(shared_site, link, Range="bytes=3-") == 206
    assert (await shared_site.told(link))["uses"] == 1
    assert await get(shared_site, link, "b") == 200
    refused = await shared_site.by(link, rest=CONTENT, User_Agent="c")
    assert (refused.status, refused.kind) == (410, "link-used-up")
    assert await get(shared_site, link, "b") == 200
    assert (await shared_site.told(link))["uses"] == 2


async def test_a_full_disk_keeps_nobody_from_a_link_without_a_limit(
    shared_site: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [await shared_site.link(FILE), await shared_site.link(FILE, uses=2)]

    async def full(*_: object, **__: object) -> None:
        raise StoreFull

    monkeypatch.setattr(type(shared_site.store.records), "apply", full)
    assert [await get(shared_site, link) for link in links] == [200, 507]


async def test_after_an_hour_it_is_another_use(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, uses=1)
    assert await get(shared_site, link) == 200
    shared_site.clock.advance(timedelta(minutes=59))
    assert await get(shared_site, link) == 200
    shared_site.clock.advance(timedelta(minutes=2))
    assert await get(shared_site, link) == 410
    # What was broken off can be got to its end.
    assert await get(shared_site, link, Range="bytes=3-") == 206
    shared_site.clock.advance(timedelta(days=1))
    assert await get(shared_site, link, Range="bytes=3-") == 410


async def test_no_part_is_got_without_a_use(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, uses=1)
    assert await get(shared_site, link, "a", Range="bytes=1-") == 206
    assert await get(shared_site, link, "b", Range="bytes=1-") == 410
    assert await get(shared_site, link, "b", Range="bytes=-1") == 410
    assert await get(shared_site, link, "b", Range="bytes=1-2,4-5") == 410


async def test_a_cookie_of_the_page_is_known_from_anywhere(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, uses=1)
    page = await shared_site.by(link, **BROWSER)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("chunkstore-link=")
    assert f"Path={link['path']};" in cookie
    assert "HttpOnly; SameSite=Lax" in cookie
    pair = cookie.partition(";")[0]
    shared_site.client.session.cookie_jar.clear()
    assert await get(shared_site, link, "a", Cookie=pair) == 200
    assert await get(shared_site, link, "b", Cookie=pair) == 200
    forged = pair.replace("=", "=1", 1)
    assert await get(shared_site, link, "b", Cookie=forged) == 410
    other = await shared_site.link(FILE, uses=1)
    assert await get(shared_site, other, "c") == 200
    assert await get(shared_site, other, "d", Cookie=pair) == 410


async def test_two_at_once_over_the_last_use_are_one(shared_site: Shared) -> None:
    """On two servers, of which each knows nothing of what the other has just done."""
    people = People(shared_site.store.records, shared_site.clock, shared_site.store.names)
    app = create_app(shared_site.store, limits=FRESH, people=people)
    link = await shared_site.link(FILE, uses=7)
    async with TestClient(ServedAsInProduction(app)) as other:
        there = Shared(other, shared_site.store, people, clock=shared_site.clock)
        asked = [get(site, link, f"{number}") for number in range(10) for site in
                 (shared_site, there)]  # fmt: skip
        statuses = await asyncio.gather(*asked)
    people.close()
    # Who comes by both is the same.
    assert (await shared_site.told(link))["uses"] == 7
    assert statuses.count(200) <= 14
    assert {*statuses} == {200, 410}


async def test_no_more_visits_than_uses(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/inbox/", drop=True, uses=2)
    begun = [await shared_site.by(link, "POST", "visits", {"name": "b"}) for _ in range(3)]
    assert [one.status for one in begun] == [303, 303, 410]
    assert (await shared_site.by(link, "PUT", "files/x", b"x")).status == 410
    # A visit that has begun goes on.
    mine = {"path": begun[0].headers["Location"]}
    assert (await shared_site.by(mine, "PUT", "files/x", b"x")).status == 201


async def test_a_put_that_is_refused_uses_nothing_up(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/inbox/", drop=True, uses=1)
    wrong = base64.b64encode(sha256(b"another").digest()).decode()
    refused: list[tuple[int, dict[str, str]]] = [
        (400, {"Repr_Digest": f"sha-256=:{wrong}:"}),
        (403, {"Origin": "http://other.example"}),
        (412, {"If_Match": '"other"'}),
        (415, {"Content_Encoding": "gzip"}),
    ]
    for status, headers in refused:
        answer = await shared_site.by(link, "PUT", "files/x", b"x", **headers)
        assert answer.status == status, answer
        assert (await shared_site.told(link))["uses"] == 0, answer
    for rest in ("files/" + "x" * 5000, "files/a//b"):
        assert (await shared_site.by(link, "PUT", rest, b"x")).status in (400, 404)
    assert (await shared_site.by(link, "POST", "uploads", **TUS)).status == 400
    assert (await shared_site.told(link))["uses"] == 0
    assert await shared_site.names() == ["old"]
    # However many come at once, of which some are refused.
    names = ["a", "b", "c//d", "e", "f//g", "h"]
    asked = (shared_site.by(link, "PUT", f"files/{name}", b"x") for name in names)
    statuses = sorted(answer.status for answer in await asyncio.gather(*asked))
    assert statuses.count(201) == 1
    assert len(await shared_site.names()) == 2
    assert (await shared_site.told(link))["uses"] == 1
    assert (await shared_site.by(link, "PUT", "files/x", b"x")).status == 410


async def test_a_put_that_breaks_off_uses_nothing_up(shared_site: Shared) -> None:
    link = await shared_site.link("/secret/inbox/", drop=True, uses=1)
    began, cut = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        began.set()
        await cut.wait()
        raise ConnectionError

    putting = asyncio.create_task(shared_site.by(link, "PUT", "files/x", body()))
    await began.wait()
    await until_uses(shared_site, link, 1)
    # It may be the last one.
    assert (await shared_site.by(link, "PUT", "files/y", b"y")).status == 410
    cut.set()
    with pytest.raises(ClientError):
        await putting
    await until_uses(shared_site, link, 0)
    assert (await shared_site.by(link, "PUT", "files/y", b"y")).status == 201


async def until_uses(site: Shared, link: dict[str, Any], uses: int) -> None:
    """Wait until a link has had so many uses."""

    async def has_them() -> bool:
        return bool((await site.told(link))["uses"] == uses)

    await wait_until(has_them)


async def test_a_put_of_which_nobody_knows_whether_it_was_made_is_a_use(
    shared_site: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await shared_site.link("/secret/inbox/", drop=True, uses=1)
    apply = shared_site.store.names.apply

    async def lose(*arguments: Any) -> None:  # noqa: ANN401 - whatever is given
        await apply(*arguments)
        raise StoreAway

    monkeypatch.setattr(shared_site.store.names, "apply", lose)
    assert (await shared_site.by(link, "PUT", "files/x", b"x")).status == 503
    told = await shared_site.told(link)
    assert (told["uses"], told["files"], told["bytes"]) == (1, 1, 1)


async def test_links_end_by_default_after_30_days_and_can_be_revived_for_a_day(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(FILE, uses=1)
    assert await get(shared_site, link) == 200
    shared_site.clock.advance(timedelta(days=30) - timedelta(seconds=1))
    assert (await shared_site.by(link)).status == 200
    shared_site.clock.advance(2)
    unknown = await shared_site.by({"path": f"/s/{'A' * 22}/"})
    assert await shared_site.by(link) == unknown
    assert (await shared_site.told(link))["ended"]
    await shared_site.run("link set", id=link["id"], expires_seconds=3600)
    assert (await shared_site.by(link)).status == 200
    # It was used before.
    assert await get(shared_site, link, "b") == 410
    shared_site.clock.advance(timedelta(days=1, hours=2))
    assert (await shared_site.by(link)).status == 404


async def test_an_administrator_says_how_long_links_last(shared_site: Shared) -> None:
    assert await shared_site.run("link policy") == {"default_days": 30, "greatest_days": 365}
    day = timedelta(days=1).total_seconds()
    with pytest.raises(InvalidRequest, match="365 days at most"):
        await shared_site.link(FILE, expires_seconds=366 * day)
    with pytest.raises(InvalidRequest):
        await shared_site.link(FILE, expires_seconds=None)
    with pytest.raises(InvalidRequest):
        await shared_site.run("link policy", greatest_seconds=day)
    for seconds in (0, -day):
        with pytest.raises(InvalidRequest, match="for some time"):
            await shared_site.link(FILE, expires_seconds=seconds)
        with pytest.raises(InvalidRequest, match="for some time"):
            await shared_site.run("link policy", default_seconds=seconds, greatest_seconds=None)
    await shared_site.run("link policy", default_seconds=day, greatest_seconds=2 * day)
    link = await shared_site.link(FILE)
    assert link["expires"] == (shared_site.clock.now() + timedelta(days=1)).isoformat(
        timespec="seconds"
    )
    with pytest.raises(InvalidRequest):
        await shared_site.run("link set", id=link["id"], expires_seconds=3 * day)
    await shared_site.run("link policy", greatest_seconds=None)
    assert (await shared_site.link(FILE, expires_seconds=None))["expires"] is None


async def test_what_can_be_no_link_is_refused(shared_site: Shared) -> None:
    refused: list[tuple[str, dict[str, Any], type[Exception]]] = [
        ("/secret/nope", {}, NotFound),
        ("/secret/nope/", {}, NotFound),
        ("/secret/plan", {}, NotFound),
        ("/secret/nope/", {"drop": True}, NotFound),
        (FILE, {"drop": True}, InvalidRequest),
        (FILE, {"files": 1}, InvalidRequest),
        ("/secret/plan/", {"bytes": 1}, InvalidRequest),
        ("/secret/plan/", {"follows": True}, InvalidRequest),
        (FILE, {"uses": 0}, InvalidRequest),
        (FILE, {"password": "short"}, PasswordRefused),
        ("/secret/../x", {}, InvalidRequest),
        ("/elsewhere/x", {}, VerbLacking),
        (FILE, {"account": "nobody"}, NoSuchAccount),
    ]
    for target, arguments, error in refused:
        with pytest.raises(error):
            await shared_site.link(target, **arguments)
    assert await shared_site.run("link ls") == []


async def test_an_account_sees_and_changes_its_own_links_only(shared_site: Shared) -> None:
    await shared_site.add("bert")
    link = await shared_site.link(FILE, password=PASSWORD)
    assert await shared_site.run("link ls", account="bert") == []
    [told] = await shared_site.run("link ls", account="anna")
    assert told["id"] == link["id"]
    for command in ("link revoke", "link set"):
        with pytest.raises(NoSuchAccount):
            await shared_site.run(command, id=link["id"], account="bert", expires_seconds=60)
    await shared_site.run("link revoke", id=link["id"], account="anna")
    assert await shared_site.run("link ls") == []
    assert (await shared_site.by(link)).status == 404
