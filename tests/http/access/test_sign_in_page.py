"""The page on which a browser signs in says what failed, and keeps what was filled in."""

from __future__ import annotations

import pytest

from chunkstore.core.errors import SignInBusy
from tests.http.access.people import PASSWORD, Answer, Site
from tests.http.steps import BROWSER

NASTY = '"><script>alert(1)</script>'


async def log_in(site: Site, **fields: str) -> Answer:
    form = {"name": "anna", "password": "not that one", "next": "/files/d/", **fields}
    response = await site.client.post("/login", data=form, headers=BROWSER, allow_redirects=False)
    return await Answer.of(response)


async def test_what_failed_leaves_the_form_as_it_was(site: Site) -> None:
    await site.people.accounts.add("anna", PASSWORD)
    answer = await log_in(site, name=NASTY)
    assert answer.status == 401
    assert answer.headers["Cache-Control"] == "no-store"
    assert b'value="/files/d/"' in answer.body
    assert b"script>alert" not in answer.body
    assert b"not that one" not in answer.body
    assert b"The name or the password is not right." in answer.body
    for _ in range(25):
        answer = await log_in(site)
    assert answer.status == 429
    assert f"try again in {answer.headers['Retry-After']} seconds" in answer.body.decode()
    assert b'value="anna"' in answer.body
    assert b'value="/files/d/"' in answer.body


async def test_a_busy_server_shows_the_form_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> bool:
        raise SignInBusy

    monkeypatch.setattr(site.people.passwords, "verify", busy)
    answer = await log_in(site)
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert b'value="/files/d/"' in answer.body


async def test_programs_get_no_page(site: Site) -> None:
    response = await site.client.post("/login", data={"name": "anna", "password": "x"})
    assert response.content_type == "application/problem+json"


async def test_the_page_tells_no_other_site_where_one_was(site: Site) -> None:
    answer = await site.ask(None, "GET", "/login?next=/files/d/", **BROWSER)
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert b'value="/files/d/"' in answer.body
