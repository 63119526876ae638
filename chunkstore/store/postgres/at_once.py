"""Putting a file in one statement, which is one round trip, where its last chunks are small.

The statement is a transaction of its own, so its answer is that of its commit. If it is lost, the
statement may even be run later, so first of all its receipt is written for it: either it took
effect by then, and what came of it is in the receipt, or it never will.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from chunkstore.core.conditional import UNCONDITIONAL
from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.manifest import Manifest
from chunkstore.store.contract.edits import Edit, Present, Put, Received
from chunkstore.store.contract.values import Committed
from chunkstore.store.postgres import manifests, tree
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.contents import own_upload
from chunkstore.store.postgres.manifests import PreparedChunks
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.postgres.tree import Target
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.request_upload import RequestUpload
from chunkstore.store.shared.times import Times, now_microseconds

# How the statement fails when it has done nothing, because more is to be asked or said.
_REFUSED: Final = "CS001"


@dataclass(frozen=True, slots=True)
class PutAtOnce:
    """A put of an upload, and the chunks that it needs and may be missing."""

    edit: Put
    content: Received
    chunks: PreparedChunks

    @classmethod
    def of(cls, edits: Sequence[Edit], chunks: PreparedChunks) -> PutAtOnce | None:
        """Return it if that is what the edits are, and it may be done without knowing the name."""
        match edits:
            case [Put(content=Received() as content) as edit] if chunks.small:
                return cls(edit, content, chunks) if tree.accepts(edit, Present()) else None
        return None

    async def run(self, database: Database) -> Committed | None:
        """Return what came of it, None if nothing did: it is to be done step by step.

        Raises:
            StoreError: the database failed, and nothing came of it.
        """
        upload = own_upload(self.content)
        upload.require_put_once(set())
        receipt = uuid.uuid4()
        target = self._target(upload)
        try:
            row = await database.once(lambda db: self._put(db, receipt, upload, target))
        except StoreUnavailable:
            # Its answer may have been lost.
            row = await database.write(_withdraw, receipt)
        return None if row is None else self._committed(row, upload, target)

    def _target(self, upload: RequestUpload) -> Target:
        times = Times.of(self.edit.created, self.edit.modified)
        modified = now_microseconds() if times.modified is None else times.modified
        manifest = Manifest(
            upload.manifest.id, self.content.size, upload.manifest.chunk_size, self.content.digest
        )
        return Target(manifest, self.edit.media_type, times.created, modified)

    async def _put(
        self, db: Connection, receipt: uuid.UUID, upload: RequestUpload, target: Target
    ) -> Row | None:
        name = self.edit.name
        last = [chunk.digest.raw for chunk in self.content.last]
        try:
            return await db.fetchrow(
                QUERIES["put_at_once"],
                receipt,
                *manifests.content_columns(
                    target.manifest, upload.manifest.count, self.chunks.missing, last
                ),
                name,
                tree.folders_of(name),
                *tree.below(f"{name}/"),
                target.media_type,
                target.created,
                target.modified,
                self.edit.conditions == UNCONDITIONAL,
            )
        except asyncpg.PostgresError as error:
            if error.sqlstate != _REFUSED:
                raise
            return None

    def _committed(self, row: Row, upload: RequestUpload, target: Target) -> Committed:
        sizes = manifests.sizes_of(self.chunks.missing, row["stored"])
        new = upload.appended + NewBytes(len(sizes), sum(sizes.values()))
        file = tree.file_of(self.edit.name, target, row["file_created"])
        return Committed(row["replaced"], file, new.new_chunks, new.new_size)


async def _withdraw(db: Connection, receipt: uuid.UUID) -> Row | None:
    """Return what a statement returned that took effect, None if it never will."""
    await db.execute(QUERIES["add_receipt"], receipt, now_microseconds())
    row = await db.fetchrow(QUERIES["find_put"], receipt)
    return None if row is None or row["replaced"] is None else row
