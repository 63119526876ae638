"""A file sent and fetched by its list, through whatever stands before the servers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST, parse_list
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.compression import DEFAULT_COMPRESSION
from chunkstore.core.packs import PACK
from tests.http.chunks.steps import cut, digests_of, manifest_of, pack_of, unpack


def ask(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """Return status, Location and body of the answer."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(url, data=body, method=method, headers=fields)) as answer:
            return answer.status, answer.headers.get("Location", ""), answer.read()
    except HTTPError as error:
        return error.code, "", error.read()


def send_by_list(urls: Sequence[str], name: str, content: bytes) -> int:
    """Send a file as its list and what is missing; return how many chunks were.

    Each request goes to the next of the servers that have one store at these URLs.
    """
    servers = cycle(urls)
    chunks = cut(content, DEFAULT_CHUNK_SIZE)
    status, _, body = ask(
        "POST", f"{next(servers)}chunks/missing", digests_of(chunks), Content_Type=DIGESTS
    )
    assert status == 200, body
    missing = {entry.digest for entry in parse_list(DIGESTS, body)}
    status, location, body = ask("POST", f"{next(servers)}manifests/{name}", b"")
    assert status == 201, body
    fresh = [chunk for chunk in chunks if chunk.digest in missing]
    for start in range(0, len(fresh), 4):
        url = urljoin(next(servers), location)
        pack = pack_of(fresh[start : start + 4], DEFAULT_COMPRESSION)
        status, _, body = ask("POST", f"{url}/chunks", pack, Content_Type=PACK)
        assert status == 200, body
    half = len(chunks) // 2
    url = urljoin(next(servers), location)
    listed = manifest_of(chunks[:half])
    status, _, body = ask("PATCH", url, listed, Content_Type=MANIFEST, Upload_Offset="0")
    assert status == 204, body
    url = urljoin(next(servers), location)
    listed = manifest_of(chunks[half:])
    fields = {"Upload_Offset": str(half * DEFAULT_CHUNK_SIZE), "Upload_Complete": "?1"}
    status, _, body = ask("PATCH", url, listed, Content_Type=MANIFEST, **fields)
    assert status in (200, 201), body
    return len(missing)


def fetch_by_list(url: str, name: str) -> bytes:
    """Return the content of a file by its manifest and a pack of all of its chunks."""
    status, _, body = ask("GET", f"{url}manifests/{name}")
    assert status == 200, body
    entries = parse_list(MANIFEST, body)
    status, _, body = ask("GET", f"{url}packs/{name}?ranges=0-")
    assert status == 200, body
    found = {chunk.digest: chunk.content for chunk in unpack(body)}
    return b"".join(found[entry.digest] for entry in entries)
