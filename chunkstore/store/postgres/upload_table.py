"""The rows of uploads that outlive their request: reading, locking and writing them."""

from __future__ import annotations

from typing import Literal

from chunkstore.core.errors import NotFound
from chunkstore.store.contract.resumable import UploadKind
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.upload_rows import StoredUpload, UploadRow, can_exist

Lock = Literal["", "FOR UPDATE", "FOR SHARE"]


async def find(db: Connection, upload_id: str, lock: Lock = "") -> StoredUpload | None:
    """Return an upload, its row locked as `lock` says; None if there is none."""
    if not can_exist(upload_id):
        return None
    columns = await db.fetchrow(QUERIES["find_upload"].format(lock=lock), upload_id)
    if columns is None:
        return None
    row = UploadRow(**columns)
    parts = []
    if row.kind == UploadKind.CONCATENATION:
        parts = [part for (part,) in await db.fetch(QUERIES["upload_parts"], upload_id)]
    return StoredUpload.of(row, parts)


async def get(db: Connection, upload_id: str) -> StoredUpload:
    """Return an upload, and keep others from changing it until the transaction ends.

    Raises:
        NotFound: there is none.
    """
    stored = await find(db, upload_id, "FOR UPDATE")
    if stored is None:
        raise NotFound("There is no such upload.")
    return stored


async def add(db: Connection, row: UploadRow) -> None:
    """Add a row."""
    await db.execute(
        QUERIES["add_upload"],
        row.id,
        row.manifest,
        row.chunk_size,
        row.extent,
        row.length,
        row.created,
        row.expires,
        row.kind,
        row.target,
        row.media_type,
        row.conditions,
        row.checks,
        row.metadata,
        row.bases,
        row.chunking,
        row.owner,
    )


async def save(db: Connection, stored: StoredUpload) -> None:
    """Write the columns of an upload that change."""
    row = stored.to_row()
    await db.execute(
        QUERIES["save_upload"],
        row.id,
        row.manifest,
        row.epoch,
        row.received,
        row.extent,
        row.length,
        row.whole,
        row.digest,
        row.expires,
        row.new_chunks,
        row.new_size,
        row.tail,
        row.known_digest,
        row.failure,
        row.chunk_size,
        row.spared,
    )
