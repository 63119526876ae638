"""The list of a folder as JSON: its fields, its parameters, its pages."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest
import pytest_asyncio
from yarl import URL

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.store.contract.store import Store
from tests.http import raw
from tests.http.steps import (
    BROWSER,
    Client,
    Json,
    exactly,
    next_of,
    on_shared_server,
    problem,
    put,
)
from tests.store.edits import put_of

# Lists are in the order of the names' UTF-8 bytes.
NAMES = sorted(
    [
        "!",
        "a",
        "a b",
        "a&after=x",
        "a+b",
        "a-b/c",
        "a.txt",
        "b/1",
        "b/2",
        "b/c/d",
        "b0",
        "z",
        "{",
        "ä",
        "\ud7ff",
        "\ue000",
        "😀",
    ],
    key=str.encode,
)
FOLDERS = ["a-b/", "b/"]
ROOT = "/files/list/"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listed(shared: Client) -> Client:
    """Return the client of a server that has a folder with files of all NAMES."""
    for name in reversed(NAMES):
        await put(shared, f"list/{quote(name)}", name.encode())
    return shared


async def page(client: Client, path: str, **parameters: str) -> Json:
    """Return the list as the server tells it."""
    async with client.get(exactly(path), params=parameters) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        told: Json = await response.json()
        return told


async def follow(client: Client, path: str, **parameters: str) -> list[Json]:
    """Return all pages of a list, from link to link."""
    told = []
    url: URL | None = client.make_url(path).with_query(parameters)
    while url is not None:
        async with client.session.get(url) as response:
            assert response.status == 200
            told.append(await response.json())
            url = next_of(response)
            assert (told[-1]["next"] is None) == (url is None)
    return told


def entries(told: Json, root: str = ROOT) -> list[str]:
    """Return what the list has, files and folders in one order, without the folder's own name."""
    prefix = root.removeprefix("/files/")
    found = [file["name"] for file in told["files"]] + told["folders"]
    assert all(entry.startswith(prefix) for entry in found)
    return sorted((entry.removeprefix(prefix) for entry in found), key=str.encode)


@on_shared_server
async def test_fields_of_a_file(shared: Client, name: str) -> None:
    put_told = await put(shared, f"{name}/a.txt", b"hello")
    told = await page(shared, f"/files/{name}/")
    assert set(told) == {"files", "folders", "next"}
    assert (told["folders"], told["next"]) == ([], None)
    [file] = told["files"]
    assert datetime.fromisoformat(file["modified"]).tzinfo is not None
    assert file == {
        "name": f"{name}/a.txt",
        "size": 5,
        # From `b3sum`.
        "digest": "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
        "media_type": "text/plain; charset=utf-8",
        "modified": put_told["modified"],
    }


@on_shared_server
async def test_one_level_in_order(listed: Client) -> None:
    told = await page(listed, ROOT)
    top = [name for name in NAMES if "/" not in name]
    assert [file["name"] for file in told["files"]] == [f"list/{name}" for name in top]
    assert told["folders"] == [f"list/{folder}" for folder in FOLDERS]


@on_shared_server
async def test_all_levels_in_order(listed: Client) -> None:
    told = await page(listed, ROOT, delimiter="")
    assert [file["name"] for file in told["files"]] == [f"list/{name}" for name in NAMES]
    assert told["folders"] == []


