"""What proves who somebody is counts where nobody else could read it on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.proxies import ProxyPolicy, parse_proxy
from chunkstore.http import create_app
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.http.access.people import PASSWORD, Site, basic
from tests.http.conftest import ServedAsInProduction

ELSEWHERE = {"X-Forwarded-For": "198.51.100.7"}
OVER_HTTP = {**ELSEWHERE, "X-Forwarded-Proto": "http"}
OVER_HTTPS = {**ELSEWHERE, "X-Forwarded-Proto": "https"}
HERE = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}
FORM = {"name": "anna", "password": PASSWORD}
ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def site_behind_a_proxy(store: Store, *, insecure_login: bool = False) -> AsyncIterator[Site]:
    """Yield a server whose proxy tells where a request comes from."""
    people = People(store.records)
    policy = ProxyPolicy.of([parse_proxy("127.0.0.1")])
    app = create_app(store, people=people, proxies=policy, insecure_login=insecure_login)
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Site(client, store, people)
        await people.accounts.add("anna", PASSWORD, admin=True)
        await site.add_token("anna", "anna", [("", "owner")])
        yield site
        people.close()


async def statuses(site: Site, way: dict[str, str]) -> list[int]:
    """Return what the credentials are worth by each carrier, and what a guest is."""
    token = site.tokens["anna"]
    carriers: tuple[dict[str, str], ...] = (
        site.headers_of("anna"),
        basic("anna", PASSWORD),
        basic("", token),
        {},
    )
    answers = [await site.status(None, "GET", "/stats", **way, **one) for one in carriers]
    async with site.client.post(
        "/login", data=FORM, headers={**way, **ORIGIN}, allow_redirects=False
    ) as answer:
        return [*answers, answer.status]


@pytest.mark.parametrize("way", [OVER_HTTP, ELSEWHERE], ids=["http", "not told"])
async def test_no_credentials_are_taken_where_others_can_read_them(
    store: Store, way: dict[str, str]
) -> None:
    async with site_behind_a_proxy(store) as site:
        assert await statuses(site, way) == [403, 403, 403, 401, 403]
        wrong = await site.ask(None, "GET", "/stats", **way, **basic("anna", "wrong"))
        right = await site.ask(None, "GET", "/stats", **way, **basic("anna", PASSWORD))
        assert wrong == right
        assert b"insecure-login" in wrong.body
        # Who needs no credentials needs no TLS.
        await site.allow("everyone", "", "reader")
        assert await site.status(None, "GET", "/files/", **way) == 200


@pytest.mark.parametrize("way", [OVER_HTTPS, HERE], ids=["https", "this machine"])
async def test_by_tls_and_from_this_machine_they_are(store: Store, way: dict[str, str]) -> None:
    async with site_behind_a_proxy(store) as site:
        assert await statuses(site, way) == [200, 200, 200, 401, 303]


async def test_with_insecure_login_they_are_always(store: Store) -> None:
    async with site_behind_a_proxy(store, insecure_login=True) as site:
        assert await statuses(site, OVER_HTTP) == [200, 200, 200, 401, 303]


async def test_a_cookie_over_http_is_that_of_a_guest(store: Store) -> None:
    async with site_behind_a_proxy(store) as site:
        async with site.client.post(
            "/login", data=FORM, headers={**HERE, **ORIGIN}, allow_redirects=False
        ) as answer:
            [cookie] = answer.cookies.values()
        assert not cookie.key.startswith("__Host-")
        assert not cookie["secure"]
        sent = {"Cookie": f"{cookie.key}={cookie.value}"}
        assert await site.status(None, "GET", "/stats", **HERE, **sent) == 200
        assert await site.status(None, "GET", "/stats", **OVER_HTTP, **sent) == 401


async def test_the_page_asks_for_no_password_that_others_could_read(store: Store) -> None:
    async with site_behind_a_proxy(store) as site:
        browser = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
        for path in ("/login", "/files/"):
            for way, asks in ((OVER_HTTPS, True), (OVER_HTTP, False)):
                shown = await site.ask(None, "GET", path, **way, **browser)
                assert (b'type="password"' in shown.body) is asks
                assert (b"without TLS" in shown.body) is not asks
