"""OPTIONS, and the Allow that comes with a 405."""

from __future__ import annotations

import pytest

from tests.http import raw
from tests.http.steps import Client, on_shared_server, problem, put

pytestmark = on_shared_server

FILE = {"COPY", "DELETE", "GET", "HEAD", "MKCOL", "MOVE", "OPTIONS", "POST", "PUT"}
FOLDER = {"COPY", "DELETE", "GET", "HEAD", "MKCOL", "MOVE", "OPTIONS", "POST"}
CACHE = {"GET", "HEAD", "OPTIONS", "PUT"}
READ_ONLY = {"GET", "HEAD", "OPTIONS"}

RESOURCES = [
    ("/files/options/a", FILE),
    ("/files/options/a/b", FILE),
    ("/files/", FOLDER),
    ("/files/options/a/", FOLDER),
    ("/nx/v1/cache/a", CACHE),
    ("/nx/a/b/v1/cache/a", CACHE),
    ("/", READ_ONLY | {"PROPFIND"}),
    ("/health/live", READ_ONLY),
    ("/health/ready", READ_ONLY),
    ("/stats", READ_ONLY),
]
ALL_METHODS = FILE | FOLDER | {"PATCH", "TRACE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"}


def methods_of(allow: str) -> set[str]:
    """Return the methods of an Allow field."""
    return {method.strip() for method in allow.split(",")}


@pytest.mark.parametrize(("path", "allowed"), RESOURCES)
async def test_options_tell_what_is_allowed(shared: Client, path: str, allowed: set[str]) -> None:
    response = await shared.options(path)
    assert response.status == 200
    assert methods_of(response.headers["Allow"]) == allowed
    assert await response.read() == b""


@pytest.mark.parametrize(("path", "allowed"), RESOURCES)
async def test_other_methods_are_not_allowed(shared: Client, path: str, allowed: set[str]) -> None:
    for method in ALL_METHODS - allowed:
        async with shared.request(method, path) as response:
            await problem(response, 405)
            assert methods_of(response.headers["Allow"]) == allowed, method


@pytest.mark.parametrize(("path", "allowed"), RESOURCES)
async def test_allowed_methods_are_there(shared: Client, path: str, allowed: set[str]) -> None:
    for method in allowed:
        # MKCOL of what exists is a 405 of its own.
        target = "/files/of-none/below/" if method == "MKCOL" else path
        async with shared.request(method, target, allow_redirects=False) as response:
            assert response.status != 405, method


async def test_ranges_are_accepted(shared: Client) -> None:
    assert (await shared.options("/files/options/a")).headers["Accept-Ranges"] == "bytes"


async def test_no_other_site_is_invited(shared: Client, name: str) -> None:
    # Without Access-Control-Allow-Origin a browser sends no request that needs a preflight.
    await put(shared, name)
    headers = {
        "Origin": "http://elsewhere.example",
        "Access-Control-Request-Method": "PUT",
        "Sec-Fetch-Site": "cross-site",
    }
    for method in ("OPTIONS", "GET"):
        async with shared.request(method, f"/files/{name}", headers=headers) as response:
            assert response.status == 200
            allowing = [name for name in response.headers if name.startswith("Access-Control-")]
            assert not allowing


async def test_options_of_what_is_nowhere(shared: Client) -> None:
    await problem(await shared.options("/nowhere"), 404)


async def test_options_of_the_whole_server(shared: Client) -> None:
    # RFC 9110 §9.3.7: a ping of sorts; no more is asked of it than an answer.
    answer = await raw.ask(shared, raw.request("OPTIONS", "*"), "OPTIONS")
    assert answer.status < 500
