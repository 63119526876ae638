"""Packs and lists above a real store: what is kept of them, however they come and break off."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST, PARSERS, format_manifest, parse_list
from chunkstore.core.chunking import Chunk, size_of
from chunkstore.core.compression import Codec, Encoded
from chunkstore.core.digest import DIGEST_SIZE, Digest
from chunkstore.core.errors import ChunksMissing, ChunkstoreError, NotFound
from chunkstore.core.packs import HEAD_SIZE, Record
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.uploads import HELD_AT_ONCE
from tests.conftest import CHUNK_SIZE
from tests.service.test_uploads import spec, uploads_of
from tests.store.conformance import get

settings_of_these = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
chunks_of_any_size = st.lists(
    st.builds(
        lambda seed, size: Chunk.of(bytes([seed]) * size),
        st.integers(0, 255),
        st.sampled_from([1, 2, 100, CHUNK_SIZE - 1, CHUNK_SIZE]),
    ),
    max_size=12,
)


def packed(chunks: Sequence[Chunk]) -> bytes:
    return b"".join(
        Record(one.digest, one.size, Encoded(Codec.IDENTITY, one.content)).to_bytes()
        for one in chunks
    )


async def pieces(octets: bytes, size: int, *, breaks_off: bool) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), size):
        yield octets[start : start + size]
    if breaks_off:
        raise ConnectionError


async def held(uploads: ResumableUploads, upload_id: str) -> set[Digest]:
    octets = b"".join([page async for page in uploads.iter_held(upload_id)])
    return {entry.digest for entry in parse_list(DIGESTS, octets)}


@settings_of_these
@given(
    chunks=chunks_of_any_size,
    share=st.floats(0, 1),
    size=st.sampled_from([1000, 4096, 70_000]),
    chunks_of_memory=st.integers(1, 20),
    flips=st.booleans(),
)
async def test_whole_records_before_a_break_or_an_error_are_held(
    store: Store,
    chunks: list[Chunk],
    share: float,
    size: int,
    chunks_of_memory: int,
    flips: bool,
) -> None:
    uploads = uploads_of(store, memory=chunks_of_memory * CHUNK_SIZE)
    upload = await uploads.create(spec(), None)
    octets = packed(chunks)
    cut_at = int(len(octets) * share)
    if flips and octets:
        cut_at = min(cut_at, len(octets) - 1)
        octets = octets[:cut_at] + bytes([octets[cut_at] ^ 1]) + octets[cut_at + 1 :]
    body = pieces(octets if flips else octets[:cut_at], size, breaks_off=not flips)
    with suppress(ChunkstoreError, ConnectionError):
        await uploads.receive_pack(upload.id, body, "", raw=False)
    wanted, stop = set(), 0
    for chunk in chunks:
        stop += HEAD_SIZE + chunk.size
        if stop > cut_at:
            break
        wanted.add(chunk.digest)
    assert await held(uploads, upload.id) == wanted
    assert uploads.service.budget.free == uploads.service.budget.limit
    await uploads.delete(upload.id)


@settings_of_these
@given(
    known=chunks_of_any_size,
    others=chunks_of_any_size,
    order=st.randoms(use_true_random=False),
    size=st.sampled_from([7, 36, 1000]),
)
async def test_a_list_ends_before_the_first_that_is_missing(
    store: Store, known: list[Chunk], others: list[Chunk], order: Random, size: int
) -> None:
    uploads = ResumableUploads(Service(store, MemoryBudget(8 * CHUNK_SIZE)))
    upload = await uploads.create(spec(), None)
    sent = pieces(packed(known), 4096, breaks_off=False)
    await uploads.receive_pack(upload.id, sent, "", raw=False)
    listed = [*known, *others]
    order.shuffle(listed)
    there = set(await store.chunks.find_sizes(list({one.digest for one in listed})))
    first = next((at for at, one in enumerate(listed) if one.digest not in there), len(listed))
    body = pieces(format_manifest((one.digest, one.size) for one in listed), size, breaks_off=False)
    request = UploadRequest(0, Ending.WITH_BODY, parser=PARSERS[MANIFEST]())
    if first == len(listed):
        await uploads.append(upload.id, request, body)
        await uploads.finish(upload.id)
        assert await get(store, "a") == b"".join(one.content for one in listed)
    else:
        with pytest.raises(ChunksMissing) as refused:
            await uploads.append(upload.id, request, body)
        lacking = dict.fromkeys(str(one.digest) for one in listed if one.digest not in there)
        assert list(refused.value.digests) == list(lacking)
        assert refused.value.offset == size_of(listed[:first])
        assert (await store.uploads.get(upload.id)).offset == refused.value.offset
    await uploads.delete(upload.id)


async def test_a_slow_pack_does_not_expire(store: Store) -> None:
    uploads = uploads_of(store, empty_expiry_seconds=0.05)
    upload = await uploads.create(spec(), None)
    renewed = asyncio.Event()
    chunk = Chunk.of(b"x" * CHUNK_SIZE)

    async def body() -> AsyncIterator[bytes]:
        yield packed([chunk])[:-1]
        await renewed.wait()
        yield packed([chunk])[-1:]

    receiving = asyncio.create_task(uploads.receive_pack(upload.id, body(), "", raw=False))
    async with asyncio.timeout(20):
        while (await store.uploads.get(upload.id)).expires <= upload.expires:  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.001)
        # Another request leases it meanwhile.
        looked = await uploads.acquire_and_get(upload.id)
        while (await store.uploads.get(upload.id)).expires <= looked.expires:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
    renewed.set()
    assert await receiving == 1
    assert await held(uploads, upload.id) == {chunk.digest}


async def test_what_an_upload_holds_is_told_in_pages_and_not_as_whole_if_it_ends(
    store: Store,
) -> None:
    uploads = uploads_of(store)
    upload = await uploads.create(spec(), None)
    chunks = [Chunk.of(struct.pack(">I", number)) for number in range(2 * HELD_AT_ONCE + 1)]
    body = pieces(packed(chunks), 65_536, breaks_off=False)
    assert await uploads.receive_pack(upload.id, body, "", raw=False) == len(chunks)
    assert await held(uploads, upload.id) == {one.digest for one in chunks}
    async with aclosing(uploads.iter_held(upload.id)) as pages:
        assert len(await anext(pages)) == HELD_AT_ONCE * DIGEST_SIZE
        await uploads.delete(upload.id)
        with pytest.raises(NotFound):
            await anext(pages)
