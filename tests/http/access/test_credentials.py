"""What a request brings: each credential counts the same by whatever it comes."""

from __future__ import annotations

import pytest

from tests.http.access.people import PASSWORD, Answer, Site, basic
from tests.http.steps import exactly

ROUTES = [
    ("GET", "/files/d/x", {}), ("HEAD", "/files/d/x", {}), ("GET", "/files/e/x", {}),
    ("PUT", "/files/e/new", {}), ("GET", "/files/", {}), ("GET", "/files/?delimiter=", {}),
    ("GET", "/manifests/e/x", {}), ("GET", "/packs/e/x?ranges=0-0", {}), ("GET", "/stats", {}),
    ("DELETE", "/files/d/x", {}), ("COPY", "/files/d/x", {"Destination": "/files/e/y"}),
    ("MKCOL", "/files/e/f/", {}), ("POST", "/uploads", {"Tus-Resumable": "1.0.0"}),
    ("GET", "/uploads/none", {}), ("GET", "/uploads/none/chunks", {}), ("GET", "/chunks", {}),
    ("POST", "/batch", {}), ("POST", "/chunks/missing", {}), ("GET", "/nx/v1/cache/x", {}),
]  # fmt: skip


@pytest.fixture
async def known(site: Site) -> Site:
    """Return the server with `anna`, who reads `d/`, by a password, a token and a session."""
    for name in ("d/x", "e/x"):
        await site.status("admin", "PUT", f"/files/{name}", data=b"content")
    await site.people.accounts.add("anna", PASSWORD)
    await site.allow("anna", "d/", "reader")
    await site.add_token("anna", "anna", [("", "owner")])
    return site


async def ask(
    site: Site, route: tuple[str, str, dict[str, str]], *lines: tuple[str, str]
) -> Answer:
    method, path, headers = route
    response = await site.client.request(
        method,
        exactly(path),
        headers=[*headers.items(), *lines],
        allow_redirects=False,
    )
    return await Answer.of(response)


async def log_in(site: Site, password: str = PASSWORD, **fields: str) -> Answer:
    form = {"name": "anna", "password": password, **fields}
    response = await site.client.post("/login", data=form, allow_redirects=False)
    site.client.session.cookie_jar.clear()
    return await Answer.of(response)


async def session_of(site: Site) -> tuple[str, str]:
    cookie = (await log_in(site)).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    return "Cookie", cookie.partition(";")[0]


async def test_every_credential_by_every_carrier_gives_the_same_answer(known: Site) -> None:
    """Gitea CVE-2026-28699, -28744, -20706, -27761: a scope was lost on one of them."""
    token = known.tokens["anna"]
    carriers = [
        ("Authorization", f"Bearer {token}"),
        ("Authorization", f"bearer  {token} "),
        *basic("anna", token).items(),
        *basic("whatever", token).items(),
        *basic("anna", PASSWORD).items(),
        *basic("ANNA", PASSWORD).items(),
        await session_of(known),
    ]
    for route in ROUTES:
        first = await ask(known, route, carriers[0])
        assert first.status != 401, route
        for carrier in carriers[1:]:
            assert await ask(known, route, carrier) == first, (route, carrier)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer cks_wrong", "Bearer", "Basic", "Basic %%%", "Digest x", "Bearer a b", "",
        "Basic " + "x" * 1000, basic("anna", "wrong")["Authorization"],
        basic("nobody", PASSWORD)["Authorization"], basic("", "")["Authorization"],
    ],
)  # fmt: skip
async def test_wrong_credentials_are_refused_even_where_everyone_may_read(
    known: Site, value: str
) -> None:
    await known.allow("everyone", "", "reader")
    assert (await ask(known, ROUTES[0])).status == 200
    answer = await ask(known, ROUTES[0], ("Authorization", value))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_two_credentials_are_refused(known: Site) -> None:
    line = ("Authorization", f"Bearer {known.tokens['anna']}")
    assert (await ask(known, ROUTES[0], line, line)).status == 400
    # A cookie does not count beside Authorization.
    assert (await ask(known, ROUTES[0], line, ("Cookie", "chunkstore=x"))).status == 200


async def test_a_dead_cookie_is_a_guest_who_loses_it(known: Site) -> None:
    name, value = await session_of(known)
    dead = value[:-3] + "AAA"
    answer = await ask(known, ROUTES[0], (name, dead))
    assert answer.status == 401
    assert "Max-Age=0" in answer.headers["Set-Cookie"]