@on_shared_server
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"prefix": "a"}, ["a", "a b", "a&after=x", "a+b", "a-b/", "a.txt"]),
        ({"prefix": "a+"}, ["a+b"]),
        ({"prefix": "b"}, ["b/", "b0"]),
        ({"prefix": "b/"}, ["b/1", "b/2", "b/c/"]),
        ({"prefix": "b/c/"}, ["b/c/d"]),
        ({"prefix": "b/", "delimiter": ""}, ["b/1", "b/2", "b/c/d"]),
        ({"prefix": "ä"}, ["ä"]),
        ({"prefix": "a\u0308"}, ["ä"]),
        ({"prefix": "nothing"}, []),
        ({"prefix": "\0"}, []),
        ({"delimiter": "a", "prefix": "a"}, ["a", "a b", "a&a", "a+b", "a-b/c", "a.txt"]),
        ({"delimiter": "c/", "prefix": "b"}, ["b/1", "b/2", "b/c/", "b0"]),
        ({"after": "list/b0"}, ["z", "{", "ä", "\ud7ff", "\ue000", "😀"]),
        ({"after": "list/b/"}, ["b0", "z", "{", "ä", "\ud7ff", "\ue000", "😀"]),
        ({"after": "list/b/1", "prefix": "b"}, ["b0"]),
        ({"after": "list/b/1", "prefix": "b", "delimiter": ""}, ["b/2", "b/c/d", "b0"]),
        ({"after": "list/y"}, ["z", "{", "ä", "\ud7ff", "\ue000", "😀"]),
        ({"after": "a", "prefix": "b"}, ["b/", "b0"]),
        ({"after": "zzz"}, []),
        ({"after": "list/\U0010ffff"}, []),
    ],
    ids=str,
)
async def test_parameters(listed: Client, parameters: dict[str, str], expected: list[str]) -> None:
    told = await page(listed, ROOT, **parameters)
    assert entries(told) == expected
    assert told["next"] is None


@on_shared_server
@pytest.mark.parametrize("limit", [1, 2, 7, 16])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_pages_by_link_have_everything_once(
    listed: Client, limit: int, delimiter: str
) -> None:
    pages = await follow(listed, ROOT, limit=str(limit), delimiter=delimiter)
    assert all(len(entries(told)) == limit for told in pages[:-1])
    assert 0 < len(entries(pages[-1])) <= limit
    found = [entry for told in pages for entry in entries(told)]
    assert found == entries(await page(listed, ROOT, delimiter=delimiter))


@on_shared_server
async def test_pages_by_cursor_have_everything_once(listed: Client) -> None:
    expected = entries(await page(listed, ROOT))
    told = await page(listed, ROOT, limit="2")
    found = entries(told)
    while told["next"] is not None:
        told = await page(listed, ROOT, limit="2", after=told["next"])
        found += entries(told)
    assert found == expected


@on_shared_server
async def test_page_that_ends_with_the_list_has_no_next(shared: Client, name: str) -> None:
    for letter in "abc":
        await put(shared, f"{name}/{letter}")
    assert (await page(shared, f"/files/{name}/", limit="2"))["next"] == f"{name}/b"
    assert (await page(shared, f"/files/{name}/", limit="3"))["next"] is None


@on_shared_server
async def test_paging_goes_on_when_the_cursor_is_deleted(shared: Client, name: str) -> None:
    for letter in "abcd":
        await put(shared, f"{name}/{letter}")
    cursor = (await page(shared, f"/files/{name}/", limit="2"))["next"]
    await shared.delete(f"/files/{name}/b")
    told = await page(shared, f"/files/{name}/", after=cursor)
    assert entries(told, f"/files/{name}/") == ["c", "d"]


@on_shared_server
async def test_paging_goes_on_when_a_folder_grows_before_the_cursor(
    shared: Client, name: str
) -> None:
    for path in ("a/1", "b"):
        await put(shared, f"{name}/{path}")
    cursor = (await page(shared, f"/files/{name}/", limit="1"))["next"]
    assert cursor == f"{name}/a/"
    await put(shared, f"{name}/a/2")
    told = await page(shared, f"/files/{name}/", after=cursor)
    assert entries(told, f"/files/{name}/") == ["b"]


@on_shared_server
@pytest.mark.parametrize("limit", ["1", "5", "1000", "007"])
async def test_limit_that_is_possible(listed: Client, limit: str) -> None:
    told = await page(listed, ROOT, limit=limit)
    assert len(entries(told)) == min(int(limit), len(entries(await page(listed, ROOT))))


@on_shared_server
@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "1001",
        "-1",
        "+1",
        "1.0",
        "1e2",
        "abc",
        "",
        " 1",
        "1_0",
        "٣",
        "1" * 5000,
        "00000",
        # What is cut off for the comparison must not come back in the number.
        "010001",
        "0100099999",
        "00001" + "9" * 5000,
    ],
    ids=lambda limit: limit[:20],
)
async def test_limit_that_is_not_possible(listed: Client, limit: str) -> None:
    response = await listed.get(ROOT, params={"limit": limit})
    assert "limit" in (await problem(response, 400))["detail"]


