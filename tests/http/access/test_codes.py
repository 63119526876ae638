"""Signing in with a second factor over HTTP: between the password and the code, nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from chunkstore.service.access.principal import SessionCookie
from chunkstore.service.access.totp import code_at
from tests.http.access.people import PASSWORD, Answer, Site, basic
from tests.http.access.test_credentials import ROUTES, ask, known, log_in
from tests.http.access.test_routes import BY_LINK, FILLED, OPEN, destination_of, routes

__all__ = ["known"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Enrolled:
    """A server on which anna has a second factor, and codes of it that nobody has used."""

    site: Site
    secret: str
    recovery_codes: tuple[str, ...]

    @property
    def code(self) -> str:
        """A code of the step behind that of the first one."""
        return code_at(self.secret, int(self.site.people.clock.now().timestamp()) // 30 + 1)

    async def waiting(self, **fields: str) -> tuple[str, str]:
        """Return the cookie of who has given the right password."""
        answer = await log_in(self.site, **fields)
        assert (answer.status, answer.headers["Location"]) == (303, "/login/code")
        return cookie_in(answer)

    async def give(self, code: str, *lines: tuple[str, str]) -> Answer:
        response = await self.site.client.post(
            "/login/code", data={"code": code}, headers=[*lines], allow_redirects=False
        )
        self.site.client.session.cookie_jar.clear()
        return await Answer.of(response)


def cookie_in(answer: Answer, at: int = 0) -> tuple[str, str]:
    lines = [value for name, value in answer.headers.items() if name == "Set-Cookie"]
    assert all("HttpOnly" in line and "SameSite=Lax" in line for line in lines)
    return "Cookie", lines[at].partition(";")[0]


@pytest.fixture
async def enrolled(known: Site) -> Enrolled:
    """Return the server with a second factor of anna."""
    answer = await log_in(known)
    _, _, value = cookie_in(answer)[1].partition("=")
    principal = await known.people.sign_in(SessionCookie(value), "192.0.2.1")
    begun = await known.people.totp.begin(principal)
    now = int(known.people.clock.now().timestamp()) // 30
    done = await known.people.totp.confirm(principal, begun.id, code_at(begun.secret, now))
    return Enrolled(known, begun.secret, done.recovery_codes)


async def test_a_code_leads_where_somebody_wanted(enrolled: Enrolled) -> None:
    waiting = await enrolled.waiting(next="/files/d/")
    page = await ask(enrolled.site, ("GET", "/login/code", {}), waiting)
    assert page.headers["Cache-Control"] == "no-store"
    assert b'autocomplete="one-time-code"' in page.body
    answer = await enrolled.give(enrolled.code, waiting)
    assert (answer.status, answer.headers["Location"]) == (303, "/files/d/")
    assert (await ask(enrolled.site, ROUTES[0], cookie_in(answer))).status == 200
    # The other cookie is gone.
    assert cookie_in(answer, 1)[1] == waiting[1].partition("=")[0] + "="
    assert (await enrolled.give(enrolled.code, waiting)).status == 401


async def test_who_has_given_no_password_is_led_to_where_it_is_given(enrolled: Enrolled) -> None:
    answer = await ask(enrolled.site, ("GET", "/login/code", {}))
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert (await enrolled.give(enrolled.code)).status == 401


async def test_nextcloud_cve_2026_45691_no_route_takes_what_waits_for_a_code(
    enrolled: Enrolled,
) -> None:
    """Nextcloud CVE-2026-45691: WebDAV took the password alone. Here every route is asked."""
    site = enrolled.site
    name, waiting = await enrolled.waiting()
    cookie, _, value = waiting.partition("=")
    asked = 0
    for path, method in routes(site.client.app):
        is_told = (path, method) == ("/", "PROPFIND") or path in OPEN
        if method in ("OPTIONS", "*") or is_told or path.startswith(BY_LINK):
            continue
        for mark, text in FILLED.items():
            path = path.replace(mark, text)
        headers = {"Destination": destination_of(path)}
        guest = await ask(site, (method, path, headers))
        # As it came, and under the name of a session's.
        for line in (waiting, f"{cookie.removesuffix('-code')}={value}"):
            answer = await ask(site, (method, path, headers), (name, line))
            assert (answer.status, answer.body) == (guest.status, guest.body), (method, path)
        for header in (basic("anna", PASSWORD), {"Authorization": f"Bearer {value}"}):
            answer = await ask(site, (method, path, headers), *header.items())
            # After many there is one limiter for them all.
            assert answer.status in (401, 429), (method, path)
        asked += 1
    assert asked > 60
    token = basic("anna", site.tokens["anna"])
    assert (await ask(site, ROUTES[0], *token.items())).status == 200


async def test_a_wrong_code_is_told_and_can_be_given_again(enrolled: Enrolled) -> None:
    waiting = await enrolled.waiting()
    for accept, kind in (("text/html", "text/html"), ("*/*", "application/problem+json")):
        answer = await enrolled.give("no code", waiting, ("Accept", accept))
        assert answer.status == 403
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
    answer = await enrolled.give(enrolled.recovery_codes[0].lower(), waiting)
    assert (answer.status, answer.headers["Location"]) == (303, "/files/")


async def test_guessed_codes_are_limited(enrolled: Enrolled) -> None:
    """Nextcloud GHSA-mr7q-xf62-fw54, CVE-2021-32705; ownCloud CVE-2026-84473."""
    waiting = await enrolled.waiting()
    wrong = f"{(int(enrolled.code) + 500_000) % 1_000_000:06}"
    statuses = {(await enrolled.give(wrong, waiting)).status for _ in range(12)}
    assert statuses == {403, 429}
    answer = await enrolled.give(enrolled.code, waiting)
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert (await enrolled.give(enrolled.recovery_codes[0], waiting)).status == 303


@pytest.mark.parametrize("next_path", ["//evil", "https://evil/", "/\\evil", "/login"])
async def test_gitea_cve_2026_25779_a_code_leads_nowhere_else(
    enrolled: Enrolled, next_path: str
) -> None:
    waiting = await enrolled.waiting(next=next_path)
    assert (await enrolled.give(enrolled.code, waiting)).headers["Location"] == "/files/"


async def test_other_pages_give_no_codes(enrolled: Enrolled) -> None:
    waiting = await enrolled.waiting()
    for line in (("Origin", "http://elsewhere.example"), ("Sec-Fetch-Site", "cross-site")):
        assert (await enrolled.give(enrolled.code, waiting, line)).status == 403
    assert (await enrolled.give(enrolled.code, waiting)).status == 303


async def test_what_is_no_form_is_refused(enrolled: Enrolled) -> None:
    waiting = await enrolled.waiting()
    for data, headers, status in (
        ("{}", {"Content-Type": "application/json"}, 415),
        ("code=" + "x" * 10_000, FORM, 413),
        ("code=%ff", FORM, 400),
        ("", FORM, 403),
    ):
        response = await enrolled.site.client.post(
            "/login/code", data=data, headers=[*headers.items(), waiting]
        )
        assert response.status == status, data