async def test_a_browser_gets_a_page_and_no_dialog(known: Site) -> None:
    """lakeFS #1356, Airbyte #78177: a Basic challenge pops the native dialog up."""
    answer = await ask(known, ROUTES[4], ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"))
    assert answer.status == 401
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Basic" not in answer.headers["WWW-Authenticate"]
    assert b'type="password"' in answer.body


async def test_pages_that_cors_lets_in_cannot_use_a_cookie(known: Site) -> None:
    cookie = await session_of(known)
    await known.allow("anna", "d/", "editor")
    headers = {"Origin": "http://elsewhere.example"}
    answer = await ask(known, ("PUT", "/files/d/y", headers), cookie)
    assert answer.status == 403
    answer = await ask(known, ("PUT", "/files/d/y", {}), cookie)
    assert answer.status == 201
    # Nor read or embed what a browser that adds it is told.
    told = await ask(known, ("GET", "/files/d/x", headers), cookie)
    assert told.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not [name for name in told.headers if name.startswith("Access-Control-")]
    token = ("Authorization", f"Bearer {known.tokens['anna']}")
    told = await ask(known, ("GET", "/files/d/x", headers), token)
    assert told.headers["Access-Control-Allow-Origin"] == headers["Origin"]
    assert "Access-Control-Allow-Credentials" not in told.headers


async def test_a_rule_for_a_folder_is_none_for_a_longer_name(known: Site) -> None:
    """filebrowser CVE-2026-35605, -54097; OpenList GO-2026-6109; Caddy GO-2026-5408."""
    for name in ("dd/x", "d-/x", "d0", "d."):
        await known.status("admin", "PUT", f"/files/{name}", data=b"content")
        assert await known.status("anna", "GET", f"/files/{name}") == 404


@pytest.mark.parametrize(
    "path",
    [
        "/files//d/x", "/files/e/%2e%2e/d/x", "/files/d/../e/x", "/files/d/%2e%2e/e/x",
        "/files/d/..%2fe%2fx", "/files/d%2F..%2Fe%2Fx", "/files/d%5C..%5Ce%5Cx", "/files/d/%2Fe/x",
        "/%66iles/e/x", "/files/./e/x", "/files/e//x", "/files/%65/x", "/files/e%2Fx",
    ],
)  # fmt: skip
async def test_there_is_one_form_for_check_and_use(known: Site, path: str) -> None:
    """filebrowser CVE-2026-25890, SFTPGo CVE-2026-30914."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await ask(
            known, (method, path, {}), ("Authorization", f"Bearer {known.tokens['anna']}")
        )
        assert answer.status in (400, 403, 404), (method, path)
        assert answer.body != b"content"


async def test_nothing_is_told_in_a_query_or_by_an_agent(known: Site) -> None:
    """oauth2-proxy CVE-2026-34457, -2025-54576; Gogs CVE-2026-26196."""
    token = known.tokens["anna"]
    for query in (
        f"?token={token}",
        f"?access_token={token}",
        "?download",
        "?.css",
        "?health/live",
    ):
        assert (await ask(known, ("GET", "/files/d/x" + query, {}))).status == 401
    for agent in ("kube-probe/1.2", "Googlebot"):
        assert (await ask(known, ("GET", "/files/d/x", {"User-Agent": agent}))).status == 401


async def test_conditions_and_ranges_come_after_rights(known: Site) -> None:
    """Else 412, 304 and 416 tell what is there."""
    etag = (await known.ask("admin", "HEAD", "/files/e/x")).headers["ETag"]
    for name in ("e/x", "e/missing"):
        answers = [
            await known.ask("anna", "GET", f"/files/{name}", **headers)
            for headers in ({"If_None_Match": etag}, {"If_Match": "x"}, {"Range": "bytes=9-"})
        ]
        assert [answer.status for answer in answers] == [404] * 3
    answer = await known.ask("anna", "PUT", "/files/e/x", data=b"", Expect="100-continue")
    assert answer.status == 404


async def test_a_long_password_is_refused_before_it_is_hashed(known: Site) -> None:
    """filebrowser CVE-2026-54092."""
    line = basic("anna", "x" * 2000)
    assert (await ask(known, ROUTES[0], *line.items())).status == 401


async def test_strangers_who_guess_are_slowed_down(known: Site) -> None:
    """One limiter for all paths: ownCloud CVE-2026-84473, Nextcloud GHSA-mr7q-xf62-fw54."""
    seen = set()
    for number in range(25):
        answer = await ask(
            known, ROUTES[number % len(ROUTES)], ("Authorization", f"Bearer x{number}")
        )
        seen.add(answer.status)
    assert seen == {401, 429}
    assert int(answer.headers["Retry-After"]) > 0
    # Who has the right one is let in.
    assert await known.status("anna", "GET", "/files/d/x") == 200


async def test_a_session_begins_and_ends(known: Site) -> None:
    """filebrowser CVE-2025-53826: logging out ends it at the server."""
    answer = await log_in(known, next="/files/d/")
    assert (answer.status, answer.headers["Location"]) == (303, "/files/d/")
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = await session_of(known)
    page = await ask(known, ("GET", "/files/d/", {"Accept": "text/html"}), cookie)
    assert b"anna" in page.body
    assert b"Sign out" in page.body
    left = await ask(known, ("POST", "/logout", {}), cookie)
    assert left.status == 303
    assert left.headers["Clear-Site-Data"] == '"cache"'
    assert (await ask(known, ROUTES[0], cookie)).status == 401
    assert (await log_in(known, "wrong password")).status == 401
    assert b'type="password"' in (await ask(known, ("GET", "/login", {}))).body


@pytest.mark.parametrize(
    "path", ["//evil", "https://evil/", "/\\evil", "/files\nX: y", "javascript:x", "/stats"]
)
async def test_signing_in_leads_nowhere_else(known: Site, path: str) -> None:
    """Gitea CVE-2026-25779: bare paths only."""
    assert (await log_in(known, next=path)).headers["Location"] == "/files/"


async def test_signing_in_leads_to_what_was_asked_for(known: Site) -> None:
    for path in ("/files/d/?prefix=a", "/account", "/admin/rules?folder=%2Fhr"):
        assert (await log_in(known, next=path)).headers["Location"] == path


async def test_other_pages_sign_nobody_in_or_out(known: Site) -> None:
    cookie = await session_of(known)
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/login", "/logout"):
            assert (await ask(known, ("POST", path, headers), cookie)).status == 403
    assert (await ask(known, ROUTES[0], cookie)).status == 200
