"""The names of a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.chunking import Chunk, KnownChunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.dav.if_header import TRUE
from chunkstore.core.errors import ChunksMissing, ChunkstoreError
from chunkstore.core.manifest import ListHasher
from chunkstore.core.names import ROOT, FileName
from chunkstore.store.contract.audit import Who, actions_of
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Patch,
    Put,
    Received,
    Uploaded,
    is_folder_name,
    judge_put,
    names_in,
)
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.contract.measures import Measures
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.uploads import NOTHING, Unfinished
from chunkstore.store.contract.values import (
    Applied,
    Committed,
    File,
    Folder,
    Listing,
)
from chunkstore.store.postgres import (
    descriptions,
    listing,
    locks,
    manifests,
    resumable,
    tree,
    unfinished,
)
from chunkstore.store.postgres.at_once import SmallPut, SmallPuts
from chunkstore.store.postgres.audit import add_actions
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.contents import own_upload
from chunkstore.store.postgres.manifests import NewChunk, PreparedChunks, relying_on
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.tree import Target
from chunkstore.store.postgres.usage import Tally
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import lists_of_uploads
from chunkstore.store.shared.request_upload import RequestUpload
from chunkstore.store.shared.times import Times, now_microseconds

# With more edits a transaction may take long.
_MANY_EDITS: Final = 100


class PostgresNames(Names):
    """Files and folders of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(Measures(waits=opened.database.waits))
        self._opened = opened
        self._sight = LockSight()
        self._small_puts = SmallPuts(opened.database, is_spread=opened.is_spread)

    async def _find(self, name: Name) -> File | Folder | None:
        return await self._opened.database.read(tree.find, name)

    async def check_put(
        self,
        name: FileName,
        conditions: Conditions = UNCONDITIONAL,
        allowed: Verbs = EVERYTHING,
        *,
        strict: bool = False,
        guard: Guard = UNGUARDED,
    ) -> None:
        read = self._opened.database.read
        present = await read(tree.load_target, name, strict)
        replaced = judge_put(name, conditions, present, allowed)
        # Who has met none spares itself a look: the edit decides.
        if self._sight.locked or guard != UNGUARDED:
            await read(locks.require_put, name, guard, strict=strict, replaced=replaced)

    async def list(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
        made_folders: bool = False,
    ) -> Listing:
        return await self._opened.database.read(
            listing.list_names, prefix, delimiter, after, limit, made_folders
        )

    async def _apply(
        self, edits: Sequence[Edit], by: Who | None, guard: Guard
    ) -> Sequence[Applied]:
        database = self._opened.writable
        contents = [edit.content for edit in edits if isinstance(edit, Put)]
        received = [content for content in contents if isinstance(content, Received)]
        uploaded = [content.upload_id for content in contents if isinstance(content, Uploaded)]
        tails = {one: await database.read(resumable.find_tail, one) for one in uploaded}
        last = [chunk for content in received for chunk in content.last]
        last += [tail for tail in tails.values() if tail is not None]
        lists = await lists_of_uploads(edits, partial(resumable.hash_whole, self._opened.database))
        job = ApplyEdits(edits, tails, lists, by, guard, self._sight)
        write_once = database.write_many_once if _is_large(edits) else database.write_once

        async def write(chunks: PreparedChunks) -> list[Applied]:
            put = SmallPut.of(edits, chunks, by, guard)
            committed = None if put is None else await self._small_puts.put(put)
            if committed is not None:
                return [committed]
            try:
                return await write_once(job.run, chunks)
            except LocksMet:
                return await write_once(job.run, chunks)

        async def apply() -> list[Applied]:
            async with AsyncExitStack() as locks:
                own = [own_upload(content.upload) for content in received]
                uploads = {upload.manifest.id: upload for upload in own}
                for _, upload in sorted(uploads.items()):
                    await locks.enter_async_context(upload.lock)
                applied = await relying_on(database, self._opened.compression, last, write)
                for upload in uploads.values():
                    upload.committed()
                return applied

        try:
            return await database.run_to_end(apply())
        except ChunksMissing as missing:
            missing.edit = _first_that_names(edits, frozenset(missing.digests))
            raise


def _first_that_names(edits: Sequence[Edit], digests: Collection[str]) -> int | None:
    """Return the place of the first edit that refers to one of the chunks with these digests."""
    for place, edit in enumerate(edits):
        if isinstance(edit, Put) and isinstance(edit.content, Received):
            named = (chunk for chunk in edit.content.last if isinstance(chunk, KnownChunk))
            if any(str(chunk.digest) in digests for chunk in named):
                return place
    return None


def _is_large(edits: Sequence[Edit]) -> bool:
    return len(edits) > _MANY_EDITS or any(
        isinstance(edit, Delete | Copy | Move) and is_folder_name(names_in(edit)[0])
        for edit in edits
    )


class LocksMet(ChunkstoreError):
    """There are write locks, and what was changed should have been locked before it was."""


@dataclass(slots=True)
class LockSight:
    """Whether this process has seen that there are write locks, when it last looked."""

    locked: bool = False


