"""What was published of other servers: a test for each rule that no other file has one of.

`docs/security.md` says which test is of which rule.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.proxies import ProxyPolicy, parse_proxy
from chunkstore.http import create_app
from chunkstore.service.access.limiter import BY_ADDRESS
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http import raw
from tests.http.access.people import PASSWORD, Site, basic, furnish
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import BROWSER

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
LOG_IN = f"name=anna&password={PASSWORD}".replace(" ", "+").encode()


@pytest.fixture
async def known(site: Site) -> Site:
    """Return the server with `anna`, who has a password and edits `d/`, and a file in it."""
    await site.people.accounts.add("anna", PASSWORD)
    await site.add_token("anna", "anna", [("", "owner")])
    await site.allow("anna", "d/", "editor")
    await site.status("admin", "PUT", "/files/d/x", data=b"content")
    return site


async def test_filebrowser_cve_2026_54092_a_form_to_sign_in_by_is_short(known: Site) -> None:
    body = LOG_IN + b"&next=" + b"x" * 8192
    for data in (body, body * 100):
        assert await known.status(None, "POST", "/login", data=data, **FORM) == 413
    assert await known.status(None, "POST", "/login", data=LOG_IN, **FORM) == 303


@pytest.mark.parametrize(
    "field",
    ["Remote-User", "X-Remote-User", "X-Forwarded-User", "X-WEBAUTH-USER", "X-Auth-Request-User"],
)
async def test_gitea_cve_2026_20896_no_field_says_who_somebody_is(known: Site, field: str) -> None:
    """Gogs CVE-2026-25119, filebrowser CVE-2026-54089: a client can send it by itself."""
    headers = {field.replace("-", "_"): "admin"}
    assert await known.status(None, "GET", "/files/d/x", **headers) == 401
    assert await known.status("anna", "GET", "/stats", **headers) == 403


async def test_oauth2_proxy_cve_2025_64484_a_forwarded_address_evades_no_limiter(
    known: Site,
) -> None:
    """Nor one with an underscore, CVE-2026-40575: only of trusted proxies it counts."""
    for number in range(BY_ADDRESS.at_once):
        claimed = {"X_Forwarded_For": f"198.51.100.{number}", "Forwarded": f"for=192.0.2.{number}"}
        line = basic("anna", f"wrong {number}")
        assert await known.status(None, "GET", "/files/d/x", **line, **claimed) == 401
    claimed = {"X_Forwarded_For": "203.0.113.1"}
    line = basic("anna", "wrong again")
    assert await known.status(None, "GET", "/files/d/x", **line, **claimed) == 429


async def test_sftpgo_cve_2024_52801_no_session_is_one_that_was_sent(known: Site) -> None:
    """Session fixation: whoever signs in gets a cookie that nobody knew before."""
    first = await known.ask(None, "POST", "/login", data=LOG_IN, **FORM)
    name, _, planted = first.headers["Set-Cookie"].partition(";")[0].partition("=")
    sent = {"Cookie": f"{name}={planted}"}
    again = await known.ask(None, "POST", "/login", data=LOG_IN, **FORM, **sent)
    known.client.session.cookie_jar.clear()
    cookie = again.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith(f"{name}=")
    assert cookie != f"{name}={planted}"
    # Nor does what somebody made up become one.
    made_up = {"Cookie": f"{name}=" + "A" * 43}
    again = await known.ask(None, "POST", "/login", data=LOG_IN, **FORM, **made_up)
    known.client.session.cookie_jar.clear()
    assert await known.status(None, "GET", "/files/d/x", **made_up) == 401


async def test_a_cookie_over_https_is_one_that_no_other_host_can_set(store: Store) -> None:
    """The prefix `__Host-`: without it a sibling's page could plant a session of its own."""
    app = create_app(store, limits=FRESH, proxies=ProxyPolicy.of([parse_proxy("127.0.0.1")]))
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Site(client, store, People(store.records))
        await furnish(site)
        await site.people.accounts.add("anna", PASSWORD)
        await site.allow("anna", "", "reader")
        secure = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.1"}
        answer = await site.ask(None, "POST", "/login", data=LOG_IN, **FORM, **secure)
        cookie, _, rules = answer.headers["Set-Cookie"].partition(";")
        assert cookie.startswith("__Host-chunkstore-")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {*rules.strip().split("; ")}
        assert await site.status(None, "GET", "/files/", Cookie=cookie, **secure) == 200
        planted = cookie.removeprefix("__Host-")
        assert await site.status(None, "GET", "/files/", Cookie=planted, **secure) == 401


