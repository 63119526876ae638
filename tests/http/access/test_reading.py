"""What may be read and listed, and that nothing else is told."""

from __future__ import annotations

import json

import pytest

from tests.http.access.people import Site
from tests.http.steps import BROWSER

FILES = ["a", "c/d/x", "c/d/y", "c/e", "c/h/secret", "hr/pay", "hr/plan", "z"]


@pytest.fixture
async def filled(site: Site) -> Site:
    """Return the server with files, `reader` of all but `hr/` and `c/h/`, and `deep` of `c/d/`."""
    for name in FILES:
        assert await site.status("admin", "PUT", f"/files/{name}", data=name.encode()) == 201
    await site.add("reader")
    await site.allow("reader", "", "reader")
    await site.allow("reader", "hr/", "-")
    await site.allow("reader", "c/h/", "-")
    await site.add("deep")
    await site.allow("deep", "c/d/", "reader")
    return site


async def listed(site: Site, who: str | None, path: str, **query: str) -> list[str]:
    """Return the names of all pages of a list."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        async with site.client.get(
            path, params={**query, **after}, headers=site.headers_of(who)
        ) as response:
            assert response.status == 200, await response.text()
            page = await response.json()
        found += sorted([*page["folders"], *(file["name"] for file in page["files"])])
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


@pytest.mark.parametrize("limit", ["1", "2", "1000"])
async def test_lists_show_what_may_be_seen(filled: Site, limit: str) -> None:
    assert await listed(filled, "reader", "/files/", limit=limit) == ["a", "c/", "z"]
    flat = ["a", "c/d/x", "c/d/y", "c/e", "z"]
    assert await listed(filled, "reader", "/files/", limit=limit, delimiter="") == flat
    assert await listed(filled, "reader", "/files/c/", limit=limit) == ["c/d/", "c/e"]
    assert await listed(filled, "reader", "/files/", limit=limit, prefix="h") == []
    assert await listed(filled, "reader", "/files/", limit=limit, prefix="c/h/s") == []
    assert await listed(filled, "admin", "/files/", limit=limit, delimiter="") == FILES


@pytest.mark.parametrize("limit", ["1", "1000"])
async def test_a_folder_that_leads_to_one_shows_just_that(filled: Site, limit: str) -> None:
    """dufs #263 showed the siblings of what was granted."""
    assert await listed(filled, "deep", "/", limit=limit) == ["c/"]
    assert await listed(filled, "deep", "/files/c/", limit=limit) == ["c/d/"]
    assert await listed(filled, "deep", "/files/c/d/", limit=limit) == ["c/d/x", "c/d/y"]
    flat = await listed(filled, "deep", "/files/", limit=limit, delimiter="")
    assert flat == ["c/d/x", "c/d/y"]
    assert await filled.status("deep", "GET", "/files/hr/") == 404
    assert await filled.status("deep", "GET", "/files/c/h/") == 404
    assert await filled.status("deep", "GET", "/files/c") == 307


async def test_a_file_that_lies_beside_the_end_of_a_region_is_listed(site: Site) -> None:
    """`h0` comes directly behind all names below `h/`."""
    for name in ("h/x", "h0", "g", "h!"):
        await site.status("admin", "PUT", f"/files/{name}", data=b"")
    await site.add("reader")
    await site.allow("reader", "", "reader")
    await site.allow("reader", "h/", "-")
    assert await listed(site, "reader", "/files/", delimiter="") == ["g", "h!", "h0"]
    assert await listed(site, "reader", "/files/") == ["g", "h!", "h0"]


async def test_the_page_shows_what_may_be_seen(filled: Site) -> None:
    page = await filled.ask("deep", "GET", "/", **BROWSER)
    assert b"c/" in page.body
    for hidden in (b"hr/", b"secret", b"given in"):
        assert hidden not in page.body
    assert page.headers["Cache-Control"] == "private, no-cache"


async def test_who_may_list_and_not_read_gets_no_digest(filled: Site) -> None:
    await filled.add("lister")
    await filled.allow("lister", "c/", "list")
    answer = await filled.ask("lister", "GET", "/files/c/")
    [file] = json.loads(answer.body)["files"]
    assert file["digest"] is None
    digest = json.loads((await filled.ask("admin", "GET", "/files/c/")).body)["files"][0]["digest"]
    page = await filled.ask("lister", "GET", "/files/c/", **BROWSER)
    assert page.status == 200
    assert digest.encode() not in page.body
    assert await filled.status("lister", "GET", "/files/c/e") == 403


async def test_what_lacks_is_named(filled: Site) -> None:
    answer = await filled.ask("reader", "DELETE", "/files/a")
    assert answer.status == 403
    assert "to delete 'a'" in json.loads(answer.body)["detail"]
    answer = await filled.ask("reader", "PUT", "/files/a", data=b"")
    assert "to create and write 'a'" in json.loads(answer.body)["detail"]


async def test_answers_by_rights_are_kept_from_shared_caches(filled: Site) -> None:
    for path in ("/files/a", "/files/", "/manifests/a", "/files/c/d/x"):
        answer = await filled.ask("reader", "GET", path)
        assert answer.headers["Cache-Control"] == "private, no-cache", path
    etag = (await filled.ask("reader", "GET", "/files/a")).headers["ETag"]
    again = await filled.ask("reader", "GET", "/files/a", If_None_Match=etag)
    assert (again.status, again.headers["Cache-Control"]) == (304, "private, no-cache")


async def test_health_is_told_to_strangers_without_details(filled: Site) -> None:
    assert await filled.status(None, "GET", "/health/live") == 200
    stranger = await filled.ask(None, "GET", "/health/ready")
    assert json.loads(stranger.body) == {"status": "ok"}
    assert "tasks" in json.loads((await filled.ask("admin", "GET", "/health/ready")).body)
    assert await filled.status("reader", "GET", "/stats") == 403
    assert await filled.status(None, "GET", "/stats") == 401


async def test_a_folder_whose_content_is_hidden_is_one_that_is_not_there(filled: Site) -> None:
    await filled.allow("reader", "c/h/", "list,read")
    await filled.allow("reader", "c/h/in/", "-")
    await filled.status("admin", "PUT", "/files/g/in/x", data=b"")
    await filled.allow("reader", "g/in/", "-")
    await filled.allow("reader", "missing/in/", "-")
    there = await filled.ask("reader", "GET", "/files/g/")
    missing = await filled.ask("reader", "GET", "/files/missing/")
    assert there.status == missing.status == 404
    assert there.body == missing.body.replace(b"missing", b"g")
    assert "g/" not in await listed(filled, "reader", "/files/")
