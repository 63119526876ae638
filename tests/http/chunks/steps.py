"""What a client of the protocol does on its way: cutting, packing, sending, listing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Final

from aiohttp import ClientResponse

from chunkstore.core.chunk_lists import (
    DIGESTS,
    MANIFEST,
    format_digests,
    format_manifest,
    parse_list,
)
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import NO_COMPRESSION, Compression
from chunkstore.core.digest import Digest
from chunkstore.core.packs import PACK, PackParser, Record
from tests.backends import CHUNK_SIZE
from tests.http.steps import Client

RAW: Final = "application/octet-stream"


def cut(content: bytes, size: int = CHUNK_SIZE) -> list[Chunk]:
    """Return the chunks of a content, all but the last of one size."""
    return [Chunk.of(content[start : start + size]) for start in range(0, len(content), size)]


def pack_of(chunks: Iterable[Chunk], compression: Compression = NO_COMPRESSION) -> bytes:
    """Return a pack of the chunks."""
    return b"".join(
        Record(chunk.digest, chunk.size, compression.encode(chunk.content)).to_bytes()
        for chunk in chunks
    )


def unpack(pack: bytes) -> list[Chunk]:
    """Return the chunks of a pack, each checked against its digest."""
    parser = PackParser(1 << 20)
    records = list(parser.feed(pack))
    parser.finish()
    return [record.to_chunk() for record in records]


def digests_of(chunks: Iterable[Chunk]) -> bytes:
    """Return the list of the chunks by digests alone."""
    return format_digests(chunk.digest for chunk in chunks)


def manifest_of(chunks: Iterable[Chunk]) -> bytes:
    """Return the list of the chunks with their sizes."""
    return format_manifest((chunk.digest, chunk.size) for chunk in chunks)


async def begin(client: Client, name: str, **headers: str) -> str:
    """Begin an upload of a file; return its path."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    async with client.post(f"/manifests/{name}", headers=fields) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def send(
    client: Client, path: str, body: bytes, media_type: str = PACK, **headers: str
) -> ClientResponse:
    """Send a pack to an upload."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    response = await client.post(
        f"{path}/chunks", data=BytesIO(body), headers={"Content-Type": media_type, **fields}
    )
    await response.read()
    return response


async def append(
    client: Client,
    path: str,
    chunks: Sequence[Chunk],
    offset: int = 0,
    *,
    last: bool = True,
    form: str = MANIFEST,
) -> ClientResponse:
    """Append a list to an upload; return the answer, read."""
    body = manifest_of(chunks) if form == MANIFEST else digests_of(chunks)
    headers = {"Content-Type": form, "Upload-Offset": str(offset)}
    if last:
        headers["Upload-Complete"] = "?1"
    response = await client.patch(path, data=BytesIO(body), headers=headers)
    await response.read()
    return response


async def put_list(
    client: Client, name: str, body: bytes, form: str = MANIFEST, **headers: str
) -> ClientResponse:
    """Make a file from a list; return the answer, read."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    response = await client.put(
        f"/manifests/{name}", data=BytesIO(body), headers={"Content-Type": form, **fields}
    )
    await response.read()
    return response


async def held(client: Client, path: str) -> set[Digest]:
    """Return the digests of the chunks that an upload has been sent."""
    async with client.get(f"{path}/chunks") as response:
        assert response.status == 200, await response.text()
        assert response.content_type == DIGESTS
        return {entry.digest for entry in parse_list(DIGESTS, await response.read())}


async def missing(client: Client, chunks: Iterable[Chunk]) -> bytes:
    """Return the digests of those chunks that the server lacks."""
    async with client.post(
        "/chunks/missing", data=digests_of(chunks), headers={"Content-Type": DIGESTS}
    ) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def pack(client: Client, name: str, ranges: str, **headers: str) -> list[Chunk]:
    """Return the chunks of a file that have a byte in the ranges."""
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    async with client.get(f"/packs/{name}?ranges={ranges}", headers=fields) as response:
        assert response.status == 200, await response.text()
        return unpack(await response.read())
