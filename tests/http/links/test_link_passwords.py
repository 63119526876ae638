"""Passwords of links: they guard all of a link, by a cookie or by Basic."""

from __future__ import annotations

import pytest

from tests.http.links.conftest import OTHER, PASSWORD, TUS, Shared
from tests.http.links.test_routes import LINK_ROUTES, filled
from tests.http.steps import BROWSER

FILE = "/secret/plan/a.txt"


async def unlock(site: Shared, link: dict[str, str], password: str) -> str:
    """Return the cookie that the form gives for a password."""
    form = {"password": password}
    answer = await site.by(link, "POST", "password", form, Sec_Fetch_Site="same-origin")
    assert (answer.status, answer.headers["Location"]) == (303, link["path"]), answer
    site.client.session.cookie_jar.clear()
    return answer.headers["Set-Cookie"].partition(";")[0]


async def test_quantum_cve_2026_27611_and_30933_the_password_guards_every_route(
    shared_site: Shared,
) -> None:
    """Whatever is asked by whatever method: nothing is told but that there is a password."""
    link = await shared_site.link("/secret/inbox/", drop=True, password=PASSWORD)
    mine = (await shared_site.by(link, "POST", "visits", {"name": "b"}, password=PASSWORD)).headers
    begun = await shared_site.by(
        {"path": mine["Location"]}, "POST", "uploads", password=PASSWORD, **TUS,
        Upload_Length="3", Upload_Metadata="filename eA==",
    )  # fmt: skip
    upload = begun.headers["Location"].rpartition("/")[2]
    asked = 0
    for method, path in LINK_ROUTES:
        rest = filled(path, upload=upload)
        for place in (link["path"], mine["Location"]):
            if place != link["path"] and "{visit}" not in path:
                continue
            answer = await shared_site.ask(None, method, place + rest, **TUS)
            assert answer.status == 401, (method, path)
            assert method == "HEAD" or answer.kind == "link-password-needed", (method, path)
            asked += 1
    assert asked > 20
    assert (await shared_site.told(link))["uses"] == 1


async def test_a_browser_is_asked_by_a_page_and_others_by_a_challenge(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, password=PASSWORD, label="For you")
    page = await shared_site.by(link, **BROWSER, Sec_Fetch_Mode="navigate")
    assert page.status == 401
    assert not page.headers["WWW-Authenticate"].startswith("Basic")
    assert f'action="{link["path"]}password"'.encode() in page.body
    for absent in (b"For you", b"a.txt", b"Sign in"):
        assert absent not in page.body
    other = await shared_site.by(link)
    assert other.headers["WWW-Authenticate"].startswith("Basic ")
    for answer in (page, other):
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_form_gives_a_cookie_for_this_link(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, password=PASSWORD)
    cookie = await unlock(shared_site, link, PASSWORD)
    got = await shared_site.by(link, rest="files/a.txt", Cookie=cookie)
    assert (got.status, got.body) == (200, b"the plan")
    assert got.headers["Cache-Control"] == "no-store"
    assert await unlock(shared_site, link, PASSWORD) != cookie
    other = await shared_site.link(FILE, password=PASSWORD)
    assert (await shared_site.by(other, Cookie=cookie)).status == 401


async def test_scripts_give_it_with_any_name(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, password=PASSWORD)
    got = await shared_site.by(link, rest="files/a.txt", password=PASSWORD)
    assert got.body == b"the plan"
    assert (await shared_site.by(link, password=OTHER)).kind == "sign-in-failed"
    assert (await shared_site.by(link, Authorization="Bearer x")).status == 401
    # The administrator's token opens no link.
    assert (await shared_site.ask("admin", "GET", link["path"])).status == 401


async def test_the_password_is_taken_from_the_server_s_own_page_only(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, password=PASSWORD)
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://elsewhere.example"}):
        answer = await shared_site.by(link, "POST", "password", {"password": PASSWORD}, **headers)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
    page = await shared_site.by(link, "POST", "password", {"password": OTHER}, **BROWSER)
    assert page.status == 401
    assert b"not the one" in page.body


@pytest.mark.parametrize("new", [OTHER, None])
async def test_nc_sa_2018_012_another_password_ends_what_the_old_one_gave(
    shared_site: Shared, new: str | None
) -> None:
    link = await shared_site.link(FILE, password=PASSWORD)
    cookie = await unlock(shared_site, link, PASSWORD)
    await shared_site.run("link set", id=link["id"], password=new)
    await shared_site.run("link set", id=link["id"], password=PASSWORD)
    # Not even the same one, given again, brings it back.
    assert (await shared_site.by(link, Cookie=cookie)).status == 401
    assert (await shared_site.by(link, password=PASSWORD)).status == 200


async def test_a_cookie_lasts_for_a_day(shared_site: Shared) -> None:
    link = await shared_site.link(FILE, password=PASSWORD)
    cookie = await unlock(shared_site, link, PASSWORD)
    shared_site.clock.advance(24 * 3600 - 2)
    assert (await shared_site.by(link, Cookie=cookie)).status == 200
    shared_site.clock.advance(3)
    assert (await shared_site.by(link, Cookie=cookie)).status == 401


async def test_nextcloud_ghsa_mr7q_xf62_fw54_guesses_are_limited_by_one_limiter(
    shared_site: Shared,
) -> None:
    """For passwords of links by form and Basic, and for tokens of links that are none."""
    link = await shared_site.link(FILE, password=PASSWORD)
    [kept] = await shared_site.people.links.list()
    # Of somebody who gave it elsewhere: from here nobody did.
    cookie = f"chunkstore-link={shared_site.people.visiting.new_cookie(kept).value}"
    statuses = []
    for number in range(8):
        unknown = {"path": f"/s/{number:022}/"}
        statuses.append((await shared_site.by(unknown)).status)
        statuses.append((await shared_site.by(link, password=f"wrong {number}")).status)
        form = {"password": f"wrong too {number}"}
        statuses.append((await shared_site.by(link, "POST", "password", form)).status)
    assert statuses[:20].count(429) == 0
    assert {*statuses[20:]} == {429}
    assert (await shared_site.by(link, password="wrong again")).headers["Retry-After"]
    # Who has given it already goes on.
    assert (await shared_site.by(link, Cookie=cookie)).status == 200
