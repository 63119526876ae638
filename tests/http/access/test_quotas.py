"""Quotas over HTTP: what is too much is refused, early where that is possible, by every way in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from chunkstore.core.names import ROOT, FolderName
from chunkstore.store.contract.quotas import Usage
from tests.http.access.people import Answer, Site
from tests.http.access.test_writing import TUS, WAYS, b64, put

D, DE = FolderName("d/"), FolderName("d/e/")


@pytest.fixture
async def limited(site: Site) -> Site:
    """Return the server with an editor of `d/`, who does not see `d/hidden/`."""
    await site.add("anna")
    await site.allow("anna", "d/", "editor")
    assert await site.status("admin", "PUT", "/files/d/e/there", data=b"12345") == 201
    return site


def problem(answer: Answer) -> dict[str, object]:
    assert answer.status == 507, answer
    told: dict[str, object] = json.loads(answer.body)
    assert str(told["type"]).endswith("quota-exceeded")
    return told


async def used(site: Site) -> dict[str, Usage]:
    return {quota.folder: quota.used for quota in await site.store.quotas.list()}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_too_much_is_refused_by_every_way_in(limited: Site, way: str) -> None:
    await limited.store.quotas.set(D, 12, 3)
    for name, content, status in (
        ("d/a", b"12345678", 507),
        ("d/a", b"12345", 201),
        ("d/e/b", b"123", 507),
        ("d/e/there", b"54321", 201 if way == "tus" else 200),
        ("d/e/b", b"1", 201),
        ("d/e/c", b"1", 507),
        ("elsewhere/a", b"x" * 100, 201),
    ):
        who = "anna" if name.startswith("d/") else "admin"
        answer = await put(limited, who, way, name, content)
        assert answer.status == status, (name, answer)
        if status == 507:
            told = problem(answer)
            assert told["folder"] == "/d/"
            assert (told["unit"], told["limit"]) in (("bytes", 12), ("files", 3))
    assert await used(limited) == {"d/": Usage(11, 3)}


async def test_figures_are_told_to_those_only_who_may_see_all_that_they_count(
    limited: Site,
) -> None:
    await limited.store.quotas.set(D, 5, None)
    await limited.store.quotas.set(ROOT, 5, None)
    # Of the folder and its parent the parent comes first, which anna does not see.
    told = problem(await limited.ask("anna", "PUT", "/files/d/new", data=b"x"))
    assert not {"folder", "limit", "used", "unit"} & told.keys()
    assert "/d/" not in str(told)
    assert "5" not in str(told["detail"])
    told = problem(await limited.ask("admin", "PUT", "/files/d/new", data=b"x"))
    assert (told["folder"], told["limit"], told["used"]) == ("/", 5, 5)
    await limited.store.quotas.remove(ROOT)
    told = problem(await limited.ask("anna", "PUT", "/files/d/new", data=b"x"))
    assert (told["folder"], told["limit"], told["used"], told["unit"]) == ("/d/", 5, 5, "bytes")
    # Where something in it is hidden from her, its size is too.
    await limited.allow("anna", "d/e/", "-")
    told = problem(await limited.ask("anna", "PUT", "/files/d/new", data=b"x"))
    assert not {"folder", "limit", "used", "unit"} & told.keys()


async def test_bodies_are_refused_before_they_are_sent(limited: Site) -> None:
    await limited.store.quotas.set(D, 1000, None)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    reader, writer = await asyncio.open_connection("127.0.0.1", limited.client.port)
    fields = {"Host": "127.0.0.1", "Content-Length": "10000", "Expect": "100-continue"}
    fields |= limited.headers_of("anna")
    lines = ["PUT /files/d/new HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 507")
    writer.close()
    # What does not say how large it is, as it comes.
    answer = await limited.ask("anna", "PUT", "/files/d/new", data=body())
    assert problem(answer)["used"] == 5
    # Uploads by the length that they declare, and by their bytes where they declare none.
    answer = await limited.ask(
        "anna", "POST", "/uploads", **TUS, Upload_Length="10000",
        Upload_Metadata=f"filename {b64('new')},folder {b64('d')}",
    )  # fmt: skip
    assert problem(answer)["limit"] == 1000
    begun = await limited.ask(
        "anna", "POST", "/uploads", **TUS, Upload_Defer_Length="1",
        Upload_Metadata=f"filename {b64('new')},folder {b64('d')}",
    )  # fmt: skip
    assert begun.status == 201
    octets = {"Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
    url = begun.headers["Location"]
    answer = await limited.ask("anna", "PATCH", url, data=body(), **TUS, **octets)
    assert problem(answer)["limit"] == 1000
    assert await used(limited) == {"d/": Usage(5, 1)}
    # It goes on when there is room.
    await limited.store.quotas.set(D, 20_000, None)
    head = await limited.ask("anna", "HEAD", url, **TUS)
    offset = head.headers["Upload-Offset"]
    answer = await limited.ask(
        "anna", "PATCH", url, data=b"x", **TUS, Upload_Length=str(int(offset) + 1),
        Upload_Offset=offset, Content_Type="application/offset+octet-stream",
    )  # fmt: skip
    assert answer.status == 204
    assert (await used(limited))["d/"].files == 2


async def test_batches_copies_and_moves_are_refused_as_a_whole(limited: Site) -> None:
    await limited.store.quotas.set(DE, 9, None)
    for method, path, destination in (
        ("COPY", "/files/d/e/there", "/files/d/e/copy"),
        ("COPY", "/files/d/e/", "/files/d/e2/"),
    ):
        answer = await limited.ask("anna", method, path, Destination=destination)
        assert answer.status == (507 if destination.startswith("/files/d/e/") else 201), answer
    answer = await limited.ask("anna", "MOVE", "/files/d/e2/there", Destination="/files/d/e/more")
    assert problem(answer)["folder"] == "/d/e/"
    assert await limited.status("anna", "GET", "/files/d/e2/there") == 200
    assert await limited.status("anna", "DELETE", "/files/d/e/there") == 204
    assert await limited.status(
        "anna", "MOVE", "/files/d/e2/there", Destination="/files/d/e/more"
    ) == 201  # fmt: skip
    assert await used(limited) == {"d/e/": Usage(5, 1)}
    lines = [
        {"edit": "make_folder", "name": "d/made/"},
        {"edit": "copy", "source": "d/e/more", "target": "d/e/copy"},
        {"edit": "delete", "name": "d/made/"},
    ]
    body = "\n".join(map(json.dumps, lines))
    answer = await limited.ask(
        "anna", "POST", "/batch", data=body, Content_Type="application/jsonl"
    )
    assert (problem(answer)["folder"], problem(answer)["edit"]) == ("/d/e/", 1)


async def test_the_page_and_the_figures_tell_what_is_used(limited: Site) -> None:
    await limited.store.quotas.set(D, 10, 3)
    await limited.store.quotas.set(ROOT, 1000, None)

    async def foot(who: str) -> str:
        page = (await limited.ask(who, "GET", "/files/d/e/", Accept="text/html")).body.decode()
        return page.partition('<footer id="store">')[2].partition("</footer>")[0]

    assert "/d/: 5 bytes of 10 bytes" in await foot("anna")
    assert "1 of 3 files" in await foot("anna")
    assert "1000" not in await foot("anna")
    assert "/: 5 bytes of 1000 bytes" in await foot("admin")
    figures = json.loads((await limited.ask("admin", "GET", "/stats")).body)
    assert figures["quotas"] == [
        {"folder": "/", "max_size": 1000, "max_files": None, "size": 5, "files": 1},
        {"folder": "/d/", "max_size": 10, "max_files": 3, "size": 5, "files": 1},
    ]
    await limited.allow("anna", "d/e/", "reader")
    await limited.allow("anna", "d/e/f/", "-")
    assert "of 10 bytes" not in await foot("anna")