async def test_no_page_has_more_than_a_thousand_entries(client: Client, store: Store) -> None:
    chunk = Chunk.of(b"x")
    commits = [
        put_of(store.contents.begin(), [chunk], Digest.of(b"x"), 1, FileName(f"{number:04}"), "a/b")
        for number in range(1002)
    ]
    await store.names.apply(commits)
    for parameters in ({}, {"limit": "1000"}):
        told = await page(client, "/files/", **parameters)
        assert len(told["files"]) == 1000
        assert told["next"] == "0999"
    told = await page(client, "/files/", after="0999")
    assert [file["name"] for file in told["files"]] == ["1000", "1001"]


async def test_root_is_an_empty_list_at_first(client: Client) -> None:
    for path in ("/", "/files/"):
        assert await page(client, path) == {"files": [], "folders": [], "next": None}


async def test_start_page_is_the_root_folder(client: Client) -> None:
    for name in ("a", "b/c", "d"):
        await put(client, name)
    assert await page(client, "/") == await page(client, "/files/")
    pages = await follow(client, "/", limit="1")
    assert [entries(told, "/files/") for told in pages] == [["a"], ["b/"], ["d"]]


@on_shared_server
async def test_missing_folder_is_not_found(shared: Client, name: str) -> None:
    await problem(await shared.get(f"/files/{name}/"), 404)
    await problem(await shared.get(f"/files/{name}/", params={"prefix": "a"}), 404)


@on_shared_server
async def test_folder_under_a_file_is_not_found(shared: Client, name: str) -> None:
    await put(shared, name)
    await problem(await shared.get(f"/files/{name}/"), 404)


@on_shared_server
@pytest.mark.parametrize(
    "parameters",
    [
        b"after=%00",
        b"after=%ff",
        b"after=%ed%a0%80",
        b"prefix=%ff",
        b"prefix=%ed%a0%80",
        b"delimiter=%ff",
        b"delimiter=%00",
        b"after=%",
        b"prefix=%zz",
        b"prefix=..%2f..%2f",
        b"prefix=%25",
        b"&&=&a",
        b"limit=1&limit=2",
        b"after=a&after=b",
        b"after=" + b"%f0%9f%98%80" * 500,
        b"delimiter=" + b"a" * 5000,
    ],
    ids=lambda parameters: parameters.decode()[:30],
)
async def test_odd_parameters_are_no_defect(listed: Client, parameters: bytes) -> None:
    octets = raw.request("GET", ROOT.encode() + b"?" + parameters)
    answer = await raw.ask(listed, octets)
    assert answer.status in (200, 400)
    assert isinstance(answer.json(), dict)


@on_shared_server
@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (None, False),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/*", True),
        (BROWSER["Accept"], True),
        ("application/json, text/html", False),
        ("text/html, application/json;q=0.9", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0", False),
        ("text/html; q=0.2, */*; q=0.1", True),
        ("text/html;q=nonsense", False),
        ("text/html;q=nan", False),
        ("image/png", False),
        ("text/html;level=1", True),
        (",,;q=1,text/html", True),
    ],
)
async def test_html_or_json(listed: Client, accept: str | None, html: bool) -> None:
    lines = [] if accept is None else [f"Accept: {accept}"]
    answer = await raw.ask(listed, raw.request("GET", ROOT, *lines))
    assert answer.status == 200
    assert answer.headers.get_content_type() == ("text/html" if html else "application/json")
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-cache"


@on_shared_server
async def test_accept_of_several_lines(listed: Client) -> None:
    lines = ("Accept: application/json;q=0.5", "Accept: text/html")
    answer = await raw.ask(listed, raw.request("GET", ROOT, *lines))
    assert answer.headers.get_content_type() == "text/html"


@on_shared_server
async def test_cursor_of_a_page_is_ascii_in_the_header(listed: Client) -> None:
    response = await listed.get(ROOT, params={"after": "list/{", "limit": "1"})
    link = response.headers["Link"]
    assert link.isascii()
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    target = link[1:].partition(">")[0]
    assert URL(target, encoded=True).query["after"] == "list/ä"
