"""The table of needs: every route and method has one, and nobody gets by without it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from aiohttp import web

import chunkstore.http
from chunkstore.core.access import EVERYTHING
from chunkstore.http import create_app
from chunkstore.http.security.needs import NEEDS, find_need
from chunkstore.http.security.rights import ROUTE_NEEDS, nothing, refused
from chunkstore.store.contract.store import Store
from tests.http.access.people import Site

# What is told to everybody, because nothing of what is stored is in it.
OPEN = {
    "/login",
    "/login/code",
    "/login/oidc",
    "/login/oidc/begin",
    "/logout",
    "/static/{name}",
    "/health/live",
    "/health/ready",
    "/files",
    "/{path}",
    "/s/{link}",
    "/s/{link}/password",
}
# Those of links: tests/http/links/test_routes.py.
BY_LINK = "/s/{link}"
# What is in the places of a path that are named by it.
FILLED = {"{name}": "n", "{folder}": "d/", "{entry}": "v1/cache/e", "{upload}": "u", "{path}": "p"}
METHODS = [
    "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "COPY", "MOVE", "MKCOL", "PROPFIND",
    "PROPPATCH", "LOCK", "UNLOCK",
]  # fmt: skip


def destination_of(path: str) -> str:
    """Return where to copy or move what a path leads to."""
    return "/dav/other" if path.startswith("/dav") else "/files/other"


def routes(app: web.Application) -> list[tuple[str, str]]:
    """Return every path and method that the application answers."""
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        found.append((route.resource.canonical, route.method))
    return found


async def test_every_route_and_method_has_a_need(store: Store) -> None:
    app = create_app(store)
    found = routes(app)
    assert len(found) > 60
    for path, method in found:
        need = find_need(path, method)
        assert need is not refused, (path, method)
        if need is nothing:
            # At the root of the server WebDAV is told nothing but where the drive is.
            is_told = (path, method) == ("/", "PROPFIND") or path in OPEN
            assert method in ("OPTIONS", "*") or is_told, (path, method)
    assert app[ROUTE_NEEDS].keys() == set(app.router.routes())
    # Nor is there one of a route that is not there any more.
    assert set(NEEDS) == {path for path, _ in found}
    for path, of_route in NEEDS.items():
        assert {(path, method) for method in of_route} <= set(found)


def test_what_has_no_need_is_refused_to_everybody() -> None:
    assert find_need("/new", "GET") is refused
    assert find_need("/files/{name}", "PATCH") is refused
    assert find_need("/stats", "PUT") is refused


async def test_an_open_store_refuses_it_too(store: Store, aiohttp_client: object) -> None:
    app = create_app(store)

    async def get(request: web.Request) -> web.Response:
        return web.Response(text="secret")

    app.router._resources.clear()
    app.router.add_get("/new", get)
    client = await aiohttp_client(app)  # type: ignore[operator] # a fixture
    assert (await client.get("/new")).status == 403


async def test_guests_without_a_right_get_nowhere(site: Site) -> None:
    await site.client.put("/files/n", data=b"secret", headers=site.headers_of("admin"))
    asked = 0
    for path, method in routes(site.client.app):
        is_told = (path, method) == ("/", "PROPFIND") or path in OPEN
        if method in ("OPTIONS", "*") or is_told or path.startswith(BY_LINK):
            continue
        for mark, text in FILLED.items():
            path = path.replace(mark, text)
        answer = await site.ask(None, method, path, Destination=destination_of(path))
        asked += 1
        assert answer.status == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="chunkstore", charset="UTF-8"'
        assert b"secret" not in answer.body
    assert asked > 40


@pytest.mark.parametrize("method", METHODS)
async def test_somebody_without_a_right_gets_nowhere(site: Site, method: str) -> None:
    await site.add("nobody")
    await site.client.put("/files/n", data=b"secret", headers=site.headers_of("admin"))
    for path in FILLED_PATHS:
        if (path, method) == ("/", "PROPFIND"):
            continue
        answer = await site.ask("nobody", method, path, Destination=destination_of(path))
        assert answer.status in (403, 404, 405), (method, path, answer.status)
        assert b"secret" not in answer.body


FILLED_PATHS = [
    "/files/n", "/files/d/", "/dav/n", "/dav/d/", "/dav", "/", "/uploads", "/uploads/u",
    "/uploads/u/chunks", "/chunks", "/chunks/missing", "/manifests/n",
    "/packs/n?ranges=0-1", "/nx/v1/cache/e", "/batch", "/stats",
]  # fmt: skip


def test_handlers_reach_the_store_through_the_gate_alone() -> None:
    """No handler asks for names, contents, chunks or uploads but by `http.security`."""
    root = Path(chunkstore.http.__file__).parent
    inside = {"names", "contents", "chunks", "uploads", "records", "properties"}
    for path in root.rglob("*.py"):
        if path.parent.name == "security" or path.name in ("app.py", "request.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Attribute(attr="store"), attr=attr):
                    allowed = (path.name, attr) in {
                        ("abilities.py", "contents"),  # the size of chunks
                        ("manifests.py", "chunks"),  # of a file that is open
                        ("packs.py", "chunks"),  # likewise
                    }
                    assert attr not in inside or allowed, f"{path.name}:{node.lineno}"
                case ast.Attribute(value=ast.Call(func=ast.Name(id="store_of")), attr=attr):
                    assert attr not in inside, f"{path.name}:{node.lineno}"
                case ast.Subscript(slice=ast.Name(id="UPLOADS")):
                    allowed = path.name in ("dispatch.py", "ietf.py")  # limits of all
                    assert allowed, f"{path.name}:{node.lineno}"


async def test_an_administrator_may_do_everything(site: Site) -> None:
    access = (await site.people.directory.current()).access_of(
        (await site.people.directory.current()).accounts["admin"]
    )
    assert access.verbs("a/b") == EVERYTHING  # type: ignore[arg-type] # a name
    assert await site.status("admin", "GET", "/stats") == 200
