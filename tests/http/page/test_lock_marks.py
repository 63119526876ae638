"""What the page of a folder says of write locks, and how they are broken by its forms."""

from __future__ import annotations

import re
from urllib.parse import quote

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.contract.store import Store
from tests.http.page.test_page import NASTY, Page, browse
from tests.http.steps import BROWSER, Client, exactly, put
from tests.store.rows import Rows

EVIL = "<o>&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt; \" ' {{ 7 * 7 }}</o>"


async def lock(store: Store, name: str, owner: str = "<o>Anna</o>", **more: bool) -> str:
    """Take a lock; return its token."""
    typed = FolderName(name) if name == "" or name.endswith("/") else FileName(name)
    deep, exclusive = more.get("deep", True), more.get("exclusive", True)
    return (await store.locks.take(WantedLock(typed, deep, exclusive, owner))).lock.token


async def press(client: Client, page: Page, name: str) -> int:
    """Send the form of a page that breaks the locks on a name, as a browser does."""
    [form] = [form for form in page.forms if form.fields.get("unlock") == f"/{name}"]
    assert form.attributes["method"] == "post"
    async with client.post(
        exactly(form.attributes["action"]),
        data=form.fields,
        headers=BROWSER,
        allow_redirects=False,
    ) as response:
        assert response.headers.get("Location") in (form.attributes["action"], None)
        return response.status


async def roots(store: Store) -> list[str]:
    return [lock.root for lock in await store.locks.list()]


async def test_locked_names_are_marked(store: Store, client: Client) -> None:
    await put(client, "d/a")
    await put(client, "d/b/c")
    await put(client, "d/free")
    assert "locked" not in (await browse(client, "/files/d/")).text
    await lock(store, "d/a")
    await lock(store, "d/b/", "<o><n>Bert</n><n>B</n></o>")
    # Of what is deeper, and of names that only begin so, nothing is said here.
    await lock(store, "d/free.txt")
    await lock(store, "da", "<o>elsewhere</o>")
    text = (await browse(client, "/files/d/")).text
    assert re.findall(r"locked by ([\w ]+) until (\d\d:\d\d UTC)", text) == [
        ("Bert B", text[text.index("UTC") - 6 :][:9]),
        ("Anna", text[text.index("UTC") - 6 :][:9]),
    ]
    # In the folder all that is locked is told once.
    text = (await browse(client, "/files/d/b/")).text
    assert "/d/b/ is" not in text
    assert text.count("locked by Bert B") == 1
    assert "This folder is locked" in " ".join(text.split())
    assert "nobody else can change anything in it" in text


async def test_what_covers_the_folder_is_told_above(store: Store, client: Client) -> None:
    await put(client, "d/e/a")
    await lock(store, "d/e/", "", deep=False, exclusive=False)
    await lock(store, "d/", "<o>Cleo</o>", deep=False, exclusive=False)
    text = " ".join((await browse(client, "/files/d/e/")).text.split())
    assert "This folder is locked until" in text
    assert "add, rename or delete anything directly in it" in text
    # That of the folder above is of its members alone.
    assert "Cleo" not in text
    await lock(store, "", "<o>Dora</o>", exclusive=False)
    page = await browse(client, "/files/d/e/")
    assert "/ is locked by Dora until" in " ".join(page.text.split())
    assert await press(client, page, "") == 303
    assert await roots(store) == ["d", "d/e"]
    page = await browse(client, "/files/d/")
    assert await press(client, page, "d/") == 303
    assert await press(client, page, "d/e/") == 303
    assert await roots(store) == []


async def test_shared_locks_are_told_together(store: Store, client: Client) -> None:
    await put(client, "a")
    for owner in ("Anna", "Bert", "", "Anna", "Cleo", "Dora", "Emil"):
        await lock(store, "a", f"<o>{owner}</o>", exclusive=False)
    page = await browse(client, "/files/")
    told = re.search(r"locked by (.*?) until", " ".join(page.text.split()))
    assert told is not None
    assert told[1].count(",") == 2
    assert told[1].endswith("and 2 more")


async def test_owners_and_names_are_mere_text(store: Store, client: Client) -> None:
    plain = await browse(client, "/files/")
    for nasty in NASTY:
        await put(client, f"d/{quote(nasty)}")
        await lock(store, f"d/{nasty}", EVIL)
    page = await browse(client, "/files/d/")
    others = {"details", "summary", "form", "button", "time", "bdi", "svg", "rect"}
    assert set(page.tags) <= {*plain.tags, *others}
    assert page.tags["script"] == 1
    assert not {"onclick", "onerror", "style"} & page.attributes
    assert page.text.count("<script>alert(1)</script><b> \" ' {{ 7 * 7 }}") == len(NASTY)
    for nasty in NASTY:
        assert await press(client, page, f"d/{nasty}") == 303
    assert await roots(store) == []


async def test_what_was_shown_is_broken_and_nothing_since(store: Store, client: Client) -> None:
    await put(client, "a")
    await lock(store, "a")
    page = await browse(client, "/files/")
    assert await press(client, page, "a") == 303
    # Somebody else has broken it, or it has ended by itself: it is gone, as was wanted.
    assert await press(client, page, "a") == 303
    await lock(store, "a", "<o>Bert</o>")
    assert await press(client, page, "a") == 303
    assert await roots(store) == ["a"]
    assert "locked by Bert" in " ".join((await browse(client, "/files/")).text.split())


async def test_what_has_expired_is_not_told(store: Store, client: Client, rows: Rows) -> None:
    await put(client, "a")
    await lock(store, "a")
    page = await browse(client, "/files/")
    await rows.expire_locks()
    assert "locked" not in (await browse(client, "/files/")).text
    assert await press(client, page, "a") == 303


async def test_forms_that_are_no_button_of_the_page(store: Store, client: Client) -> None:
    await put(client, "d/a")
    await put(client, "b")
    token = await lock(store, "d/a")
    for folder, fields in (
        ("", {"unlock": "/d/a"}),
        ("", {"token": token}),
        ("", {"unlock": "d/a", "token": token, "delete": "b"}),
        ("", {"unlock": "", "token": token}),
        ("", {"unlock": "//", "token": token}),
        ("", {"unlock": "/../d/a", "token": token}),
        ("d/", {"unlock": "/b", "token": token}),
        ("d/", {"unlock": "/", "token": token}),
    ):
        async with client.post(f"/files/{folder}", data=fields) as response:
            assert response.status == 400, fields
    # Not of another name, nor of one that it covers only.
    for name in ("/b", "/d/a/", "/d/a/x", "/d/"):
        async with client.post("/files/", data={"unlock": name, "token": token}) as response:
            assert response.status == 200
    assert await roots(store) == ["d/a"]
    fields = {"unlock": "/d/a", "token": token}
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    async with client.post("/files/", data=fields, headers=headers) as response:
        assert response.status == 403
    assert await roots(store) == ["d/a"]


async def test_who_is_refused_is_told_by_whom(store: Store, client: Client) -> None:
    await put(client, "d/a")
    await lock(store, "d/a", EVIL)
    async with client.delete("/files/d/a") as response:
        body = await response.json()
        assert response.status == 423
    [told] = body["locks"]
    assert told["name"] == "/d/a"
    assert told["owner"].startswith("<script>")
    assert told["yours"] is False
    assert "'/d/a' is locked by '<script>" in body["detail"]
    form = {"delete": "d/a"}
    async with client.post("/files/d/", data=form, headers=BROWSER) as response:
        assert response.status == 423
        page = Page(await response.text())
    assert page.tags["script"] == 0
    assert "Go back" in page.text
