"""Who is told of write locks, and who may break them, where there are accounts."""

from __future__ import annotations

import json

import pytest

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.locks import WantedLock
from tests.http.access.people import Answer, Site
from tests.http.steps import BROWSER

OWNER = "<o>Anna Bell</o>"


@pytest.fixture
async def team(site: Site) -> Site:
    """Return a site on which anna has locked `t/a`, and the folder `t/f/` with all in it."""
    for name in ("t/a", "t/f/x", "hr/pay"):
        assert await site.status("admin", "PUT", f"/files/{name}", data=b"x") == 201
    for who, folder, verbs in (
        ("anna", "t/", "editor"),
        ("bert", "t/", "editor"),
        ("cleo", "t/", "reader"),
        ("dora", "t/", "list,admin"),
        ("emil", "t/f/", "list,create"),
    ):
        await site.add(who)
        await site.allow(who, folder, verbs)
    for path in ("t/a", "t/f/"):
        answer = await site.ask("anna", "LOCK", f"/dav/{path}", data=info(), Depth="infinity")
        assert answer.status == 200
    return site


def info() -> str:
    return (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype>'
        "<D:write/></D:locktype><D:owner>Anna Bell</D:owner></D:lockinfo>"
    )


async def page(site: Site, who: str, path: str) -> str:
    answer = await site.ask(who, "GET", path, **BROWSER)
    assert answer.status == 200
    return " ".join(answer.body.decode().replace("<bdi>", "").replace("</bdi>", "").split())


async def token_of(site: Site, path: str) -> str:
    [lock] = [each for each in await site.store.locks.list() if each.root == path]
    return lock.token


async def unlock(site: Site, who: str | None, name: str, token: str) -> Answer:
    """Send the form by which the page breaks a lock."""
    folder = name[: name.rindex("/") + 1]
    fields = {"unlock": f"/{name}", "token": token}
    return await site.ask(who, "POST", f"/files/{folder}", data=fields)


async def roots(site: Site) -> list[str]:
    return [lock.root for lock in await site.store.locks.list()]


async def test_who_sees_a_name_is_told_who_says_to_have_locked_it(team: Site) -> None:
    for who in ("bert", "cleo", "dora", "admin"):
        shown = await page(team, who, "/files/t/")
        assert shown.count("locked by Anna Bell until") == 2, who
        # No account is told, as WebDAV tells none.
        assert "anna" not in shown
    assert "locked by you until" in await page(team, "anna", "/files/t/")
    shown = await page(team, "emil", "/files/t/f/")
    assert "This folder is" in shown


async def test_who_may_break_a_lock_finds_how(team: Site) -> None:
    for who, count in (("anna", 2), ("admin", 2), ("dora", 2), ("bert", 0), ("cleo", 0)):
        shown = await page(team, who, "/files/t/")
        assert shown.count('name="unlock"') == count, who
        assert shown.count("data-tokens=") == count, who
        assert (await token_of(team, "t/a") in shown) is (count > 0)


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("bert", 403),
        ("cleo", 403),
        ("emil", 404),
        (None, 401),
        ("anna", 200),
        ("dora", 200),
        ("admin", 200),
    ],
)
async def test_who_may_break_a_lock(team: Site, who: str | None, status: int) -> None:
    for name in ("t/a", "t/f/"):
        token = await token_of(team, name.removesuffix("/"))
        answer = await unlock(team, who, name, token)
        wanted = 403 if (who, name) == ("emil", "t/f/") else status
        assert answer.status == wanted, (name, answer.body)
    assert await roots(team) == ([] if status == 200 else ["t/a", "t/f"])


async def test_of_several_all_are_broken_or_none(team: Site) -> None:
    anna = (await team.store.locks.list())[0].principal
    shared = [
        await team.store.locks.take(WantedLock(FileName("t/b"), True, False, OWNER, principal))
        for principal in (anna, "somebody else")
    ]
    body = "&".join(["unlock=/t/b", *(f"token={taken.lock.token}" for taken in shared)])
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for who, status in (("anna", 403), ("dora", 200)):
        assert await team.status(who, "POST", "/files/t/", data=body, **form) == status
        assert ("t/b" in await roots(team)) is (status == 403)


async def test_the_audit_log_tells_who_broke_the_lock_of_somebody_else(team: Site) -> None:
    await unlock(team, "anna", "t/a", await token_of(team, "t/a"))
    await unlock(team, "dora", "t/f/", await token_of(team, "t/f"))
    taken = await team.store.locks.take(WantedLock(FileName("t/a"), True, True, OWNER, "x"))
    tagged = f"<{taken.lock.token}>"
    assert await team.status("admin", "UNLOCK", "/dav/t/a", Lock_Token=tagged) == 204
    answer = await team.ask("admin", "GET", "/audit")
    entries = [json.loads(line) for line in answer.body.splitlines()]
    told = [one for one in entries if one["action"] == "locks break"]
    assert {(one["actor"], one["name"]) for one in told} == {("dora", "t/f/"), ("admin", "t/a")}


async def test_who_administers_a_folder_ends_its_locks_by_unlock_too(team: Site) -> None:
    await team.allow("dora", "t/", "list,write,admin")
    token = f"<{await token_of(team, 't/a')}>"
    assert await team.status("bert", "UNLOCK", "/dav/t/a", Lock_Token=token) == 403
    assert await team.status("dora", "UNLOCK", "/dav/t/a", Lock_Token=token) == 204


async def test_a_refusal_tells_of_locks_that_one_may_know_of(team: Site) -> None:
    for who, yours in (("bert", False), ("anna", True)):
        answer = await team.ask(who, "PUT", "/files/t/a", data=b"x")
        assert answer.status == 423
        [told] = answer.json["locks"]
        assert (told["name"], told["owner"], told["yours"]) == ("/t/a", "Anna Bell", yours)
        assert ("by you" in answer.json["detail"]) is yours
        assert "anna" not in answer.body.decode()
    await team.store.locks.take(WantedLock(FolderName("hr/"), True, True, OWNER, "x"))
    # A lock on the root folder would tell nothing of what is hidden, this one would.
    await team.allow("bert", "", "editor")
    await team.allow("bert", "hr/", "-")
    answer = await team.ask("bert", "DELETE", "/files/hr/")
    assert answer.status in (403, 404)
    assert b"Anna" not in answer.body


async def test_administration_shows_locks_and_breaks_those_shown(team: Site) -> None:
    shown = await page(team, "dora", "/admin/locks")
    assert "<strong>/t/a</strong>" in shown
    assert "anna, “Anna Bell”" in shown
    assert "with all in it" in shown
    token = await token_of(team, "t/a")
    arguments = {"folder": "/t/a", "tokens": [token]}
    for tokens, left in ((["lock:other"], 2), ([token], 1), ([token], 1)):
        answer = await team.ask(
            "dora",
            "POST",
            "/access/locks/break",
            data=json.dumps({**arguments, "tokens": tokens}),
            Content_Type="application/json",
        )
        assert answer.status == 200, answer.body
        assert len(await roots(team)) == left
    assert "/t/a" not in await page(team, "dora", "/admin/locks")
    assert "No locks." in await page(team, "dora", "/admin/locks?find=bert")
    assert "/t/f/" in await page(team, "dora", "/admin/locks?find=ANNA")
    assert await team.status("bert", "GET", "/admin/locks") == 403
