"""Resumable uploads that begin at a folder's URL, as rclone's `infinitescale` sends them."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlsplit

from tests.http.dav.steps import ask, make, propfind
from tests.http.steps import Client, on_shared_server, read

TUS = "Tus-Resumable: 1.0.0"


def metadata(**values: str) -> str:
    pairs = (f"{key} {b64encode(value.encode()).decode()}" for key, value in values.items())
    return f"Upload-Metadata: {','.join(pairs)}"


@on_shared_server
async def test_a_file_comes_in_parts(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/d/")
    told = metadata(filename="ä.txt", mtime="1000000000", filetype="text/x")
    begun = await ask(shared, "POST", f"/dav/{name}/d", TUS, "Upload-Length: 6", told)
    assert begun.status == 201
    # It takes that for a whole URL.
    assert begun.headers["Location"].startswith("http://test/uploads/")
    path = urlsplit(begun.headers["Location"]).path
    for offset, part in ((0, b"abc"), (3, b"def")):
        answer = await ask(
            shared,
            "PATCH",
            path,
            TUS,
            f"Upload-Offset: {offset}",
            "Content-Type: application/offset+octet-stream",
            body=part,
        )
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(offset + 3))
    assert await read(shared, f"{name}/d/%C3%A4.txt") == b"abcdef"
    [found] = (await propfind(shared, f"/dav/{name}/d/%C3%A4.txt")).values()
    assert found.text("getlastmodified") == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert found.text("getcontenttype") == "text/x"


@on_shared_server
async def test_nothing_leads_out_of_the_folder(shared: Client, name: str) -> None:
    await make(shared, f"{name}/")
    for told in (metadata(filename="../x"), metadata(filename="/x"), metadata(folder="..")):
        answer = await ask(shared, "POST", f"/dav/{name}/", TUS, "Upload-Length: 1", told)
        assert answer.status == 400
    answer = await ask(
        shared, "POST", f"/dav/{name}/none/", TUS, "Upload-Length: 1", metadata(filename="x")
    )
    assert answer.status == 404
    assert (await ask(shared, "POST", f"/dav/{name}/")).status == 405
