"""The digest of a whole upload's content, by what is known of it, or by reading it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from chunkstore.core.digest import BLAKE3, ContentCheck, ContentHasher, Digest, require_equal
from chunkstore.core.errors import NotFound, StoreDamaged
from chunkstore.core.manifest import ListHasher
from chunkstore.core.names import FileName
from chunkstore.service.memory import Use
from chunkstore.service.resumable.append import Hashers
from chunkstore.service.resumable.hashing import HashingAlong
from chunkstore.service.service import Service
from chunkstore.service.subtrees.digests import SubtreeDigests
from chunkstore.store.contract.resumable import ResumableUpload, UploadSpec
from chunkstore.store.contract.upload_state import NoteDigest

# Bytes that are read at once to hash them: with fewer, handing them from thread to thread takes as
# long as that.
_WINDOW_SIZE: Final = 8 * 1024 * 1024
# Entries of a list that are read at once.
_ENTRIES: Final = 2048


class UploadDigests:
    """Finds the digests of uploads: by their hashers, by other contents, or by reading them."""

    def __init__(self, service: Service, hashers: Hashers) -> None:
        self._store = service.store
        self._reader = service.reader
        self._hashers = hashers
        self.subtrees = SubtreeDigests(service.store, service.budget.account(Use.DOWNLOAD))
        self.along = HashingAlong(hashers, self._store.uploads.find, self.read, self._is_spared)

    async def get(self, upload: ResumableUpload, check: Callable[[], Awaitable[None]]) -> Digest:
        """Return the content's digest, by reading it unless that is spared; verify its checks.

        `check` is called before anything is read.

        Raises:
            ContentMismatch: a check failed.
            NotFound: the upload has ended.
        """
        claims = dict(upload.spec.checks)
        claimed = claims.pop(BLAKE3, None)
        checks = [ContentCheck(algorithm, value) for algorithm, value in claims.items()]
        await self.along.settle(upload.id)
        hasher = self._hashers.take(upload) if self._hashers.know(upload) else None
        was_read = False
        if hasher is not None and not checks:
            hasher.update(upload.tail)
            digest: Digest | None = hasher.digest()
        else:
            await check()
            digest = None if checks else await self._find_known(upload)
        if digest is None:
            digest, was_read = await self._read_digest(upload, checks), True
        if claimed is not None:
            require_equal(BLAKE3, digest.raw, claimed)
        if was_read:
            await self._store.uploads.apply(upload.id, NoteDigest(digest))
        return digest

    async def _find_known(self, upload: ResumableUpload) -> Digest | None:
        """Return the content's digest by what is known of other contents, if that is enough."""
        async with self._while_there(upload):
            return await self._find_equal(upload) or await self._find_by_subtrees(upload)

    async def _find_equal(self, upload: ResumableUpload) -> Digest | None:
        """Return the digest of a content that has the very list of the upload, if one is known."""
        assert upload.chunks is not None
        store, chunks, hasher = self._store.chunks, upload.chunks, ListHasher()
        while hasher.size < chunks.size:
            for entry in await store.entries(chunks, hasher.size, _ENTRIES):
                hasher.add(entry.digest.raw, entry.size)
        if upload.tail:
            hasher.add(Digest.of(upload.tail).raw, len(upload.tail))
        return await store.find_equal(hasher.digest(), _sources(upload.spec))

    async def _read_digest(self, upload: ResumableUpload, checks: Sequence[ContentCheck]) -> Digest:
        """Return the digest of the content by reading what was not hashed yet; verify `checks`."""
        start, hasher = self._hashers.take_prefix(upload.id)
        if checks:
            start, hasher = 0, ContentHasher()
        async with aclosing(self.read(upload, start)) as windows:
            async for window in windows:
                await asyncio.to_thread(_update, window, hasher, checks)
        _update(upload.tail, hasher, checks)
        for check in checks:
            check.verify()
        return hasher.digest()

    async def _find_by_subtrees(self, upload: ResumableUpload) -> Digest | None:
        """Return the content's digest by what is known of its bases, if that is enough."""
        if upload.chunks is None or upload.tail:
            return None
        return await self.subtrees.find(upload.chunks, _sources(upload.spec))

    async def _is_spared(self, upload: ResumableUpload) -> bool:
        """Whether the digest will be found by what is known of bases, or by other checks."""
        if upload.chunks is None or any(name != BLAKE3 for name in upload.spec.checks):
            return True
        return await self.subtrees.has_base(upload.chunks, _sources(upload.spec))

    async def read(self, upload: ResumableUpload, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the whole chunks of an upload, from `start` on."""
        assert upload.chunks is not None
        chunks = upload.chunks
        async with (
            self._while_there(upload),
            aclosing(self._reader.stream(chunks, start, chunks.size, _WINDOW_SIZE)) as windows,
        ):
            async for window in windows:
                yield window

    @asynccontextmanager
    async def _while_there(self, upload: ResumableUpload) -> AsyncIterator[None]:
        """Tell damage within the context from a list that was given up, as its upload ended.

        Raises:
            NotFound: the upload has ended.
        """
        try:
            yield
        except StoreDamaged:
            assert upload.chunks is not None
            found = await self._store.uploads.get(upload.id)
            found.require_not_failed()
            current = found.chunks
            if current is None or current.id != upload.chunks.id:
                raise NotFound("The upload has ended meanwhile.") from None
            raise


def _sources(spec: UploadSpec) -> Sequence[FileName]:
    """Return the files that a content may be like: what it replaces first, then its bases."""
    return spec.bases if spec.target is None else (spec.target, *spec.bases)


def _update(piece: bytes, hasher: ContentHasher, checks: Sequence[ContentCheck]) -> None:
    hasher.update(piece)
    for check in checks:
        check.update(piece)
