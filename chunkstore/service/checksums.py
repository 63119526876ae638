"""Checksums of contents, such as MD5 and SHA-1, by which clients know files.

They are kept with the content (`Checksums`), so a copy has them at once. Of what comes in one
request they are computed as it comes, and kept by the edit that makes it a file. All else is read
for them in the background, one content at a time: what came in several requests or as a list, and
what lacks them for another reason. Such content is found by walking through all names at the start,
and where a client asks for it. So what is to be computed need not be remembered durably.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chunkstore.core.digest import Checksum
from chunkstore.core.errors import StoreDamaged, StoreUnavailable
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.names import FileName
from chunkstore.core.periodic import Periodic
from chunkstore.service.downloads import ContentReader
from chunkstore.store.contract.checksums import Sums
from chunkstore.store.contract.edits import Edit, Put, Received
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Applied, Committed, File

# Those that clients of WebDAV ask for, by the names of `hashlib`.
CHECKSUM_ALGORITHMS: Final = ("md5", "sha1", "sha256")
# How many contents wait to be read, and what one step of the walk looks at.
_MOST_WANTED: Final = 1000
# How many damaged contents are remembered, which are not read again and again.
_MOST_DAMAGED: Final = 1000
_RETRY_SECONDS: Final = 10.0

_logger = logging.getLogger(__name__)


class ContentChecksums:
    """Keeps checksums by the `algorithms` with the contents of a store (`Follower`).

    Contents are read by `reader`. `task` computes what is lacking; unless it `catches_up`, only of
    what this process puts or is asked for.
    """

    def __init__(
        self,
        store: Store,
        reader: ContentReader,
        algorithms: Sequence[str],
        *,
        catches_up: bool = True,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self.algorithms = algorithms
        self._store = store
        self._reader = reader
        self._wanted: OrderedDict[FileName, int] = OrderedDict()
        self._damaged: OrderedDict[int, None] = OrderedDict()
        # Where the walk goes on, None if there is none; and whether it is to begin anew then.
        self._walked: str | None = "" if catches_up else None
        self._is_owed = False
        self._has_work = asyncio.Event()
        self._set_has_work()
        self.task = Periodic(
            "checksums", self._has_work.wait, self.compute_next, retry_seconds=retry_seconds
        )

    @property
    def waiting(self) -> int:
        """How many contents are known to wait for their checksums."""
        return len(self._wanted)

    async def find(self, files: Sequence[File]) -> Mapping[int, Sums]:
        """Return the checksums of contents by the ids of their lists, as far as they are known.

        What is lacking is computed in the background.
        """
        found = await self._find({file.manifest_id for file in files})
        lacking = (file for file in files if not self._is_complete(found.get(file.manifest_id, {})))
        self._want(lacking)
        return found

    def made(self, edits: Sequence[Edit], applied: Sequence[Applied]) -> None:
        """Have `task` compute what was not known of a content when it was put."""
        for edit, result in zip(edits, applied, strict=True):
            if isinstance(edit, Put) and isinstance(result, Committed):
                # Its bytes may have come anew.
                self._damaged.pop(result.file.manifest_id, None)
                known = edit.content.checksums if isinstance(edit.content, Received) else {}
                if not self._is_complete(known):
                    self._want([result.file])

    async def compute_next(self) -> None:
        """Compute the checksums of one content that lacks them, or look for such contents.

        Raises:
            StoreError: the store failed; it is tried again if it may be better then.
        """
        try:
            if self._wanted:
                await self._compute_wanted(*self._wanted.popitem(last=False))
            elif self._walked is not None:
                await self._walk_on(self._walked)
        finally:
            self._set_has_work()

    async def _compute_wanted(self, name: FileName, list_id: int) -> None:
        try:
            await self._compute(name, list_id)
        except StoreDamaged as error:
            _logger.warning("There are no checksums of %r: %s", name, error)
            self._note_damaged(list_id)
        except StoreUnavailable:
            self._wanted[name] = list_id
            raise

    def _is_complete(self, sums: Sums) -> bool:
        return all(name in sums for name in self.algorithms)

    async def _find(self, list_ids: Iterable[int]) -> Mapping[int, Sums]:
        found = await self._store.checksums.find(list(list_ids))
        wanted = {
            list_id: {name: sums[name] for name in self.algorithms if name in sums}
            for list_id, sums in found.items()
        }
        return {list_id: sums for list_id, sums in wanted.items() if sums}

    def _want(self, files: Iterable[File]) -> None:
        """Have `task` compute the checksums of files; if these are too many, it looks for them."""
        for file in files:
            list_id = file.manifest_id
            if list_id in self._damaged:
                continue
            if file.name not in self._wanted and len(self._wanted) >= _MOST_WANTED:
                self._is_owed = True
                break
            self._wanted[file.name] = list_id
        self._set_has_work()

    def _set_has_work(self) -> None:
        if self._walked is None and self._is_owed:
            self._walked, self._is_owed = "", False
        if self._wanted or self._walked is not None:
            self._has_work.set()
        else:
            self._has_work.clear()

    def _note_damaged(self, list_id: int) -> None:
        self._damaged[list_id] = None
        if len(self._damaged) > _MOST_DAMAGED:
            self._damaged.popitem(last=False)

    async def _walk_on(self, after: str) -> None:
        """Look at names behind one, for contents that lack checksums; rest as long as that takes.

        They are taken at random, so that several servers that walk at once do not read the same.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            listing = await self._store.names.list(after=after, limit=_MOST_WANTED)
        except StoreDamaged as error:
            # Those of names behind it are computed when somebody asks for them.
            _logger.warning("Contents that lack checksums are looked for no more: %s", error)
            self._walked = None
            return
        files = list(listing.files)
        random.shuffle(files)
        await self.find(files)
        self._walked = listing.next
        await asyncio.sleep(loop.time() - began)

    async def _compute(self, name: FileName, list_id: int) -> None:
        """Compute what a content lacks, if the file still has it."""
        async with self._store.contents.open(name) as file:
            if file is None or file.manifest_id != list_id:
                return
            found = (await self._find([list_id])).get(list_id, {})
            lacking = [Checksum(each) for each in self.algorithms if each not in found]
            if not lacking:
                return
            await self._read(file.manifest, lacking)
            computed = {checksum.algorithm: checksum.value for checksum in lacking}
            await self._store.checksums.keep({list_id: computed})

    async def _read(self, manifest: Manifest, checksums: Sequence[Checksum]) -> None:
        """Read a content for its checksums, and rest for as long as that takes.

        Raises:
            StoreDamaged: a chunk or the list is damaged.
        """
        loop = asyncio.get_running_loop()
        start, whole = 0, ListHasher()
        while start < manifest.size:
            began = loop.time()
            content, held = await self._reader.read(manifest, start, manifest.size, whole=whole)
            try:
                await asyncio.to_thread(_update, checksums, content)
            finally:
                held.release()
            start += len(content)
            del content
            await asyncio.sleep(loop.time() - began)


def _update(checksums: Sequence[Checksum], content: bytes) -> None:
    for checksum in checksums:
        checksum.update(content)