@dataclass(slots=True)
class _Progress:
    """What edits have come to so far.

    `uncounted` are the sizes of chunks that came into the store and are not counted as any file's
    yet; `put` are the uploads of one request that were put, and `finished` is what the resumable
    ones come to. `tally` is what changes of what folders use.
    """

    uncounted: dict[bytes, int]
    put: set[RequestUpload] = field(default_factory=set)
    finished: Unfinished = NOTHING
    tally: Tally = field(default_factory=Tally)

    def count_new(self, digests: Sequence[bytes]) -> NewBytes:
        """Return how much of a file's chunks is new, each counted for one file only."""
        sizes = [self.uncounted.pop(one) for one in set(digests) if one in self.uncounted]
        return NewBytes(len(sizes), sum(sizes))


@dataclass(frozen=True, slots=True)
class ApplyEdits:
    """The job that makes edits, all or none.

    `tails` are the last chunks of resumable uploads, by id, None where there is none, and `lists`
    are their lists, as far as they are whole. What `guard` is needed for is locked before anything
    is changed, if locks have been in `sight`.
    """

    edits: Sequence[Edit]
    tails: Mapping[str, Chunk | None]
    lists: Mapping[str, ListHasher]
    by: Who | None
    guard: Guard
    sight: LockSight

    async def run(self, db: Connection, chunks: PreparedChunks) -> list[Applied]:
        """Return what each came to; store what is missing of `chunks`.

        Chunks are locked first, then uploads, then names, as by one edit alone.

        Raises:
            LocksMet: there are locks, none of which was in sight; run it again.
        """
        locks_first = len(self.edits) > 1 or self.sight.locked or self.guard.tags is not TRUE
        # A small file's chunks are stored with its manifest, in one round trip.
        together = not locks_first and not self.tails and chunks.small
        stored = {} if together else await manifests.put_chunks(db, chunks.missing)
        missing = chunks.missing if together else ()
        progress = _Progress(stored)
        tally = progress.tally
        if locks_first:
            await self._lock(db, tally)
        guards = tally.locked or self.guard.tags is not TRUE
        applied = []
        for place, edit in enumerate(self.edits):
            tally.edit = place
            try:
                if guards:
                    await locks.require(db, edit, self.guard)
                applied.append(await self._apply(db, edit, missing, progress))
                if tally.locked and not guards:
                    self.sight.locked = True
                    raise LocksMet
                if tally.locked:
                    await locks.drop(db, edit)
            except ChunkstoreError as error:
                error.edit = place
                raise
        await unfinished.add(db, progress.finished, NOTHING)
        if self.by is not None:
            await add_actions(db, self.by, actions_of(self.edits, applied))
        await tally.settle(db)
        return applied

    async def _lock(self, db: Connection, tally: Tally) -> None:
        """Lock the uploads, then the names that the edits are about.

        The root folder comes before all others, as for those who take locks.
        """
        for upload_id in sorted(self.tails):
            await db.fetchval(QUERIES["lock_upload"], upload_id)
        was_locked = self.sight.locked
        if was_locked:
            await locks.keep_root(db)
        names = [name for edit in self.edits for name in names_in(edit)]
        names += [name for edit in self.edits for name in await tree.to_be_kept(db, edit)]
        await tree.lock(db, tally, *names)
        self.sight.locked = tally.locked
        if tally.locked:
            if not was_locked:
                await locks.keep_root(db)
            await locks.lock_memberships(db, self.edits)

    async def _apply(
        self, db: Connection, edit: Edit, missing: Sequence[NewChunk], progress: _Progress
    ) -> Applied:
        match edit:
            case Put():
                return await self._put(db, edit, missing, progress)
            case Delete():
                return await tree.delete(db, edit, progress.tally)
            case Copy() | Move():
                return await tree.transfer(db, edit, progress.tally)
            case MakeFolder():
                return await tree.make_folder(db, edit, progress.tally)
            case Patch():
                return await descriptions.patch(db, edit, progress.tally)

    async def _put(
        self, db: Connection, edit: Put, missing: Sequence[NewChunk], progress: _Progress
    ) -> Committed:
        content = edit.content
        if isinstance(content, Received):
            upload = own_upload(content.upload)
            upload.require_put_once(progress.put)
            last = manifests.entries_of(content.last)
            manifest = upload.sealed_with(content.last, content.digest)
            progress.uncounted |= await manifests.add_whole(
                db, upload.manifest, missing, last, manifest, content.checksums
            )
            new = upload.appended
        else:
            tail = self.tails[content.upload_id]
            last = manifests.entries_of([] if tail is None else [tail])
            whole = self.lists.get(content.upload_id)
            manifest, new, finished = await resumable.complete(db, content, last, whole)
            progress.finished = progress.finished.plus(finished)
        new += progress.count_new([digest for digest, _ in last])
        times = Times.of(edit.created, edit.modified)
        modified = now_microseconds() if times.modified is None else times.modified
        target = Target(manifest, edit.media_type, times.created, modified)
        file, replaced = await tree.put_file(db, edit, target, progress.tally)
        return Committed(replaced, file, new.new_chunks, new.new_size)
