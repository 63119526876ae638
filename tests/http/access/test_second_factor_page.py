"""The page on which somebody adds a second factor, its forms, and who may send them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from chunkstore.service.access.commands import run_command
from chunkstore.service.access.totp import code_at, step_of
from tests.http.access.people import PASSWORD, Answer, Site, basic
from tests.http.access.test_credentials import known, log_in, session_of

__all__ = ["known"]
PATH = "/account/second-factor"


async def send(site: Site, *lines: tuple[str, str], path: str = PATH, **form: str) -> Answer:
    """Send a form of the page, or ask for the page without one."""
    response = await site.client.request(
        "POST" if form else "GET",
        path,
        data=form or None,
        headers=[("Accept", "text/html"), *lines],
        allow_redirects=False,
    )
    site.client.session.cookie_jar.clear()
    return await Answer.of(response)


def field(answer: Answer, pattern: str) -> str:
    found = re.search(pattern, answer.body.decode())
    assert found is not None, answer.body
    return found[1]


async def test_a_second_factor_is_added_and_removed(known: Site) -> None:
    cookie = await session_of(known)
    other = await session_of(known)
    page = await send(known, cookie)
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    begun = await send(known, cookie, action="begin")
    secret = field(begun, r"Secret: <code>([A-Z2-7 ]+)</code>").replace(" ", "")
    factor = field(begun, r'name="factor" value="(\w+)"')
    code = code_at(secret, step_of(known.people.clock.now()))
    refused = await send(known, cookie, action="confirm", factor=factor, code="x")
    assert refused.status == 403
    # It is shown once.
    assert secret[:4].encode() not in refused.body
    assert factor.encode() in refused.body
    agent = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    added = await send(known, cookie, agent, action="confirm", factor=factor, code=code)
    assert added.status == 200
    assert added.headers["Cache-Control"] == "no-store"
    codes = re.findall(r"<code>([A-Z2-7-]{19})</code>", added.body.decode())
    assert len(codes) == 10
    # Both sessions have ended, and this one goes on.
    renewed = ("Cookie", added.headers["Set-Cookie"].partition(";")[0])
    assert renewed[1].partition("=")[0] == cookie[1].partition("=")[0]
    told = await run_command(known.people, "session ls", {"account": "anna"})
    assert [one["browser"] for one in told] == ["Firefox on Linux"]
    for ended in (cookie, other):
        assert (await send(known, ended)).status == 401
    assert b"10 recovery codes are left" in (await send(known, renewed)).body
    assert (await send(known, renewed, action="begin")).status == 409
    again = await send(known, renewed, action="renew", code=codes[0])
    others = re.findall(r"<code>([A-Z2-7-]{19})</code>", again.body.decode())
    assert not set(others) & set(codes)
    assert (await send(known, renewed, action="remove", code=codes[1])).status == 403
    removed = await send(known, renewed, action="remove", code=others[0])
    assert b"Add a second factor" in removed.body
    assert (await log_in(known)).headers["Location"] == "/files/"
    found = (await run_command(known.people, "audit", {}))["entries"]
    told = [one["action"] for one in found if one["actor"] == "anna"]
    assert sorted(action for action in told if "totp" in action) == [
        "user totp add", "user totp codes", "user totp remove",
    ]  # fmt: skip
    assert told.count("sign-in failed") == 2
    for text in (secret, *codes, *others):
        assert text not in str(found)


async def test_only_a_session_with_a_recent_password_changes_it(known: Site) -> None:
    """Gitea GHSA-683j-3ff6-hh2x: a token was enough to make more."""
    token = known.headers_of("anna")
    for lines in (token, basic("anna", PASSWORD)):
        for form in ({"action": "begin"}, {"action": "remove", "code": "x"}):
            answer = await send(known, *lines.items(), **form)
            assert answer.status == 403
            assert b"Secret" not in answer.body
    for form in ({}, {"action": "begin"}):
        assert (await send(known, **form)).status == 401


async def test_it_leads_to_where_the_password_is_given_again(
    known: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await session_of(known)
    now = known.people.clock.now
    monkeypatch.setattr(known.people.clock, "now", lambda: now() + timedelta(minutes=11))
    page = await send(known, cookie)
    assert b"/login?next=/account/second-factor" in page.body
    assert (await send(known, cookie, action="begin")).status == 403
    answer = await log_in(known, next=PATH)
    assert answer.headers["Location"] == PATH
    # And no further.
    assert (await log_in(known, next=PATH + "/x")).headers["Location"] == "/files/"


async def test_other_pages_send_none_of_its_forms(known: Site) -> None:
    cookie = await session_of(known)
    for line in (("Origin", "http://elsewhere.example"), ("Sec-Fetch-Site", "same-site")):
        assert (await send(known, cookie, line, action="begin")).status == 403
    assert (await send(known, cookie, action="what")).status == 400
    answer = await send(known, cookie, action="confirm", factor="x", code="1")
    assert answer.status == 409
