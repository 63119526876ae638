"""Signing in with a provider of OpenID Connect, and what becomes of those who cheat."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientTimeout, web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from chunkstore.core.access import EVERYTHING
from chunkstore.core.names import ROOT
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.security.provider import PROVIDER
from chunkstore.http.security.provider import Provider as AppProvider
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.limiter import BY_ADDRESS
from chunkstore.service.access.oidc import Registration
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import SessionCookie
from chunkstore.service.access.totp import code_at
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.oidc_provider import CLIENT_ID, CLIENT_SECRET, Claims, Provider
from tests.http.access.people import PASSWORD, Answer, Site, furnish
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import exactly

HERE = "192.0.2.1"


@dataclass
class Visit:
    """A browser that signs in: what it has been given so far."""

    signing: Signing
    cookie: str
    url: str

    async def at_the_provider(self) -> str:
        """Return where the provider sends it."""
        session = self.signing.site.client.session
        async with session.get(URL(self.url, encoded=True), allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            session.cookie_jar.clear()
            return response.headers["Location"]

    async def come_back(self, url: str, *, cookie: str | None = None) -> Answer:
        line = self.cookie if cookie is None else cookie
        return await self.signing.get(urlsplit(url)._replace(scheme="", netloc="").geturl(), line)


@dataclass
class Signing:
    """A server, and the provider that signs people in there."""

    site: Site
    provider: Provider
    app_provider: AppProvider
    base: str = ""

    async def get(self, path: str, cookie: str = "", **headers: str) -> Answer:
        if cookie:
            headers["Cookie"] = cookie
        response = await self.site.client.get(exactly(path), headers=headers, allow_redirects=False)
        self.site.client.session.cookie_jar.clear()
        return await Answer.of(response)

    async def begin(self, next_path: str = "/files/d/", more: str = "") -> Visit:
        query = URL.build(query={"next": next_path}).raw_query_string
        answer = await self.get(f"{self.base}/login/oidc/begin?{query}{more}")
        assert answer.status == 303, answer.body
        assert answer.headers["Cache-Control"] == "no-store"
        line = answer.headers["Set-Cookie"]
        assert "HttpOnly" in line
        assert "SameSite=Lax" in line
        assert "Max-Age=600" in line
        return Visit(self, line.partition(";")[0], answer.headers["Location"])

    async def sign_in(self, next_path: str = "/files/d/", more: str = "") -> Answer:
        visit = await self.begin(next_path, more)
        return await visit.come_back(await visit.at_the_provider())

    async def link(self, name: str = "anna") -> None:
        await self.site.people.identities.link(name, self.provider.issuer, self.provider.subject)

    async def sessions(self) -> int:
        people = self.site.people
        snapshot = await people.directory.reload()
        return len([one for key in snapshot.accounts for one in await people.sessions.list(key)])


def cookies_in(answer: Answer) -> list[str]:
    lines = [value for name, value in answer.headers.items() if name == "Set-Cookie"]
    return [line.partition(";")[0] for line in lines]


def is_signed_in(answer: Answer) -> bool:
    return answer.status == 303 and any(
        "=" in one and "-sign-on" not in one for one in cookies_in(answer)
    )


async def served(
    store: Store, base: str = "", *, creates: bool = False, accounts: bool = True
) -> AsyncIterator[Signing]:
    provider = Provider()
    async with TestServer(provider.app()) as at:
        provider.issuer = f"http://127.0.0.1:{at.port}"
        people = People.of(store)
        registration = Registration(
            provider.issuer, CLIENT_ID, CLIENT_SECRET, "Company <b>", creates
        )
        app = create_app(store, limits=FRESH, people=people, registration=registration)
        served = ServedAsInProduction(mount(app, base or "/"))
        async with TestClient(served) as client:
            provider.redirect_uri = f"http://127.0.0.1:{client.port}{base}/login/oidc"
            site = Site(client, store, people)
            if accounts:
                await furnish(site)
                await site.people.accounts.add("anna", None)
                await site.allow("anna", "d/", "reader")
            yield Signing(site, provider, app[PROVIDER], base)
        people.close()


@pytest.fixture
async def signing(store: Store) -> AsyncIterator[Signing]:
    """Return a server on which anna is linked with somebody whom the provider signs in."""
    async for signing in served(store):
        await signing.link()
        yield signing


async def test_somebody_is_signed_in_as_the_account_that_is_linked(signing: Signing) -> None:
    answer = await signing.sign_in()
    assert (answer.status, answer.headers["Location"]) == (303, "/files/d/")
    assert answer.headers["Cache-Control"] == "no-store"
    session, begun = cookies_in(answer)
    assert begun.endswith("-sign-on=")
    page = await signing.get("/", session, Accept="text/html")
    assert b"anna" in page.body
    assert (await signing.get("/files/e", session)).status == 404
    # The button is on the page, and what its provider is called is text.
    page = await signing.get("/login?next=/files/d/")
    assert b"Sign in with Company &lt;b&gt;" in page.body
    assert b"/login/oidc/begin?next=/files/d/" in page.body


@pytest.mark.parametrize(("in_body", "names_itself"), [(True, False), (False, True)])
async def test_providers_differ(signing: Signing, in_body: bool, names_itself: bool) -> None:
    signing.provider.in_body, signing.provider.names_itself = in_body, names_itself
    assert is_signed_in(await signing.sign_in())


async def test_it_works_below_a_base_path(store: Store) -> None:
    async for signing in served(store, "/store"):
        await signing.link()
        answer = await signing.sign_in("/store/files/d/")
        assert answer.headers["Location"] == "/store/files/d/"
        assert is_signed_in(answer)


async def test_without_a_provider_there_is_none(site: Site) -> None:
    for path in ("/login/oidc", "/login/oidc/begin", "/login/oidc?code=x&state=y"):
        assert await site.status(None, "GET", path) == 404
    assert b"oidc" not in (await site.ask(None, "GET", "/login")).body


# Who cheats


Change = Callable[[Claims], object]


def put(**claims: Any) -> Change:  # noqa: ANN401 - JSON
    return lambda told: told.update(claims)


def without(claim: str) -> Change:
    return lambda told: told.pop(claim)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put(nonce="x" * 43), id="another nonce"),
        pytest.param(without("nonce"), id="no nonce: Authlib CVE-2026-114617"),
        pytest.param(put(nonce=None), id="null nonce"),
        pytest.param(put(nonce=["x"]), id="list of nonces"),
        pytest.param(put(nonce="\ud800"), id="nonce that is no text"),
        pytest.param(put(iss="https://evil.example"), id="another issuer"),
        pytest.param(lambda told: told.update(iss=told["iss"] + "/"), id="an issuer with a slash"),
        pytest.param(without("iss"), id="no issuer"),
        pytest.param(put(aud="other"), id="another audience"),
        pytest.param(put(aud=[CLIENT_ID, "other"]), id="an audience besides"),
        pytest.param(put(aud=[]), id="no audience"),
        pytest.param(put(aud={CLIENT_ID: 1}), id="an object as audience"),
        pytest.param(without("aud"), id="audience missing"),
        pytest.param(put(azp="other"), id="given to another"),
        pytest.param(put(azp=None), id="given to nobody"),
        pytest.param(put(exp=1), id="expired"),
        pytest.param(put(exp="9999999999"), id="an end that is text"),
        pytest.param(put(exp=True), id="an end that is a truth"),
        pytest.param(put(exp=float("nan")), id="an end that is no number"),
        pytest.param(without("exp"), id="no end"),
        pytest.param(put(iat=4102444800), id="of the future"),
        pytest.param(put(iat=10**400), id="of a future without end"),
        pytest.param(without("sub"), id="nobody"),
        pytest.param(put(sub=""), id="empty"),
        pytest.param(put(sub="x" * 256), id="too long"),
        pytest.param(put(sub="a\nb"), id="two lines"),
        pytest.param(put(sub="ä"), id="not ASCII"),
        pytest.param(put(sub=248289761001), id="a number"),
    ],
)
async def test_an_id_token_that_is_not_of_this_sign_in_signs_nobody_in(
    signing: Signing, change: Change
) -> None:
    """Core §3.1.3.7; Authlib CVE-2026-114617 skipped the nonce, CVE-2026-28498 failed open."""
    signing.provider.change = change
    answer = await signing.sign_in()
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers
    assert await signing.sessions() == 0


@pytest.mark.parametrize("aud", [CLIENT_ID, [CLIENT_ID]])
async def test_an_audience_has_two_forms(signing: Signing, aud: object) -> None:
    signing.provider.claims = {"aud": aud, "azp": CLIENT_ID}
    assert is_signed_in(await signing.sign_in())


async def test_the_state_of_another_browser_signs_nobody_in(signing: Signing) -> None:
    """Who makes somebody open his own answer would have them work in his account."""
    mine, theirs = await signing.begin(), await signing.begin()
    url = await mine.at_the_provider()
    for cookie in (theirs.cookie, "", mine.cookie[:-20] + "AAAA.", "x=y"):
        answer = await mine.come_back(url, cookie=cookie)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
    # The code was not even shown to the provider.
    assert "token" not in signing.provider.asked
    assert is_signed_in(await mine.come_back(url))


async def test_a_stolen_code_is_worth_nothing_in_another_browser(signing: Signing) -> None:
    """RFC 9700 §4.5: the thief puts the code behind a state of his own."""
    victim, thief = await signing.begin(), await signing.begin()
    stolen = parse_qs(urlsplit(await victim.at_the_provider()).query)["code"][0]
    own = URL(await thief.at_the_provider())
    answer = await thief.come_back(str(own.update_query(code=stolen)))
    assert answer.status == 403
    assert signing.provider.asked.count("token") == 1
    assert await signing.sessions() == 0


async def test_a_code_that_was_used_signs_nobody_in_again(signing: Signing) -> None:
    visit = await signing.begin()
    url = await visit.at_the_provider()
    assert is_signed_in(await visit.come_back(url))
    assert (await visit.come_back(url)).status == 403
    assert await signing.sessions() == 1


async def test_rfc_9207_an_answer_of_another_provider_signs_nobody_in(signing: Signing) -> None:
    """The mix-up attack: what one provider answered is brought to another."""
    signing.provider.names_itself = True
    for change in (put(iss="https://evil.example"), without("iss")):
        signing.provider.back = change
        assert (await signing.sign_in()).status == 403
    assert "token" not in signing.provider.asked


@pytest.mark.parametrize(
    "change",
    [
        put(error="access_denied", error_description="<script>alert(1)</script>"),
        without("code"), put(code=""), without("state"), put(state=""), put(state="\ud7ff"),
        put(iss="https://evil.example"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_told_and_nothing_of_it_is_shown(
    signing: Signing, change: Change
) -> None:
    signing.provider.back = change
    visit = await signing.begin()
    url = urlsplit(await visit.at_the_provider())._replace(scheme="", netloc="").geturl()
    answer = await signing.get(url, visit.cookie, Accept="text/html")
    assert answer.status == 403
    assert b"script>" not in answer.body.lower().replace(b"</script>", b"")
    assert "token" not in signing.provider.asked


async def test_an_answer_that_has_something_twice_is_refused(signing: Signing) -> None:
    visit = await signing.begin()
    url = await visit.at_the_provider()
    for more in ("&state=x", "&code=x", "&iss=x&iss=y"):
        assert (await visit.come_back(url + more)).status == 403


@pytest.mark.parametrize(
    "path", ["//evil", "https://evil/", "/\\evil", "/files\nX: y", "javascript:x", "/stats", ""]
)
async def test_gitea_cve_2026_25779_it_leads_nowhere_else(signing: Signing, path: str) -> None:
    assert (await signing.sign_in(path)).headers["Location"] == "/files/"


@pytest.mark.parametrize(
    "path", ["%ff", "%ed%a0%80", "%00", "/files/%c3%a4", "%2525", "&next=y", "%0d%0a"]
)
async def test_any_way_that_is_sent_is_one_or_none(signing: Signing, path: str) -> None:
    for page in ("/login/oidc/begin", "/login"):
        assert (await signing.get(f"{page}?next={path}")).status in (200, 303)
    visit = await signing.begin("/files/", f"&x={path}")
    answer = await visit.come_back(await visit.at_the_provider(), cookie=f"{visit.cookie}{path}")
    assert answer.status in (303, 403)
    assert answer.headers.get("Location", "/files/").startswith("/files/")


async def test_a_long_way_is_forgotten(signing: Signing) -> None:
    assert (await signing.sign_in("/files/" + "x" * 4000)).headers["Location"] == "/files/"


# A provider that is away, or no good


def redirect() -> web.Response:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/token"})


BAD_ANSWERS = [
    pytest.param(redirect, id="redirect"),
    pytest.param(lambda: web.Response(status=500), id="500"),
    pytest.param(lambda: web.Response(status=204), id="nothing"),
    pytest.param(lambda: web.Response(text="{" * 100_000), id="deep"),
    pytest.param(lambda: web.Response(text="[]"), id="a list"),
    pytest.param(lambda: web.Response(text="{}"), id="empty"),
    pytest.param(lambda: web.Response(body=b"\xff"), id="no text"),
    pytest.param(lambda: web.Response(body=b" " * 10_000_000 + b"{}"), id="huge"),
    pytest.param(
        lambda: web.Response(
            body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}
        ),
        id="a bomb",
    ),
    pytest.param(lambda: web.Response(text='{"id_token": "a.b"}'), id="two parts"),
    pytest.param(lambda: web.Response(text='{"id_token": "a.%%%.c"}'), id="no base64"),
    pytest.param(lambda: web.Response(text='{"id_token": "a.W10.c"}'), id="a list in a token"),
    pytest.param(lambda: web.Response(text='{"id_token": 1}'), id="a number"),
    pytest.param(lambda: web.Response(status=400, text='{"error": "invalid_grant"}'), id="400"),
]


@pytest.mark.parametrize("instead", BAD_ANSWERS)
async def test_a_bad_answer_signs_nobody_in(
    signing: Signing, instead: Callable[[], web.Response]
) -> None:
    visit = await signing.begin()
    url = await visit.at_the_provider()
    signing.provider.instead = instead
    assert (await visit.come_back(url)).status in (403, 503)
    assert await signing.sessions() == 0


@pytest.mark.parametrize(
    "change",
    [
        put(issuer="https://evil.example"), without("issuer"), without("token_endpoint"),
        put(token_endpoint="http://evil.example/token"), put(token_endpoint="/token"),
        put(authorization_endpoint="javascript:alert(1)"), put(authorization_endpoint=7),
        put(authorization_endpoint="https://a@evil.example/"), put(token_endpoint="https://[/"),
        put(authorization_endpoint="https://x/#y"), put(token_endpoint_auth_methods_supported=7),
    ],
)  # fmt: skip
async def test_a_provider_that_says_of_itself_what_cannot_be_is_not_asked(
    signing: Signing, change: Change
) -> None:
    signing.provider.told = change
    answer = await signing.get("/login/oidc/begin")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "Location" not in answer.headers


async def test_a_provider_that_hangs_or_is_away_keeps_nobody_else_out(signing: Signing) -> None:
    await signing.site.people.accounts.add("bert", PASSWORD)
    visit = await signing.begin()
    url = await visit.at_the_provider()
    app_provider = signing.app_provider
    assert app_provider._session is not None
    app_provider._session._timeout = ClientTimeout(total=0.05)
    signing.provider.hangs = True
    assert (await visit.come_back(url)).status == 503
    # What it says of itself is known for an hour.
    await signing.begin()
    app_provider._asked_again_at = 0.0
    assert (await signing.get("/login/oidc/begin")).status == 503
    asked = len(signing.provider.asked)
    for _ in range(5):
        assert (await signing.get("/login/oidc/begin")).status == 503
    # It is left in peace for some seconds.
    assert len(signing.provider.asked) == asked
    form = {"name": "bert", "password": PASSWORD}
    async with signing.site.client.post("/login", data=form, allow_redirects=False) as answer:
        assert answer.status == 303
    assert await signing.site.status("admin", "GET", "/stats") == 200
    signing.provider.hangs = False
    app_provider._asked_again_at = 0.0
    assert is_signed_in(await signing.sign_in())


async def test_codes_of_strangers_are_limited(signing: Signing) -> None:
    """Each makes the server ask the provider something."""
    visit = await signing.begin()
    url = URL(await visit.at_the_provider()).update_query(code="guessed")
    statuses = [(await visit.come_back(str(url))).status for _ in range(BY_ADDRESS.at_once + 3)]
    assert set(statuses) == {403, 429}
    assert signing.provider.asked.count("token") == BY_ADDRESS.at_once


# Whose account it is


async def test_who_is_not_linked_is_told_what_to_tell(signing: Signing) -> None:
    """And is no account that has the same name or e-mail address there."""
    signing.provider.subject = "<i>5"
    signing.provider.claims = {
        "preferred_username": "anna", "email": "anna@example.org", "email_verified": True,
        "name": "anna",
    }  # fmt: skip
    visit = await signing.begin()
    url = urlsplit(await visit.at_the_provider())._replace(scheme="", netloc="").geturl()
    answer = await signing.get(url, visit.cookie, Accept="text/html")
    assert answer.status == 403
    assert b"subject &lt;i&gt;5." in answer.body
    assert signing.provider.issuer.encode() in answer.body
    assert await signing.sessions() == 0


async def test_gitea_cve_2026_58422_a_disabled_account_stays_disabled(signing: Signing) -> None:
    """Gitea CVE-2026-58422: signing in by OAuth2 enabled it again."""
    await signing.site.people.accounts.set_disabled("anna", disabled=True)
    assert (await signing.sign_in()).status == 403
    assert await signing.sessions() == 0
    snapshot = await signing.site.people.directory.reload()
    assert snapshot.accounts["anna"].disabled


async def test_an_account_that_is_unlinked_is_out(signing: Signing) -> None:
    session = cookies_in(await signing.sign_in())[0]
    assert (await signing.get("/", session)).status == 200
    await signing.site.people.identities.unlink("anna")
    assert (await signing.get("/", session)).status == 401
    assert (await signing.sign_in()).status == 403


async def test_a_new_account_of_an_old_name_is_not_who_was_linked(signing: Signing) -> None:
    people = signing.site.people
    await people.accounts.remove("anna")
    await people.accounts.add("anna", None, admin=True)
    assert (await signing.sign_in()).status == 403
    await signing.link("admin")
    assert is_signed_in(await signing.sign_in())


async def test_with_a_second_factor_it_takes_a_code_too(signing: Signing) -> None:
    people = signing.site.people
    session = cookies_in(await signing.sign_in(more="&again"))[0]
    principal = await people.sign_in(SessionCookie(session.partition("=")[2]), HERE)
    begun = await people.totp.begin(principal)
    step = int(datetime.now(UTC).timestamp()) // 30
    await people.totp.confirm(principal, begun.id, code_at(begun.secret, step))
    answer = await signing.sign_in()
    assert (answer.status, answer.headers["Location"]) == (303, "/login/code")
    waiting = next(one for one in cookies_in(answer) if "-code=" in one)
    assert (await signing.get("/files/d/", waiting)).status == 401
    async with signing.site.client.post(
        "/login/code",
        data={"code": code_at(begun.secret, step + 1)},
        headers={"Cookie": waiting},
        allow_redirects=False,
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/files/d/")


async def test_credentials_are_changed_only_by_who_has_just_signed_in_there(
    signing: Signing,
) -> None:
    """A session there may be days old, which is told by `auth_time`, or not told."""
    people = signing.site.people
    now = datetime.now(UTC)
    days_ago, later = now - timedelta(days=2), now + timedelta(days=2)
    for more, claims, may in (
        ("", {}, False),
        ("&again", {}, True),
        ("&again", {"auth_time": int(days_ago.timestamp())}, False),
        # The time of its sign-in here, not one to come.
        ("", {"auth_time": int(later.timestamp())}, True),
        ("", {"auth_time": "x"}, False),
        ("", {"auth_time": 10**300}, False),
    ):
        signing.provider.claims = claims
        session = cookies_in(await signing.sign_in(more=more))[0]
        principal = await people.sign_in(SessionCookie(session.partition("=")[2]), HERE)
        assert principal.may_change_credentials(people.clock.now()) == may, claims


# New accounts


@pytest.fixture
async def creating(store: Store) -> AsyncIterator[Signing]:
    """Return a server that adds accounts."""
    async for signing in served(store, creates=True):
        yield signing


async def test_filebrowser_cve_2026_35607_a_new_account_may_do_nothing(creating: Signing) -> None:
    """filebrowser CVE-2026-32760, -35607: who signed up had the rights of an administrator."""
    creating.provider.claims = {"preferred_username": "Cleo@example.org"}
    session = cookies_in(await creating.sign_in())[0]
    people = creating.site.people
    principal = await people.sign_in(SessionCookie(session.partition("=")[2]), HERE)
    assert principal.account is not None
    assert principal.account.name == "Cleo@example.org"
    assert principal.account.password is None
    assert not principal.access.leads_somewhere(ROOT)
    # It is the same account the next time, whatever it is called then.
    creating.provider.claims = {"preferred_username": "admin"}
    assert is_signed_in(await creating.sign_in())
    accounts = (await people.directory.reload()).accounts
    assert set(accounts) == {"admin", "anna", "cleo@example.org"}
    found = (await run_command(people, "audit", {}))["entries"]
    assert [one["action"] for one in found if one["via"] in ("sign-on", "session")] == [
        "user add", "sign-in", "sign-in",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["anna", "ANNA", "\uff41nna", "admin", "everyone", "a b", "", None, 7]
)
async def test_a_new_account_takes_nobodys_name(creating: Signing, name: object) -> None:
    creating.provider.claims = {} if name is None else {"preferred_username": name}
    assert (await creating.sign_in()).status == 403
    accounts = (await creating.site.people.directory.reload()).accounts
    assert set(accounts) == {"admin", "anna"}
    assert accounts["admin"].name == "admin"


async def test_a_store_without_accounts_is_not_closed_by_whoever_comes_first(store: Store) -> None:
    async for signing in served(store, creates=True, accounts=False):
        signing.provider.claims = {"preferred_username": "cleo"}
        assert (await signing.sign_in()).status == 403
        assert (await signing.site.people.directory.reload()).is_open


async def test_an_administrator_stays_one(signing: Signing) -> None:
    await signing.site.people.identities.unlink("anna")
    await signing.link("admin")
    session = cookies_in(await signing.sign_in())[0]
    principal = await signing.site.people.sign_in(SessionCookie(session.partition("=")[2]), HERE)
    assert principal.access.verbs(ROOT) == EVERYTHING