async def test_filebrowser_cve_2026_23849_no_answer_tells_which_accounts_there_are(
    known: Site,
) -> None:
    await known.add("robot")
    await known.people.accounts.add("gone", PASSWORD)
    await known.people.accounts.set_disabled("gone", disabled=True)
    answers = [
        await known.ask(None, "GET", "/files/d/x", **basic(name, "wrong password"))
        for name in ("anna", "nobody", "robot", "gone", "ANNA", "\ud7ff")
    ]
    forms = [
        await known.ask(None, "POST", "/login", data=f"name={name}&password=wrong".encode(), **FORM)
        for name in ("anna", "nobody", "robot", "gone")
    ]
    assert {answer.status for answer in (*answers, *forms)} == {401}
    assert all(answer == answers[0] for answer in answers)
    assert all(answer == forms[0] for answer in forms)


async def test_gogs_cve_2026_26196_no_page_tells_another_where_it_was_reached(
    known: Site,
) -> None:
    """What is in a URL stays here: `Referrer-Policy`."""
    for path in ("/login", "/files/d/"):
        page = await known.ask("anna", "GET", path, **BROWSER)
        assert page.status == 200
        assert page.headers["Referrer-Policy"] in ("same-origin", "no-referrer")


@pytest.mark.parametrize("octets", [b"\x80", b"\xff\xfe", b"\xed\xa0\x80", b"caf\xe9 \xc2\x9b31m"])
async def test_dufs_691_no_octets_of_a_client_make_a_failure(known: Site, octets: bytes) -> None:
    """aiohttp passes them on as lone surrogates, which neither JSON nor a database takes."""

    token = f"Authorization: Bearer {known.tokens['anna']}"
    for number, line in enumerate((b"User-Agent: ", b"X-Request-ID: ", b"Referer: ", b"Cookie: ")):
        put = raw.request("PUT", f"/files/d/u{number}", token, "Content-Length: 0", line + octets)
        assert (await raw.ask(known.client, put)).status == 201
        guess = raw.request("GET", "/files/d/x", "Authorization: Bearer wrong", line + octets)
        assert (await raw.ask(known.client, guess)).status == 401


async def test_memos_cve_2024_21635_who_is_put_out_while_a_body_comes_puts_nothing(
    known: Site,
) -> None:
    """Neither by a token, nor by the password, nor in a session."""
    answer = await known.ask(None, "POST", "/login", data=LOG_IN, **FORM)
    known.client.session.cookie_jar.clear()
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    carriers = [known.headers_of("anna"), basic("anna", PASSWORD), {"Cookie": cookie}]
    let_in, out = asyncio.Semaphore(0), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        let_in.release()
        await out.wait()
        yield b"content"

    async def put(number: int, headers: dict[str, str]) -> int:
        # The body is asked for once its head has been judged.
        async with known.client.put(
            f"/files/d/late{number}", data=body(), headers=headers, expect100=True
        ) as response:
            return response.status

    requests = [asyncio.create_task(put(*one)) for one in enumerate(carriers)]
    for _ in requests:
        await let_in.acquire()
    await known.people.accounts.set_disabled("anna", disabled=True)
    out.set()
    assert await asyncio.gather(*requests) == [401] * 3
    listing = json.loads((await known.ask("admin", "GET", "/files/d/")).body)
    assert [file["name"] for file in listing["files"]] == ["d/x"]


async def test_gitea_cve_2026_28699_a_scope_holds_while_it_is_narrowed(known: Site) -> None:
    """A right that the account loses, its tokens lose; what it gains, they gain to their scope."""
    await known.add_token("narrow", "anna", [("d/", "reader"), ("e/", "owner")])
    assert await known.status("narrow", "PUT", "/files/d/new", data=b"") == 403
    assert await known.status("narrow", "GET", "/files/e/x") == 404
    await known.allow("anna", "e/", "contributor")
    await known.allow("anna", "f/", "owner")
    assert await known.status("narrow", "PUT", "/files/e/new", data=b"") == 201
    assert await known.status("narrow", "PUT", "/files/f/new", data=b"") == 404
    await known.allow("anna", "e/", "-")
    for headers in (known.headers_of("narrow"), basic("x", known.tokens["narrow"])):
        response = await known.client.get("/files/e/new", headers=headers)
        assert response.status == 404
