"""`/account` and `/admin/`: each sees what they may, and nothing that is secret."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.access import Verbs
from chunkstore.core.names import FolderName
from chunkstore.http import create_app
from chunkstore.service.access.tokens import digest_of
from chunkstore.service.access.values import KeptRule
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import PASSWORD, Answer, Site
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import BROWSER

SECTIONS = ["accounts", "groups", "rules", "who-can", "tokens", "links", "quotas", "locks", "audit"]
NASTY = "\"'><script>alert(1)</script>{{ 7 * 7 }}/"
MANY = 10_000


@pytest.fixture
async def cookies(site: Site) -> dict[str, str]:
    """Return the cookies of `boss`, `anna`, who administers `hr/`, and `bert`, who does not."""
    await site.people.accounts.add("boss", PASSWORD, admin=True)
    for name in ("anna", "bert"):
        await site.people.accounts.add(name, PASSWORD)
    await site.allow("anna", "hr/", "list,admin")
    await site.allow("bert", "hr/", "reader")
    await site.allow("everyone", "private/", "reader")
    cookies = {}
    for name in ("boss", "anna", "bert"):
        form = {"name": name, "password": PASSWORD}
        answer = await site.client.post("/login", data=form, allow_redirects=False)
        cookies[name] = answer.headers["Set-Cookie"].partition(";")[0]
        site.client.session.cookie_jar.clear()
    return cookies


async def see(site: Site, cookie: str | None, path: str) -> Answer:
    headers = BROWSER if cookie is None else {**BROWSER, "Cookie": cookie}
    answer = await site.client.get(path, headers=headers, allow_redirects=False)
    site.client.session.cookie_jar.clear()
    return await Answer.of(answer)


async def test_each_sees_the_pages_that_are_theirs(site: Site, cookies: dict[str, str]) -> None:
    for path in ("/account", "/admin/", *(f"/admin/{name}" for name in SECTIONS)):
        guest = await see(site, None, path)
        assert (guest.status, b'type="password"' in guest.body) == (401, True)
        assert (await see(site, cookies["bert"], path)).status == (
            200 if path == "/account" else 403
        )
    assert (await see(site, cookies["anna"], "/admin/")).headers["Location"] == "/admin/rules"
    assert (await see(site, cookies["boss"], "/admin/")).headers["Location"] == "/admin/accounts"
    assert (await see(site, cookies["boss"], "/admin/more")).status == 404
    for name in SECTIONS:
        page = await see(site, cookies["boss"], f"/admin/{name}")
        assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
        status = 200 if name in ("rules", "who-can", "quotas", "locks") else 403
        assert (await see(site, cookies["anna"], f"/admin/{name}")).status == status
    shown = (await see(site, cookies["anna"], "/admin/rules")).body
    assert b"bert" in shown
    assert b"private" not in shown
    assert b"boss" not in shown
    # Who comes by a token has no pages.
    assert await site.status("admin", "GET", "/account", **BROWSER) == 403


async def test_nothing_is_shown_by_which_one_could_sign_in(
    site: Site, cookies: dict[str, str]
) -> None:
    made = await site.people.accounts.add_token("boss", "ci", (), None)
    digests = [made.token.digest, digest_of(cookies["boss"].partition("=")[2])]
    hashed = (await site.people.directory.reload()).get("boss").password
    assert hashed is not None
    for path in ("/account", "/admin/accounts", "/admin/tokens"):
        shown = (await see(site, cookies["boss"], path)).body.decode()
        for text in (made.text, hashed, *digests, *cookies.values(), "argon2"):
            assert text not in shown


async def test_without_the_script_no_form_sends_a_secret_in_a_query(
    site: Site, cookies: dict[str, str]
) -> None:
    for path in ("/login", "/account", *(f"/admin/{name}" for name in SECTIONS)):
        shown = (await see(site, cookies["boss"], path)).body.decode()
        for form in re.findall(r"<form.*?</form>", shown, re.DOTALL):
            is_search = 'role="search"' in form
            assert is_search != bool(re.match(r'<form[^>]* method="(post|dialog)"', form)), form
            assert not (is_search and "password" in form)
    for path in ("/account", "/admin/accounts"):
        answer = await site.client.post(path, data={"password": PASSWORD})
        assert answer.status == 405


async def test_names_and_labels_are_shown_as_text(site: Site, cookies: dict[str, str]) -> None:
    await site.allow("bert", NASTY, "reader")
    await site.people.accounts.add_token("boss", NASTY, ((FolderName(NASTY), Verbs(0)),), None)
    for path in ("/account", "/admin/rules", "/admin/tokens", f"/admin/who-can?name={NASTY}"):
        shown = (await see(site, cookies["boss"], path)).body.decode()
        assert "<script>alert" not in shown
        assert "7 * 7" in shown


async def test_a_token_that_ends_soon_is_marked(site: Site, cookies: dict[str, str]) -> None:
    now = site.people.clock.now()
    for days in (3, 30):
        end = now + timedelta(days=days, hours=1)
        await site.people.accounts.add_token("boss", f"in {days}", (), end)
    shown = (await see(site, cookies["boss"], "/account")).body.decode()
    assert re.findall(r'class="soon">([^<]*)<', shown) == ["in 3 days"]


async def test_very_many_rules_come_in_pages(site: Site, cookies: dict[str, str]) -> None:
    bert = (await site.people.directory.reload()).get("bert")
    rules = [
        KeptRule(bert.key, bert.id, FolderName(f"many/{number:05}/"), Verbs(0))
        for number in range(MANY)
    ]
    for start in range(0, MANY, 1000):
        await site.store.records.apply([rule.to_record() for rule in rules[start : start + 1000]])
    await site.people.directory.reload()
    path, seen = "/admin/rules?folder=many", 0
    for _ in range(3):
        shown = (await see(site, cookies["boss"], path)).body.decode()
        assert len(shown) < 300_000
        rows = re.findall(r">/many/(\d{5})/<", shown)
        assert rows == [f"{number:05}" for number in range(seen, seen + 200)]
        assert "of 10,000" in shown
        seen += 200
        [path] = re.findall(r'rel="next" href="([^"]*)"', shown)
        path = path.replace("&amp;", "&")
    for odd in ("-1", "x", "9" * 30, "²", "99999"):
        assert (await see(site, cookies["boss"], f"/admin/rules?from={odd}")).status == 200


async def test_lists_are_searched(site: Site, cookies: dict[str, str]) -> None:
    await site.people.accounts.add_token("bert", "backup", (), None)
    for path, there, gone in (
        ("accounts?find=BER", "bert</strong>", "anna</strong>"),
        ("tokens?find=backup", "of bert", "of admin"),
        ("tokens?find=adm", "of admin", "of bert"),
        ("rules?find=bert&folder=hr", "bert", "everyone</td>"),
        ("groups?find=x", "No groups", "@"),
    ):
        shown = (await see(site, cookies["boss"], f"/admin/{path}")).body.decode()
        main = (
            shown[shown.index("<main>") : shown.index("<details>")]
            if "<details>" in shown
            else shown
        )
        assert there in main, path
        assert gone not in main, path


async def test_a_store_without_accounts_has_no_such_pages(store: Store) -> None:
    async with TestClient(ServedAsInProduction(create_app(store, limits=FRESH))) as client:
        for path in ("/account", "/admin/", "/admin/rules"):
            assert (await client.get(path)).status == 404
