"""`POST /access/…`: commands of people who have signed in, as pages and programs send them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.names import FileName, FolderName
from chunkstore.http import create_app
from chunkstore.service.access.people import People
from chunkstore.service.command_needs import NEEDS
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import PASSWORD, Answer, Site, furnish
from tests.http.conftest import ServedAsInProduction
from tests.service.access.clock import SetClock

ELSEWHERE = "http://elsewhere.example"
JSON = {"Content-Type": "application/json"}
TOKEN = {"account": "anna", "label": "ci", "folders": ["/"], "verbs": "owner"}
# Arguments that each kind takes.
KINDS = {
    str: "anna", bool: False, list: ["anna"], str | None: "anna", int | None: 60,
    int | float | None: 60,
}  # fmt: skip


@dataclass
class Desk:
    """A server, with the cookie of each who has signed in."""

    site: Site
    clock: SetClock
    cookies: dict[str, str]

    async def sign_in(self, name: str) -> None:
        answer = await self.site.client.post(
            "/login", data={"name": name, "password": PASSWORD}, allow_redirects=False
        )
        self.site.client.session.cookie_jar.clear()
        self.cookies[name] = answer.headers["Set-Cookie"].partition(";")[0]

    async def run(
        self, name: str, command: str, arguments: object = None, **headers: str
    ) -> Answer:
        body = arguments if isinstance(arguments, bytes) else json.dumps(arguments or {}).encode()
        fields = {**JSON, "Cookie": self.cookies[name]}
        fields |= {key.replace("_", "-"): value for key, value in headers.items()}
        path = f"/access/{command.replace(' ', '/')}"
        answer = await self.site.client.post(path, data=body, headers=fields)
        self.site.client.session.cookie_jar.clear()
        return await Answer.of(answer)


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    """Return the server with `anna`, who may do nothing, and `boss`, who may do everything."""
    clock = SetClock()
    people = People(
        store.records, clock, store.names, log=store.audit, quotas=store.quotas, locks=store.locks
    )
    app = create_app(store, limits=FRESH, people=people, cors_origins=[ELSEWHERE])
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Site(client, store, people)
        await furnish(site)
        await people.accounts.add("anna", PASSWORD)
        await people.accounts.add("boss", PASSWORD, admin=True)
        desk = Desk(site, clock, {})
        for name in ("anna", "boss"):
            await desk.sign_in(name)
        yield desk
    people.close()


def result_of(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    return json.loads(answer.body)["result"]


def kind_of(answer: Answer) -> str:
    kind: str = json.loads(answer.body)["type"]
    return kind.rpartition(":")[2]


async def test_nobody_runs_what_they_have_no_right_to(desk: Desk) -> None:
    for command, need in NEEDS.items():
        arguments = {name: KINDS[kind] for name, kind in need.arguments.items()}
        # Not of anna's own account.
        arguments |= {key: "boss" for key in ("name", "account", "subject") if key in arguments}
        path = f"/access/{command.replace(' ', '/')}"
        body = json.dumps(arguments)
        guest = await desk.site.ask(None, "POST", path, data=body, **JSON)
        assert guest.status == 401, command
        answer = await desk.run("anna", command, arguments)
        assert answer.status in (403, 404), command
        by_token = await desk.site.ask("admin", "POST", path, data=body, **JSON)
        assert (by_token.status == 403) == need.session, command
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            assert await desk.site.status("admin", method, path) == 405
    for unknown in ("collect", "user", "user add x", "user%20add", "confirm x"):
        assert (await desk.run("boss", unknown)).status == 404


async def test_who_administers_a_folder_breaks_locks_in_it(desk: Desk) -> None:
    await desk.site.allow("anna", "c/", "admin")
    for name in (FileName("c/x"), FolderName("c/d/"), FileName("other")):
        await desk.site.store.locks.take(WantedLock(name, True, True))
    listed = result_of(await desk.run("anna", "locks ls"))
    assert [one["name"] for one in listed] == ["/c/d/", "/c/x"]
    assert len(result_of(await desk.run("boss", "locks ls"))) == 3
    for folder in ("/other", "/"):
        assert (await desk.run("anna", "locks break", {"folder": folder})).status in (403, 404)
    for folder in ("/c/d/", "c/x"):
        assert len(result_of(await desk.run("anna", "locks break", {"folder": folder}))) == 1
    assert (await desk.run("anna", "locks break", {"folder": "/c/x"})).status == 404
    assert [lock.root for lock in await desk.site.store.locks.list()] == ["other"]


async def test_people_see_to_their_own_tokens_and_sessions(desk: Desk) -> None:
    made = result_of(await desk.run("anna", "token add", {**TOKEN, "expires_seconds": 3600}))
    desk.site.tokens["ci"] = made["token"]
    answer = await desk.run("anna", "token ls", {"account": "Anna"})
    [listed] = result_of(answer)
    assert listed["id"] == made["id"]
    assert made["token"].encode() not in answer.body
    result_of(await desk.run("anna", "token revoke", {"id": made["id"]}))
    assert await desk.site.status("ci", "GET", "/files/") == 401
    before = desk.cookies["anna"]
    desk.clock.advance(1)
    await desk.sign_in("anna")
    sessions = result_of(await desk.run("anna", "session ls", {"account": "anna"}))
    assert [one["current"] for one in sessions] == [True, False]
    assert [one["browser"] for one in sessions] == ["", ""]
    cookies = [before, desk.cookies["anna"]]
    assert not any(cookie.partition("=")[2] in str(sessions) for cookie in cookies)
    result_of(await desk.run("anna", "session end-others", {"account": "anna"}))
    assert len(result_of(await desk.run("anna", "session ls", {"account": "anna"}))) == 1
    desk.cookies["anna"] = before
    assert (await desk.run("anna", "session ls", {"account": "anna"})).status == 401


async def test_people_see_to_their_own_links(desk: Desk) -> None:
    await desk.site.allow("anna", "d/", "editor")
    assert await desk.site.status("admin", "PUT", "/files/d/x", data=b"x") == 201
    assert await desk.site.status("admin", "PUT", "/files/e/x", data=b"x") == 201
    link = {"account": "anna", "target": "/d/x", "label": "to Zoe", "uses": 3}
    made = result_of(await desk.run("anna", "link add", link))
    assert made["path"] == f"/s/{made['token']}/"
    answer = await desk.run("anna", "link ls", {"account": "anna"})
    assert [one["id"] for one in result_of(answer)] == [made["id"]]
    assert made["token"].encode() not in answer.body
    # What they may not share themselves they share by no link, and nothing for another.
    for wrong, status in (
        ({"target": "/e/x"}, 403), ({"account": "boss"}, 403), ({"label": "\x1b[2J"}, 400),
        ({"label": None}, 400), ({"drop": 1}, 400), ({"uses": True}, 400), ({"uses": 2**60}, 400),
        ({"uses": 0}, 400), ({"secret": "x"}, 400),
    ):  # fmt: skip
        assert (await desk.run("anna", "link add", {**link, **wrong})).status == status, wrong
    known = {"account": "anna", "id": made["id"]}
    result_of(await desk.run("anna", "link set", {**known, "expires_seconds": 60}))
    for command in ("link set", "link revoke"):
        assert (await desk.run("anna", command, {**known, "account": "boss"})).status == 403
    result_of(await desk.run("anna", "link revoke", known))
    assert (await desk.run("anna", "link revoke", known)).status == 404
    body = json.dumps({**link, "account": "admin"})
    assert await desk.site.status("admin", "POST", "/access/link/add", data=body, **JSON) == 403


async def test_a_token_makes_no_tokens_and_changes_no_password(desk: Desk) -> None:
    """Gitea GHSA-683j-3ff6-hh2x, filebrowser CVE-2026-25889."""
    password = {"name": "admin", "password": "x" * 20, "keep_tokens": True}
    for path, arguments in (
        ("/access/token/add", {**TOKEN, "account": "admin", "expires_seconds": 60}),
        ("/access/user/passwd", password),
        ("/access/user/add", {"name": "new", "password": None, "admin": True}),
    ):
        answer = await desk.site.ask("admin", "POST", path, data=json.dumps(arguments), **JSON)
        assert answer.status == 403


async def test_the_password_is_asked_for_again(desk: Desk) -> None:
    arguments = {**TOKEN, "expires_seconds": 60}
    desk.clock.advance(601)
    answer = await desk.run("anna", "token add", arguments)
    assert (answer.status, kind_of(answer)) == (403, "password-needed")
    wrong = await desk.run("anna", "confirm", {"password": PASSWORD + "x"})
    assert (wrong.status, kind_of(wrong)) == (401, "sign-in-failed")
    assert (await desk.run("anna", "token add", arguments)).status == 403
    old = desk.cookies["anna"]
    confirmed = await desk.run("anna", "confirm", {"password": PASSWORD})
    assert result_of(confirmed) == {}
    [cookie] = [value for name, value in confirmed.headers.items() if name == "Set-Cookie"]
    desk.cookies["anna"] = cookie.partition(";")[0]
    result_of(await desk.run("anna", "token add", arguments))
    # A cookie that somebody else may have is not confirmed with it.
    desk.cookies["anna"] = old
    assert (await desk.run("anna", "token add", arguments)).status == 403
    desk.clock.advance(61)
    assert (await desk.run("anna", "token ls", {"account": "anna"})).status == 401


async def test_another_password_ends_sessions_and_tokens(desk: Desk) -> None:
    arguments = {"name": "anna", "password": "staple correct horse", "keep_tokens": False}
    result_of(await desk.run("anna", "user passwd", arguments))
    assert (await desk.run("anna", "session ls", {"account": "anna"})).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ELSEWHERE}, {"Origin": "http://other.example"}, {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
async def test_pages_of_other_origins_run_nothing(desk: Desk, headers: dict[str, str]) -> None:
    for command in ("rules", "confirm"):
        answer = await desk.run("boss", command, {"password": PASSWORD}, **headers)
        assert (answer.status, answer.headers.get("Access-Control-Allow-Credentials")) == (
            403,
            None,
        )
    answer = await desk.site.ask("admin", "POST", "/access/rules", data="{}", **JSON, **headers)
    assert answer.status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"1", 400), (b"{", 400), (b"\xff{}", 400), (b"[" * 8000, 400),
        (b'{"name": "\\ud800"}', 400), (b'{"name": 1}', 400), (b'{"name": "x", "open": true}', 400),
        (b'{"names": ["x"]}', 400), (b'{"name": ["x"]}', 400), (b'{"name": null}', 400),
        (b'{"name": "' + b"x" * 9000 + b'"}', 413), (b'{"name": "\\u0000"}', 400),
        (b'{"name": "no such"}', 404),
    ],
)  # fmt: skip
async def test_what_is_no_argument_is_refused(desk: Desk, body: bytes, status: int) -> None:
    answer = await desk.run("boss", "user remove", body)
    assert answer.status in (status, 404 if b"u0000" in body else status)


async def test_arguments_are_json_and_a_form_is_not(desk: Desk) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await desk.run("boss", "rules", Content_Type=media_type)
        assert answer.status == 415


@pytest.mark.parametrize("label", ["\x1b[2J", "a\nb", "x" * 101, "\u202e"])
async def test_a_label_can_do_nothing_to_a_terminal(desk: Desk, label: str) -> None:
    arguments = {**TOKEN, "label": label, "expires_seconds": 60}
    assert (await desk.run("anna", "token add", arguments)).status == 400


async def test_nothing_secret_is_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    made = result_of(await desk.run("anna", "token add", {**TOKEN, "expires_seconds": 60}))
    await desk.run("anna", "confirm", {"password": PASSWORD})
    await desk.run("boss", "user add", {"name": "new", "password": PASSWORD, "admin": False})
    assert made["token"] not in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_store_without_accounts_takes_none_by_http(store: Store) -> None:
    app = create_app(store, limits=FRESH)
    async with TestClient(ServedAsInProduction(app)) as client:
        arguments = {"name": "me", "password": PASSWORD, "admin": True}
        for path in ("/access/user/add", "/access/rules"):
            answer = await client.post(path, json=arguments if "user" in path else {})
            assert answer.status == 403
        assert (await client.post("/access/confirm", json={"password": "x"})).status == 401
