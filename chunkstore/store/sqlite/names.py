"""The names of an SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chunkstore.core.access import EVERYTHING, Verbs
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.errors import ChunkstoreError, TooManyNames
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
    Present,
    Put,
    Received,
    judge,
    judge_put,
)
from chunkstore.store.contract.locks import UNGUARDED, Guard
from chunkstore.store.contract.measures import Measures
from chunkstore.store.contract.names import Names
from chunkstore.store.contract.values import (
    Applied,
    Committed,
    File,
    Folder,
    Listing,
)
from chunkstore.store.shared.chunks import Encodings
from chunkstore.store.shared.lists import lists_of_uploads
from chunkstore.store.shared.request_upload import RequestUpload
from chunkstore.store.shared.times import Times
from chunkstore.store.sqlite import checksums, descriptions, locks, manifests, resumable, tree
from chunkstore.store.sqlite.audit import add_actions
from chunkstore.store.sqlite.contents import encode, own_upload, size_of_places
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE
from chunkstore.store.sqlite.large_folders import LargeFolders
from chunkstore.store.sqlite.listing import ListNames
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.tree import MAX_NAMES, ManyNames
from chunkstore.store.sqlite.usage import QuotaFolders, Tally


class SQLiteNames(Names):
    """The files and folders of an open database."""

    def __init__(self, database: OpenDatabase, large_folders: LargeFolders | None) -> None:
        writer = database.writer
        super().__init__(Measures(log_size=None if writer is None else writer.log_size))
        self._database = database
        self._large_folders = large_folders

    async def _find(self, name: Name) -> File | Folder | None:
        return await self._database.lookups.run(partial(tree.find, name=name))

    async def check_put(
        self,
        name: FileName,
        conditions: Conditions = UNCONDITIONAL,
        allowed: Verbs = EVERYTHING,
        *,
        strict: bool = False,
        guard: Guard = UNGUARDED,
    ) -> None:
        check = partial(_check_put, name, conditions, allowed, strict, guard)
        await self._database.lookups.run(check)

    async def list(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
        made_folders: bool = False,
    ) -> Listing:
        page = ListNames(prefix, delimiter, after, limit, made_folders)
        return await self._database.readers.run(page.run)

    async def _apply(
        self, edits: Sequence[Edit], by: Who | None, guard: Guard
    ) -> Sequence[Applied]:
        writer, policy = self._database.writable, self._database.policy
        received = [edit.content for edit in _puts(edits) if isinstance(edit.content, Received)]
        uploads = [own_upload(content.upload) for content in received]
        for upload in uploads:
            await upload.finish()
        last = [chunk for content in received for chunk in content.last]
        encodings, size = await encode(self._database.readers, policy, last)
        lists = await lists_of_uploads(edits, partial(resumable.hash_whole, self._database.readers))
        job = ApplyEdits(edits, policy, encodings, lists, self._database.quotas, by, guard)
        try:
            applied = await writer.run(
                job.run,
                size=size + size_of_places(last) + _size_of(edits, self._database.state.chunk_size),
            )
        except ManyNames as error:
            if len(edits) > 1 or self._large_folders is None:
                refusal = TooManyNames()
                refusal.edit = error.edit
                raise refusal from error
            return [Applied(await self._large_folders.apply(edits[0], by, guard))]
        for upload in uploads:
            upload.committed()
        return applied


@dataclass(frozen=True, slots=True)
class ApplyEdits:
    """The job that makes edits, all or none; missing chunks are stored by `policy`.

    `lists` are those of the resumable uploads that are put, by the uploads' ids.
    """

    edits: Sequence[Edit]
    policy: StoragePolicy
    encodings: Encodings
    lists: Mapping[str, ListHasher]
    quotas: QuotaFolders
    by: Who | None
    guard: Guard

    def run(self, db: sqlite3.Connection) -> list[Applied]:
        """Return the outcome of each; an error's `edit` is the place of the one that failed."""
        applied: list[Applied] = []
        put: set[RequestUpload] = set()
        tally = Tally(self.quotas)
        for place, edit in enumerate(self.edits):
            try:
                if isinstance(edit, Put) and isinstance(edit.content, Received):
                    own_upload(edit.content.upload).require_put_once(put)
                present = tree.load(db, edit)
                replaced = judge(edit, present)
                locks.require(db, edit, self.guard, replaced=replaced)
                with tally.counting(db, edit, place):
                    applied.append(self._apply(db, edit, present, replaced=replaced))
                locks.drop(db, edit)
            except ChunkstoreError as error:
                error.edit = place
                raise
        if self.by is not None:
            add_actions(db, self.by, actions_of(self.edits, applied))
        tally.settle(db)
        return applied

    def _apply(
        self, db: sqlite3.Connection, edit: Edit, present: Present, *, replaced: bool
    ) -> Applied:
        match edit:
            case Put():
                current = present.target if isinstance(present.target, File) else None
                return self._put(db, edit, current, replaced=replaced)
            case Delete():
                if edit.strict:
                    tree.keep_folder_of(db, edit.name)
                tree.delete(db, edit.name)
            case Copy() | Move():
                if edit.strict and isinstance(edit, Move):
                    tree.keep_folder_of(db, edit.source)
                tree.transfer(db, edit)
            case Patch():
                descriptions.patch(db, edit)
            case MakeFolder():
                tree.make_folder(db, edit.name)
        return Applied(replaced)

    def _put(
        self, db: sqlite3.Connection, edit: Put, current: File | None, *, replaced: bool
    ) -> Committed:
        content = edit.content
        if isinstance(content, Received):
            upload = own_upload(content.upload)
            manifest, new = manifests.seal(
                db,
                self.policy,
                upload.manifest,
                content.last,
                self.encodings,
                upload.sealed_with(content.last, content.digest),
            )
            new = upload.appended + new
            if content.checksums:
                checksums.put(db, {manifest.id: content.checksums})
        else:
            whole = self.lists.get(content.upload_id)
            manifest, new = resumable.complete(db, content, self.policy, whole)
        times = Times.of(edit.created, edit.modified)
        file = tree.put_file(db, edit.name, manifest, edit.media_type, current, times)
        return Committed(replaced, file, new.new_chunks, new.new_size)


def _check_put(
    name: FileName,
    conditions: Conditions,
    allowed: Verbs,
    strict: bool,
    guard: Guard,
    db: sqlite3.Connection,
) -> None:
    present = tree.load_target(db, name, strict=strict)
    replaced = judge_put(name, conditions, present, allowed)
    locks.require_put(db, name, guard, strict=strict, replaced=replaced)


def _puts(edits: Sequence[Edit]) -> list[Put]:
    return [edit for edit in edits if isinstance(edit, Put)]


def _size_of(edits: Sequence[Edit], chunk_size: int) -> int:
    """Return about how many bytes edits add, without chunks; deletions add none."""
    sizes = [_size_of_edit(edit, chunk_size) for edit in edits if not isinstance(edit, Delete)]
    return EDIT_SIZE + sum(sizes) if sizes else 0


def _size_of_edit(edit: Edit, chunk_size: int) -> int:
    if isinstance(edit, Put) and not isinstance(edit.content, Received):
        # The tail becomes a chunk.
        return chunk_size
    is_folder = isinstance(edit, Copy | Move) and edit.source.endswith("/")
    return (MAX_NAMES if is_folder else 1) * FURTHER_EDIT_SIZE
