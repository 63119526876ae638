"""The list as a page for people, read as a browser reads it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from chunkstore.http.app import create_app, mount
from chunkstore.store.contract.store import Store
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import BROWSER, Client, exactly, names, on_shared_server, put, read

NASTY = sorted(
    [
        "<script>alert(1)<b>.html",
        '"><img src=x onerror=alert(1)>',
        "' onclick='alert(1)",
        "&lt;b&gt; &amp; &",
        "javascript:alert(1)",
        "{{ 7 * 7 }}{% raw %}",
        "--><!--",
        "a?b#c%20d+e;f",
        "%2e%2e%2f",
        "\u202egnp.exe",
        "ä 😀",
        "\\back\\slash",
        "`backtick`",
    ],
    key=str.encode,
)


# Elements of a page that shows files, and not of an empty one.
_OF_FILES = {"details", "summary", "form", "button", "time", "svg", "rect"}


@dataclass
class Link:
    """A link, with its text."""

    attributes: dict[str, str]
    text: str = ""


@dataclass
class Form:
    """A form, with the fields that a browser would send."""

    attributes: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a browser finds in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.links: list[Link] = []
        self.forms: list[Form] = []
        self.text = ""
        self._in_link = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        self.attributes.update(attributes)
        if "src" in attributes:
            self.sources.append(attributes["src"])
        # Those that lead nowhere yet are the script's, which fills them in.
        if tag in ("a", "link") and attributes.get("href"):
            self.links.append(Link(attributes))
            self._in_link = tag == "a"
        elif tag == "form":
            self.forms.append(Form(attributes))
        elif tag in ("button", "input") and "name" in attributes and self.forms:
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._in_link = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_link:
            self.links[-1].text += data

    def targets(self) -> dict[str, str]:
        """Return where the links of each text lead to."""
        return {link.text: link.attributes["href"] for link in self.links}

    def target_of_type(self, relation: str) -> str | None:
        """Return where the link with this `rel` leads to."""
        hrefs = [
            link.attributes["href"] for link in self.links if link.attributes.get("rel") == relation
        ]
        assert len(hrefs) <= 1
        return hrefs[0] if hrefs else None


async def browse(client: Client, url: str | URL, status: int = 200) -> Page:
    """Return the page at `url`."""
    async with client.get(url, headers=BROWSER) as response:
        assert response.status == status
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = directives_of(response.headers["Content-Security-Policy"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        text = await response.text()
    [nonce] = set(re.findall(r'nonce="([^"]*)"', text))
    assert len(nonce) >= 22
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "worker-src": "http://*:*/static/hasher.js",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "'self'",
        "media-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "hasher",
    }
    return Page(text)


def directives_of(policy: str) -> dict[str, str]:
    """Return what a Content-Security-Policy says of each thing."""
    pairs = (directive.split(maxsplit=1) for directive in policy.split(";"))
    return dict(pairs)


@on_shared_server
async def test_nasty_names_are_mere_text(shared: Client, name: str) -> None:
    plain = await browse(shared, "/files/")
    for nasty in NASTY:
        await put(shared, f"{name}/{quote(nasty)}")
        await put(shared, f"{name}/in/{quote(nasty)}/a")
    for folder in ("", "in/", *(f"in/{quote(nasty)}/" for nasty in NASTY)):
        page = await browse(shared, exactly(f"/files/{name}/{folder}"))
        # Nothing is there that is not there for plain names, or for any file at all.
        assert set(page.tags) <= {*plain.tags, *_OF_FILES}
        assert page.tags["script"] == 1
        assert page.sources == ["/static/page.js"]
        assert not {"onclick", "onerror", "style"} & page.attributes


@on_shared_server
async def test_links_lead_to_the_files(shared: Client, name: str) -> None:
    for nasty in NASTY:
        await put(shared, f"{name}/{quote(nasty)}", nasty.encode())
    page = await browse(shared, f"/files/{name}/")
    links = [link for link in page.links if link.text in NASTY]
    assert [link.text for link in links] == NASTY
    downloads = [link for link in page.links if "download" in link.attributes]
    assert len(downloads) == len(NASTY)
    for link, download in zip(links, downloads, strict=True):
        href = link.attributes["href"]
        assert download.attributes["href"] == href
        # No link can leave for another scheme or host.
        assert href.startswith(f"/files/{name}/")
        content = await read(shared, href.removeprefix("/files/"))
        assert content.decode() == link.text


@on_shared_server
async def test_links_lead_to_folders_and_back(shared: Client, name: str) -> None:
    for nasty in NASTY[::3]:
        await put(shared, f"{name}/{quote(nasty)}/b/a")
    folders = (await browse(shared, f"/files/{name}/")).targets()
    for nasty in NASTY[::3]:
        inner = (await browse(shared, exactly(folders[f"{nasty}/"]))).targets()
        back = (await browse(shared, exactly(inner["b/"]))).targets()
        assert back[nasty] == folders[f"{nasty}/"]
        assert back[name] == f"/files/{name}/"
        assert back["files"] == "/files/"


async def test_delete_buttons_delete(client: Client) -> None:
    for nasty in NASTY:
        await put(client, f"d/{quote(nasty)}")
    page = await browse(client, "/files/d/")
    buttons = [form for form in page.forms if "delete" in form.fields]
    assert [form.fields["delete"] for form in buttons] == [f"d/{nasty}" for nasty in NASTY]
    for form in buttons:
        assert form.attributes["method"] == "post"
        assert "enctype" not in form.attributes
        async with client.post(
            exactly(form.attributes["action"]),
            data=form.fields,
            headers=BROWSER,
            allow_redirects=False,
        ) as response:
            assert response.status == 303
            assert response.headers["Location"] == "/files/d/"
    assert await names(client) == []


@on_shared_server
async def test_upload_form_uploads_to_its_folder(shared: Client, name: str) -> None:
    await put(shared, f"{name}%20%C3%A4/old")
    page = await browse(shared, exactly(f"/files/{name}%20%C3%A4/"))
    [form] = [form for form in page.forms if "enctype" in form.attributes]
    assert form.attributes == {
        "class": "upload plain",
        "method": "post",
        "enctype": "multipart/form-data",
        "action": f"/files/{name}%20%C3%A4/",
    }
    # A browser sends fields in the order of the page, and the choice must come first.
    assert list(form.fields) == ["overwrite", "file"]
    assert form.fields["overwrite"]


@on_shared_server
async def test_next_page_is_linked(shared: Client, name: str) -> None:
    for nasty in NASTY:
        await put(shared, f"{name}/{quote(nasty)}")
    seen: list[str] = []
    href: str | None = f"/files/{name}/?limit=1"
    while href is not None:
        page = await browse(shared, exactly(href))
        seen += [link.text for link in page.links if link.text in NASTY]
        href = page.target_of_type("next")
    assert seen == NASTY


@on_shared_server
async def test_page_of_pages_varies_by_accept(shared: Client) -> None:
    response = await shared.get("/files/", headers=BROWSER)
    assert response.headers["Vary"] == "Accept"
    assert response.headers["Cache-Control"] == "no-cache"


@on_shared_server
@pytest.mark.parametrize(
    ("relation", "media_type"), [("stylesheet", "text/css"), ("icon", "image/svg+xml")]
)
async def test_parts_are_there(shared: Client, relation: str, media_type: str) -> None:
    page = await browse(shared, "/files/")
    href = page.target_of_type(relation)
    assert href is not None
    async with shared.get(href) as response:
        assert response.status == 200
        assert response.content_type == media_type
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@on_shared_server
async def test_script_is_there_and_so_is_all_that_it_imports(shared: Client) -> None:
    wanted, seen = {"page.js"}, set[str]()
    while wanted - seen:
        part = (wanted - seen).pop()
        async with shared.get(f"/static/{part}") as response:
            assert response.status == 200
            assert response.content_type == "text/javascript"
            wanted |= set(_PARTS.findall(await response.text()))
        seen.add(part)
    assert {"queue.js", "hasher.js"} <= seen


# What a module imports, and the worker that it starts.
_PARTS = re.compile(r'(?:from |new URL\()"(?:\./)?([a-z]+\.js)"')


@on_shared_server
async def test_worker_may_compile_webassembly_and_load_nothing(shared: Client) -> None:
    async with shared.get("/static/hasher.js") as response:
        policy = directives_of(response.headers["Content-Security-Policy"])
    assert policy == {"default-src": "'none'", "script-src": "'wasm-unsafe-eval'"}


async def test_worker_is_under_the_base_path(store: Store) -> None:
    app = mount(create_app(store), "/a,b;c/")
    async with (
        TestClient(ServedAsInProduction(app)) as client,
        client.get("/a,b;c/files/", headers=BROWSER) as response,
    ):
        policy = directives_of(response.headers["Content-Security-Policy"])
    # A comma or a semicolon would end the policy there.
    assert policy["worker-src"] == "http://*:*/a%2Cb%3Bc/static/hasher.js"


@on_shared_server
async def test_parts_are_sent_once(shared: Client) -> None:
    async with shared.get("/static/page.js") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
    for given, status in [(tag, 304), ('"other"', 200), ("*", 200)]:
        async with shared.get("/static/page.js", headers={"If-None-Match": given}) as response:
            assert response.status == status
            assert response.headers["ETag"] == tag


@on_shared_server
async def test_page_is_shorter_than_the_list(shared: Client, name: str) -> None:
    for number in range(201):
        await put(shared, f"{name}/{number:03}")
    page = await browse(shared, f"/files/{name}/")
    assert len([link for link in page.links if link.text.isdigit()]) == 200
    assert page.target_of_type("next") == f"/files/{name}/?after={name}/199"
    async with shared.get(f"/files/{name}/") as response:
        assert len((await response.json())["files"]) == 201


@on_shared_server
async def test_filter_narrows_the_page(shared: Client, name: str) -> None:
    for nasty in NASTY:
        await put(shared, f"{name}/{quote(nasty)}")
    for nasty in NASTY:
        page = await browse(shared, exactly(f"/files/{name}/?prefix={quote(nasty[:3], safe='')}"))
        assert nasty in [link.text for link in page.links]
        [form] = [form for form in page.forms if "prefix" in form.fields]
        assert form.fields["prefix"] == nasty[:3]
        assert form.attributes["action"] == f"/files/{name}/"
    assert "begins with “<b" in (await browse(shared, f"/files/{name}/?prefix=%3Cb")).text


async def test_start_page_is_the_root_folder(client: Client) -> None:
    assert "Nothing here yet." in (await browse(client, "/")).text
    await put(client, "d/a", b"x" * 2048)
    page = await browse(client, "/")
    assert page.targets()["d/"] == "/files/d/"
    assert "Nothing here yet." not in page.text
    page = await browse(client, "/files/d/")
    assert "2.0 KiB" in page.text
    assert page.targets()["a"] == "/files/d/a"


@on_shared_server
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/files/%3Cscript%3Ealert(1)%3C/script%3E", 404),
        ("/files/%3Cscript%3E/", 404),
        ("/%3Cscript%3E", 404),
        ("/files/%3Cscript%3E%00", 400),
        ("/files/?limit=%3Cscript%3E", 400),
    ],
)
async def test_error_is_a_page_too(shared: Client, path: str, status: int) -> None:
    page = await browse(shared, exactly(path), status)
    assert page.tags["script"] == 0
    assert page.targets()["All files"] == "/files/"


@on_shared_server
async def test_not_allowed_method_of_a_browser_is_a_page_with_allow(shared: Client) -> None:
    async with shared.put("/files/", headers=BROWSER) as response:
        assert response.status == 405
        assert response.content_type == "text/html"
        assert "POST" in response.headers["Allow"]
