"""Links of a folder: all that is in it, and nothing of where it is."""

from __future__ import annotations

from tests.http.links.conftest import Shared
from tests.http.steps import BROWSER

FOLDER = "/secret/plan/"


async def test_the_list_is_relative_to_the_folder(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    leads = await shared_site.by(link)
    assert (leads.status, leads.headers["Location"]) == (307, f"{link['path']}files/")
    listed = (await shared_site.by(link, rest="files/")).json
    assert [file["name"] for file in listed["files"]] == ["a.txt"]
    assert listed["folders"] == ["sub/"]
    flat = (await shared_site.by(link, rest="files/?delimiter=")).json
    assert [file["name"] for file in flat["files"]] == ["a.txt", "sub/b.txt"]
    below = (await shared_site.by(link, rest="files/sub/")).json
    assert [file["name"] for file in below["files"]] == ["sub/b.txt"]
    named = (await shared_site.by(link, rest="files/?prefix=su&delimiter=")).json
    assert [file["name"] for file in named["files"]] == ["sub/b.txt"]


async def test_pages_of_a_list_follow_each_other(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    first = await shared_site.by(link, rest="files/?delimiter=&limit=1")
    assert first.json["next"] == "a.txt"
    [url] = first.headers["Link"].split(";")[:1]
    assert url.strip("<>").startswith(f"{link['path']}files/?")
    second = await shared_site.ask(None, "GET", url.strip("<>"))
    assert [file["name"] for file in second.json["files"]] == ["sub/b.txt"]
    # A text that is no name leads nowhere else.
    other = await shared_site.by(link, rest="files/?delimiter=&after=/../../a")
    assert [file["name"] for file in other.json["files"]] == ["a.txt", "sub/b.txt"]


async def test_files_are_got_and_folders_led_to(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    assert (await shared_site.by(link, rest="files/sub/b.txt")).body == b"part b"
    leads = await shared_site.by(link, rest="files/sub")
    assert (leads.status, leads.headers["Location"]) == (307, f"{link['path']}files/sub/")
    assert (await shared_site.by(link, rest="files/nope")).status == 404
    assert (await shared_site.by(link, rest="files/nope/")).status == 404


async def test_nothing_can_be_changed(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    before = await shared_site.names("secret/")
    for method, rest in [
        ("PUT", "files/new"), ("PUT", "files/a.txt"), ("POST", "files/"), ("DELETE", "files/a.txt"),
        ("MOVE", "files/a.txt"), ("COPY", "files/a.txt"), ("MKCOL", "files/new/"),
        ("POST", "uploads"), ("POST", "visits"),
    ]:  # fmt: skip
        answer = await shared_site.by(
            link, method, rest, b"", Destination=f"{link['path']}files/copy",
            Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip
        assert answer.status in (400, 403, 405), (method, rest, answer)
    assert await shared_site.names("secret/") == before
    assert (await shared_site.by(link, rest="files/a.txt")).body == b"the plan"


async def test_the_page_shows_the_folder_and_no_way_out(shared_site: Shared) -> None:
    link = await shared_site.link(FOLDER)
    page = (await shared_site.by(link, rest="files/sub/", **BROWSER)).body.decode()
    assert f'href="{link["path"]}files/sub/b.txt"' in page
    assert 'data-name="sub/b.txt"' in page
    assert 'data-folder="sub/"' in page
    for absent in ("secret", "planned", "Sign in", "Delete", "Upload"):
        assert absent not in page
    titled = await shared_site.link(FOLDER, label="Our plan")
    page = (await shared_site.by(titled, rest="files/", **BROWSER)).body.decode()
    assert "Our plan" in page
    assert "secret" not in page


async def test_a_link_of_the_root_leads_everywhere_that_its_creator_may_share(
    shared_site: Shared,
) -> None:
    made = await shared_site.run("link add", account="admin", target="/")
    assert (await shared_site.by(made, rest="files/secret/planned")).body == b"not shared"


async def test_a_link_of_both_shows_the_folder_and_takes_files_in_one_of_each_visit(
    shared_site: Shared,
) -> None:
    link = await shared_site.link(FOLDER, both=True, files=1)
    assert [file["name"] for file in (await shared_site.by(link, rest="files/")).json["files"]] == [
        "a.txt"
    ]
    page = await shared_site.by(link, rest="files/", **BROWSER)
    assert f'action="{link["path"]}visits"'.encode() in page.body
    begun = await shared_site.by(link, "POST", "visits", {"name": "Berta"})
    mine = {"path": begun.headers["Location"]}
    assert b"everybody else who has it" in (await shared_site.by(mine, **BROWSER)).body
    assert (await shared_site.by(mine, "PUT", "files/x", b"x")).status == 201
    assert (await shared_site.by(mine, rest="files/x")).status == 403
    assert (await shared_site.by(link, "PUT", "files/a.txt", b"x")).kind == "link-full"
    [folder, _] = (await shared_site.by(link, rest="files/")).json["folders"]
    assert " Berta " in folder
    named = folder.replace(" ", "%20")
    assert (await shared_site.by(link, rest=f"files/{named}x")).body == b"x"
    assert (await shared_site.by(link, "DELETE", f"files/{named}x")).status == 405
    await shared_site.allow("anna", "secret/", "list,read,share")
    assert (await shared_site.by(link, rest="files/")).status == 404
