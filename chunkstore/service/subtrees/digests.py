"""Which contents have chaining values, whose are used, and when they are computed.

A content that comes as a list is compared with the file that it replaces and with those that the
client names. Its values are kept with it, so that the next version is compared with it. Where
nothing is known, the content is read for its digest, and its values are computed afterwards in the
background, one content at a time, from its bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.core.names import FileName
from chunkstore.core.periodic import Periodic
from chunkstore.service.memory import Account
from chunkstore.service.subtrees.bases import Base, ValueReader
from chunkstore.service.subtrees.computing import ListDigest
from chunkstore.service.subtrees.lists import EvenList, Unprovable
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import File

# What is smaller is read in less time than it takes to look for values.
LEAST_SIZE: Final = 16 * 1024 * 1024
# How many contents are compared with a list at once, of those that have values.
_MOST_BASES: Final = 4
# How many digests are computed at once: each takes some MiB for lists and values.
_AT_ONCE: Final = 4
# How many contents wait for their values to be computed.
_MOST_WANTED: Final = 1000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A content whose values are wanted, and files that it may share chunks with."""

    digest: Digest
    bases: Sequence[FileName]


@dataclass(frozen=True, slots=True)
class _Opened:
    """Contents that are pinned: those that serve as bases, and others that lack their values."""

    bases: list[Base]
    lacking: dict[FileName, Digest]


class SubtreeDigests:
    """Computes digests of contents by what is known of others, in memory reserved on an account.

    Contents of less than `least_size` bytes are left to be read.
    """

    def __init__(self, store: Store, memory: Account, *, least_size: int = LEAST_SIZE) -> None:
        self._store = store
        self._memory = memory
        self._least_size = least_size
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wanted: OrderedDict[FileName, _Wanted] = OrderedDict()
        self._is_wanted = asyncio.Event()
        self.task = Periodic("subtrees", self._is_wanted.wait, self.compute_next)

    async def find(self, chunks: ChunkList, bases: Sequence[FileName]) -> Digest | None:
        """Return the digest of the content that has a list, by what is known of other files.

        None if too little is known, so that the content has to be read. A base that lacks values
        gets them in the background.
        """
        if chunks.size < self._least_size:
            return None
        try:
            even = await EvenList.of(self._store, chunks)
            if even is None:
                return None
            async with self._slots, self._opened(even, bases) as opened:
                for name, digest in opened.lacking.items():
                    self.want(name, digest)
                if not opened.bases:
                    return None
                return await ListDigest(self._store, self._memory, even, opened.bases).compute()
        except (Unprovable, StoreDamaged) as error:
            _logger.info("A content is read for its digest: %r", error)
            return None

    async def has_base(self, chunks: ChunkList, bases: Sequence[FileName]) -> bool:
        """Whether `find` may be spared to read what a list, or its beginning, has of its bases."""
        try:
            even = await EvenList.of(self._store, chunks)
            if even is None:
                return False
            async with self._opened(even, bases) as opened:
                return bool(opened.bases)
        except (Unprovable, StoreDamaged):
            return False

    def want(self, name: FileName, digest: Digest, bases: Sequence[FileName] = ()) -> None:
        """Have `task` compute the values of a file, unless it has them.

        They are those of the content with this digest, if the file still has it by then; `bases`
        may have chunks of it.
        """
        self._wanted[name] = _Wanted(digest, bases)
        self._wanted.move_to_end(name)
        if len(self._wanted) > _MOST_WANTED:
            self._wanted.popitem(last=False)
        self._is_wanted.set()

    @property
    def waiting(self) -> int:
        """How many contents wait for their values to be computed."""
        return len(self._wanted)

    async def compute_next(self) -> None:
        """Compute the values of the content that has waited for the longest; there is one."""
        name, wanted = self._wanted.popitem(last=False)
        if not self._wanted:
            self._is_wanted.clear()
        try:
            async with self._store.contents.open(name) as file:
                if file is not None and file.manifest.digest == wanted.digest:
                    await self._complete(file.manifest, wanted.bases)
        except StoreDamaged as error:
            _logger.info("Chaining values of %r are not computed: %s", name, error)
        except Unprovable:
            if wanted.bases:
                self.want(name, wanted.digest)

    @asynccontextmanager
    async def _opened(
        self, even: EvenList, names: Sequence[FileName]
    ) -> AsyncGenerator[_Opened, None]:
        """Pin the contents of files that a list can be compared with, for the time of a context."""
        async with AsyncExitStack() as pins:
            opened = _Opened([], {})
            seen = {even.chunks.id}
            for name in names:
                with suppress(StoreDamaged):
                    file = await pins.enter_async_context(self._store.contents.open(name))
                    if file is None or file.manifest_id in seen:
                        continue
                    seen.add(file.manifest_id)
                    await self._add(opened, file, even.chunk_size)
                if len(opened.bases) == _MOST_BASES:
                    break
            yield opened

    async def _add(self, opened: _Opened, file: File, chunk_size: int) -> None:
        """Add the content of a file, unless it is small or cut in another way."""
        if file.size < self._least_size:
            return
        even = await EvenList.of(self._store, file.manifest)
        if even is None or even.chunk_size != chunk_size:
            return
        # Pages are kept from the first to the last.
        if await self._store.subtrees.find(file.manifest_id, even.last_page().start, 1):
            opened.bases.append(Base(self._store, even, file.manifest))
        else:
            opened.lacking[file.name] = file.manifest.digest

    async def _complete(self, manifest: Manifest, bases: Sequence[FileName]) -> None:
        """Compute the values of a content, unless it has them."""
        if manifest.size < self._least_size:
            return
        even = await EvenList.of(self._store, manifest)
        if even is None or await self._has_values(even, manifest):
            return
        async with self._opened(even, bases) as opened:
            listed = ListDigest(self._store, self._memory, even, opened.bases, gentle=True)
            digest = await listed.compute()
        if digest != manifest.digest:
            _logger.error("Chaining values were computed of %s that are wrong.", manifest.digest)
            await self._store.subtrees.drop(manifest.id)

    async def _has_values(self, even: EvenList, manifest: Manifest) -> bool:
        try:
            return await ValueReader(self._store, even, manifest).are_right()
        except Unprovable:
            return False
