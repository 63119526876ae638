"""Making a file of chunks that the store has, by their list, in one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from chunkstore.core.chunk_lists import MANIFEST, PARSERS, ListEntry, format_manifest
from chunkstore.core.chunking import KnownChunk, size_of
from chunkstore.core.digest import BLAKE3, Digest, require_equal
from chunkstore.core.errors import ChunksMissing
from chunkstore.core.manifest import ListHasher
from chunkstore.service.known_chunks import KnownChunks
from chunkstore.service.putting import Putting
from chunkstore.service.resumable.append import Ending, UploadRequest, run_to_end
from chunkstore.service.resumable.listing import LISTED_AT_ONCE, digests_in, known_entries
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.store.contract.chunks import Chunks
from chunkstore.store.contract.edits import Put, Received
from chunkstore.store.contract.resumable import ResumableUpload, UploadSpec
from chunkstore.store.contract.values import Committed


async def put_by_list(
    uploads: ResumableUploads,
    spec: UploadSpec,
    entries: Sequence[ListEntry],
    client: str,
    *,
    putting: Putting,
    known_chunks: KnownChunks,
) -> Committed | ResumableUpload:
    """Make a file of chunks that are there, if its digest is known; else an upload that is whole.

    The list refers to `known_chunks`; the file is made by `putting`. The upload is to be finished,
    which may take long: it is read for its digest.

    Raises:
        ChunksMissing: some are not there; nothing was changed.
        InvalidRequest: an entry has another size than its chunk.
        TooLarge, PreconditionFailed, NameConflict, QuotaExceeded, ContentMismatch: it cannot be it.
    """
    chunks = uploads.service.store.chunks
    known = await _find_all(known_chunks, entries)
    uploads.limits.check_size(size_of(known))
    assert spec.target is not None
    await putting.check(spec.target, spec.conditions, size_of(known))
    if not spec.checks.keys() - {BLAKE3}:
        digest = await _find_digest(chunks, spec, known)
        if digest is not None:
            return await _put(uploads, spec, known, digest, putting)
    return await _upload(uploads, spec, known, client, putting)


async def _find_all(chunks: KnownChunks, entries: Sequence[ListEntry]) -> Sequence[KnownChunk]:
    # Elsewhere, because there can be many.
    digests = await asyncio.to_thread(digests_in, entries)
    sizes = await chunks.find_sizes(digests) if digests else {}
    known = await asyncio.to_thread(known_entries, entries, sizes)
    if len(known) < len(entries):
        raise ChunksMissing([str(digest) for digest in digests if digest not in sizes])
    return known


async def _find_digest(
    chunks: Chunks, spec: UploadSpec, known: Sequence[KnownChunk]
) -> Digest | None:
    """Return the digest of the content, if it is known without reading it."""
    if not known:
        return Digest.of(b"")
    assert spec.target is not None
    list_digest = await asyncio.to_thread(_list_digest, known)
    return await chunks.find_equal(list_digest, (*spec.bases, spec.target))


def _list_digest(known: Sequence[KnownChunk]) -> Digest:
    hasher = ListHasher()
    for chunk in known:
        hasher.add(chunk.digest.raw, chunk.size)
    return hasher.digest()


async def _put(
    uploads: ResumableUploads,
    spec: UploadSpec,
    known: Sequence[KnownChunk],
    digest: Digest,
    putting: Putting,
) -> Committed:
    if BLAKE3 in spec.checks:
        require_equal(BLAKE3, digest.raw, spec.checks[BLAKE3])
    store = uploads.service.store
    upload = store.contents.begin()
    try:
        last = max(0, len(known) - 1) // LISTED_AT_ONCE * LISTED_AT_ONCE
        for start in range(0, last, LISTED_AT_ONCE):
            await upload.append(known[start : start + LISTED_AT_ONCE])
        assert spec.target is not None
        content = Received(upload, known[last:], digest, size_of(known))
        put = Put(spec.target, content, spec.media_type, spec.conditions)
        return await putting.put(put)
    finally:
        if upload.begun:
            await asyncio.shield(upload.abort())


async def _upload(
    uploads: ResumableUploads,
    spec: UploadSpec,
    known: Sequence[KnownChunk],
    client: str,
    putting: Putting,
) -> ResumableUpload:
    size = size_of(known)
    upload = await uploads.create(spec, size, putting)
    request = UploadRequest(
        0, Ending.WITH_BODY, length=size, client=client, parser=PARSERS[MANIFEST]()
    )
    try:
        return await uploads.append(upload.id, request, _format(known))
    except BaseException:
        await run_to_end(uploads.delete(upload.id))
        raise


async def _format(known: Sequence[KnownChunk]) -> AsyncIterator[bytes]:
    for start in range(0, len(known), LISTED_AT_ONCE):
        part = known[start : start + LISTED_AT_ONCE]
        yield format_manifest((chunk.digest, chunk.size) for chunk in part)
