"""The names of a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.names import ROOT, FileName
from chunkstore.store.contract.edits import (
    Copy,
    Delete,
    Edit,
    MakeFolder,
    Move,
    Name,
    Put,
    Received,
    Uploaded,
    is_folder_name,
    judge_put,
    names_in,
)
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.uploads import NOTHING
from chunkstore.store.contract.values import Applied, Committed, File, Folder, Listing
from chunkstore.store.postgres import listing, manifests, resumable, tree, unfinished
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.contents import own_upload
from chunkstore.store.postgres.manifests import KnownChunks, relying_on
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.tree import Target
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.times import Times, now_microseconds


class PostgresNames(Names):
    """Files and folders of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def _find(self, name: Name) -> File | Folder | None:
        return await self._opened.database.read(partial(tree.find, name=name))

    async def check_put(self, name: FileName, conditions: Conditions = UNCONDITIONAL) -> None:
        present = await self._opened.database.read(partial(tree.load_target, name=name))
        judge_put(name, conditions, present)

    async def list(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        return await self._opened.database.read(
            partial(
                listing.list_names, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
        )

    async def _apply(self, edits: Sequence[Edit]) -> Sequence[Applied]:
        database = self._opened.writable
        contents = [edit.content for edit in edits if isinstance(edit, Put)]
        received = [content for content in contents if isinstance(content, Received)]
        uploads = [own_upload(content.upload) for content in received]
        last = [chunk for content in received for chunk in content.last]
        tails = {
            content.upload_id: await database.read(
                partial(resumable.find_tail, upload_id=content.upload_id)
            )
            for content in contents
            if isinstance(content, Uploaded)
        }
        last += [tail for tail in tails.values() if tail is not None]
        write_once = database.write_many_once if _changes_folders(edits) else database.write_once

        async def write(chunks: KnownChunks) -> list[Applied]:
            return await write_once(ApplyEdits(edits, tails, chunks).run)

        async def apply() -> list[Applied]:
            async with AsyncExitStack() as locks:
                for upload in uploads:
                    await locks.enter_async_context(upload.lock)
                applied = await relying_on(database, self._opened.compression, last, write)
                for upload in uploads:
                    upload.committed()
                return applied

        return await database.run_to_end(apply())


def _changes_folders(edits: Sequence[Edit]) -> bool:
    return any(
        isinstance(edit, Delete | Copy | Move) and is_folder_name(names_in(edit)[0])
        for edit in edits
    )


class ApplyEdits:
    """The job that makes edits, all or none, where `chunks` may have to be stored for them.

    `tails` are the last chunks of resumable uploads, by id, None where there is none.
    """

    def __init__(
        self, edits: Sequence[Edit], tails: dict[str, Chunk | None], chunks: KnownChunks
    ) -> None:
        self._edits = edits
        self._tails = tails
        self._missing = chunks.missing
        self._chunks = chunks
        # Chunks that came into the store by this and are not counted as any file's yet.
        self._stored: set[bytes] = set()
        self._finished = NOTHING

    async def run(self, db: Connection) -> list[Applied]:
        """Return what each came to."""
        if len(self._edits) > 1 or self._tails or not self._chunks.small:
            self._stored = await manifests.put_chunks(db, self._missing)
            self._missing = ()
        applied: dict[int, Applied] = {}
        for place in await self._order(db):
            try:
                applied[place] = await self._apply(db, self._edits[place])
            except ChunkstoreError as error:
                error.edit = place
                raise
        await unfinished.add(db, self._finished, NOTHING)
        return [applied[place] for place in range(len(self._edits))]

    async def _order(self, db: Connection) -> Sequence[int]:
        """Return the places of the edits in the order in which they are made.

        Names are locked in order, so that transactions on the same ones do not wait in a circle.
        """
        places = range(len(self._edits))
        puts = [edit for edit in self._edits if isinstance(edit, Put)]
        if len(puts) == len(self._edits):
            return sorted(places, key=lambda place: puts[place].name)
        if len(self._edits) > 1:
            await tree.lock_names(db, (name for edit in self._edits for name in names_in(edit)))
        return places

    async def _apply(self, db: Connection, edit: Edit) -> Applied:
        match edit:
            case Put():
                return await self._put(db, edit)
            case Delete():
                return await tree.delete(db, edit)
            case Copy() | Move():
                return await tree.transfer(db, edit)
            case MakeFolder():
                return await tree.make_folder(db, edit)

    async def _put(self, db: Connection, edit: Put) -> Committed:
        content = edit.content
        if isinstance(content, Received):
            upload = own_upload(content.upload)
            digests = [chunk.digest.raw for chunk in content.last]
            manifest, stored = await manifests.add_whole(
                db, upload.manifest, self._missing, digests, content.digest, content.size
            )
            self._stored |= stored
            new = upload.appended
        else:
            tail = self._tails[content.upload_id]
            digests = [] if tail is None else [tail.digest.raw]
            manifest, new, finished = await resumable.complete(db, content, digests)
            self._finished = self._finished.plus(finished)
        new = new + self._count_new(digests)
        times = Times.of(edit.created, edit.modified)
        modified = now_microseconds() if times.modified is None else times.modified
        target = Target(manifest, edit.media_type, times.created, modified)
        file, replaced = await tree.put_file(db, edit, target)
        return Committed(replaced, file, new.new_chunks, new.new_size)

    def _count_new(self, digests: Sequence[bytes]) -> NewBytes:
        own = self._stored.intersection(digests)
        self._stored -= own
        return manifests.count_new(self._chunks, own)
