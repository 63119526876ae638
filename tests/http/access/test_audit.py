"""The audit log over HTTP: who did what is told, and to administrators only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.http import create_app
from chunkstore.service.access.audit import COMMAND_LINE, Audited
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.store.contract.audit import AuditFilter
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import PASSWORD, Site, basic
from tests.http.conftest import ServedAsInProduction

Entry = dict[str, Any]


async def entries(site: Site, query: str = "") -> list[Entry]:
    answer = await site.ask("admin", "GET", f"/audit{query}")
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


def brief(found: list[Entry]) -> list[tuple[str, str, str]]:
    return [(entry["actor"], entry["action"], entry["name"]) for entry in found]


@pytest.fixture
async def people(site: Site) -> Site:
    """Return the server with an editor of `d/`, who has a password and a token."""
    await site.people.accounts.add("anna", PASSWORD)
    await site.add_token("anna", "anna", [("", "owner")])
    await site.allow("anna", "d/", "editor")
    return site


async def test_edits_are_told_by_every_way_in(people: Site) -> None:
    assert await people.status("anna", "PUT", "/files/d/a", data=b"1") == 201
    assert await people.status("anna", "PUT", "/files/d/a", data=b"2") == 200
    assert await people.status("anna", "COPY", "/files/d/a", Destination="/files/d/b") == 201
    assert await people.status("anna", "MOVE", "/files/d/b", Destination="/files/d/c") == 201
    assert await people.status("anna", "MKCOL", "/files/d/made/") == 201
    assert await people.status("anna", "DELETE", "/files/d/c") == 204
    lines = [{"edit": "copy", "source": "d/a", "target": "d/x"}, {"edit": "delete", "name": "d/a"}]
    body = "\n".join(map(json.dumps, lines))
    batch = await people.ask("admin", "POST", "/batch", data=body, Content_Type="application/jsonl")
    assert batch.status == 200
    # What is refused, or only read, is not.
    assert await people.status("anna", "PUT", "/files/e/a", data=b"1") in (403, 404)
    assert await people.status("anna", "DELETE", "/files/d/none") == 404
    assert await people.status("anna", "GET", "/files/d/x") == 200
    found = await entries(people)
    assert sorted(brief(found)) == [
        ("admin", "copy", "d/a"), ("admin", "delete", "d/a"), ("anna", "copy", "d/a"),
        ("anna", "create", "d/a"), ("anna", "delete", "d/c"), ("anna", "make folder", "d/made/"),
        ("anna", "move", "d/b"), ("anna", "replace", "d/a"),
    ]  # fmt: skip
    for entry in found:
        assert entry["via"].startswith("token ")
        assert entry["address"] == "127.0.0.1"
        assert len(entry["request"]) == 16
    assert brief(await entries(people, "?name=d/c&actor=anna")) == [
        ("anna", "move", "d/b"), ("anna", "delete", "d/c"),
    ]  # fmt: skip


async def test_signing_in_and_failing_to_is_told_without_secrets(people: Site) -> None:
    ask = people.client.get
    for headers, status in (
        (basic("anna", PASSWORD), 200),
        (basic("anna", "wrong-password-of-anna"), 401),
        (basic("typed-password-as-name", "x" * 20), 401),
        ({"Authorization": "Bearer cks_" + "x" * 38}, 401),
    ):
        async with ask("/files/d/", headers=headers) as response:
            assert response.status in (status, 404), headers
    form = {"name": "anna", "password": PASSWORD, "next": "/"}
    login = await people.client.post("/login", data=form, allow_redirects=False)
    assert login.status == 303
    logout = await people.client.post("/logout", allow_redirects=False)
    assert logout.status == 303
    found = await entries(people)
    assert [(entry["actor"], entry["action"], entry["via"]) for entry in found] == [
        ("anna", "sign-in", "password"),
        ("", "sign-in failed", "password"),
        ("", "sign-in failed", "password"),
        ("", "sign-in failed", "token"),
        ("anna", "sign-in", "session"),
        ("anna", "sign-out", "session"),
    ]
    assert [entry["detail"].get("account") for entry in found[1:4]] == ["anna", "", ""]
    told = json.dumps(found)
    for secret in (PASSWORD, "wrong-password-of-anna", "typed-password-as-name", "cks_"):
        assert secret not in told


async def test_commands_are_told_without_secrets(people: Site) -> None:
    commands: list[tuple[str, Entry]] = [
        ("user add", {"name": "berta", "password": "another long password", "admin": False}),
        ("allow", {"subject": "berta", "folder": "/d/", "verbs": "reader"}),
        ("token add", {"account": "berta", "label": "ci", "folders": ["/"], "verbs": "owner",
                       "expires_seconds": None}),
        ("quota set", {"folder": "/d/", "size": 10, "files": None}),
        ("user passwd", {"name": "berta", "password": "yet another password",
                         "keep_tokens": False}),
        ("quota remove", {"folder": "/d/"}),
        ("user ls", {}),
    ]  # fmt: skip
    for name, arguments in commands:
        await run_command(people.people, name, arguments)
    found = await entries(people)
    assert [entry["action"] for entry in found] == [name for name, _ in commands[:-1]]
    assert found[1]["name"] == "d/"
    assert found[3]["detail"] == {"size": 10}
    assert found[2]["detail"]["id"]
    assert all(entry["via"] == "command line" for entry in found)
    told = json.dumps(found)
    assert "another" not in told
    assert "cks_" not in told


async def test_nobody_else_reads_it(people: Site) -> None:
    for who, status in (("anna", 403), (None, 401)):
        assert await people.status(who, "GET", "/audit") == status
        assert await people.status(who, "HEAD", "/audit") == status
    assert await people.status("admin", "POST", "/audit") == 405
    wrong = ["since=x", "until=9999999", "after=1", "after=x-y", "limit=x", "limit=-1", "limit=0"]
    # PostgreSQL takes no text with it.
    wrong += ["name=%00", "actor=a%00", "action=%00"]
    for query in wrong:
        assert await people.status("admin", "GET", f"/audit?{query}") == 400, query


async def test_pages_lead_to_the_next(people: Site) -> None:
    for number in range(5):
        await people.people.audit.note(COMMAND_LINE, "test", f"{number}")
    url, seen = "/audit?limit=2&action=test", []
    while url:
        answer = await people.ask("admin", "GET", url)
        assert answer.headers["Content-Type"] == "application/jsonl"
        seen += [json.loads(line)["name"] for line in answer.body.splitlines()]
        link = answer.headers.get("Link", "")
        url = link.removeprefix("<").partition(">")[0]
    assert seen == [str(number) for number in range(5)]


async def test_an_open_store_tells_nothing_unless_asked(store: Store) -> None:
    for audited, expected in ((Audited.CLOSED, []), (Audited.ALWAYS, ["create"])):
        people = People.of(store, audited=audited)
        app = create_app(store, people=people, limits=FRESH)
        async with (
            TestClient(ServedAsInProduction(app)) as client,
            client.put(f"/files/{audited}", data=b"1") as response,
        ):
            assert response.status == 201
        found = await store.audit.list(AuditFilter())
        assert [entry.action for entry in found] == expected
        people.close()


async def test_never_is_never(store: Store) -> None:
    people = People.of(store, audited=Audited.NEVER)
    await run_command(people, "user add", {"name": "a", "password": None, "admin": True})
    assert await store.audit.list(AuditFilter()) == []
    people.close()
