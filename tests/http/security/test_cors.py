"""Pages of other origins: those that were let in, and all others."""

from __future__ import annotations

import pytest

from tests.http.conftest import Serve
from tests.http.steps import problem

FRIEND = "https://friend.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x"}
CROSS = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("origins", [[FRIEND], ["https://other.example", FRIEND], ["*"]])
async def test_a_page_that_was_let_in_may_upload(serve: Serve, origins: list[str]) -> None:
    client = await serve(cors_origins=origins)
    async with client.options("/uploads/x", headers={"Origin": FRIEND, **PREFLIGHT}) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        allowed = response.headers["Access-Control-Allow-Headers"].lower()
        assert {"upload-offset", "tus-resumable", "upload-complete"} <= set(allowed.split(", "))
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"].split(", ")
    headers = {"Origin": FRIEND, **CROSS}
    async with client.put("/files/a", data=b"x", headers=headers) as response:
        assert response.status == 201
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Location", "Upload-Offset", "ETag"} <= set(exposed)
        assert response.headers["Vary"] == "Origin"
    async with client.get("/files/none", headers=headers) as response:
        assert response.status == 404
        assert response.headers["Access-Control-Allow-Origin"] == FRIEND


async def test_a_page_may_use_the_drive(serve: Serve) -> None:
    """As KeeWeb does, by all methods and fields of WebDAV."""
    client = await serve(cors_origins=[FRIEND])
    asked = {"Origin": FRIEND, **PREFLIGHT, "Access-Control-Request-Method": "LOCK"}
    async with client.options("/dav/a", headers=asked) as response:
        methods = set(response.headers["Access-Control-Allow-Methods"].split(", "))
        assert {"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"} <= methods
        fields = set(response.headers["Access-Control-Allow-Headers"].split(", "))
        assert {"Authorization", "Cache-Control", "Depth", "Destination", "If"} <= fields
        assert {"Lock-Token", "Overwrite", "Timeout", "OC-Checksum", "X-OC-Mtime"} <= fields
    headers = {"Origin": FRIEND, **CROSS}
    async with client.request("PROPFIND", "/dav/", headers=headers) as response:
        assert response.status == 207
        exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"DAV", "ETag", "Lock-Token", "Allow"} <= exposed


@pytest.mark.parametrize("origin", ["https://foe.example", "https://friend.example.foe", "null"])
async def test_another_page_may_not(serve: Serve, origin: str) -> None:
    client = await serve(cors_origins=[FRIEND])
    async with client.options("/uploads", headers={"Origin": origin, **PREFLIGHT}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    response = await client.put("/files/a", data=b"x", headers={"Origin": origin, **CROSS})
    await problem(response, 403)


async def test_nobody_may_unless_told(serve: Serve) -> None:
    client = await serve()
    async with client.options("/uploads", headers={"Origin": FRIEND, **PREFLIGHT}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Vary" not in response.headers
    headers = {"Origin": FRIEND, **CROSS, "Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    await problem(await client.post("/uploads", headers=headers), 403)


@pytest.mark.parametrize(
    ("origins", "origin", "policy"),
    [
        ([FRIEND], FRIEND, "cross-origin"),
        ([FRIEND], "https://foe.example", "same-origin"),
        ([FRIEND], None, "same-origin"),
        (["*"], None, "cross-origin"),
        ([], FRIEND, "same-origin"),
    ],
)
async def test_who_may_embed_what_is_answered(
    serve: Serve, origins: list[str], origin: str | None, policy: str
) -> None:
    client = await serve(cors_origins=origins)
    headers = {"Sec-Fetch-Mode": "no-cors", **CROSS} | ({"Origin": origin} if origin else {})
    async with client.get("/files/", headers=headers) as response:
        assert response.headers["Cross-Origin-Resource-Policy"] == policy
        assert response.status == (200 if policy == "cross-origin" else 403)
