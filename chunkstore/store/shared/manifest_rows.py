"""Manifests and files between their rows and the core, the same for every store."""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

from chunkstore.core.digest import DIGEST_SIZE, Digest
from chunkstore.core.manifest import Manifest, prove
from chunkstore.core.names import FileName
from chunkstore.core.timestamps import GREATEST_TIMESTAMP, LEAST_TIMESTAMP
from chunkstore.store.contract.values import File

_DAMAGE: Final = (TypeError, ValueError, struct.error)


class Columns(Protocol):
    """A row whose columns are found by their names."""

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401 - whatever a database stores


def proved_manifest(row: Columns) -> Manifest | None:
    """Return the manifest in a row that also has its id and proof, None if the row is damaged."""
    try:
        manifest = Manifest(
            row["id"],
            row["size"],
            row["chunk_size"],
            Digest(row["digest"]),
            row["chunks"],
            Digest(row["list"]),
        )
        return manifest if manifest.proof == row["proof"] else None
    except _DAMAGE:
        return None


def proved_file(
    name: str,
    manifest_id: int,
    digest: bytes,
    size: int,
    chunk_size: int,
    chunks: int,
    listed: bytes,
    proof: int,
    media_type: str,
    created: int,
    modified: int,
) -> File | None:
    """Return the file in the columns of a row, None if they are damaged.

    They are damaged if they have what no file has, or point at what the name was not made for.
    """
    try:
        if (
            len(digest) == len(listed) == DIGEST_SIZE
            and LEAST_TIMESTAMP <= created <= GREATEST_TIMESTAMP
            and LEAST_TIMESTAMP <= modified <= GREATEST_TIMESTAMP
            and prove(manifest_id, digest, size, chunk_size, chunks, listed) == proof
        ):
            return File(
                FileName(name),
                manifest_id,
                digest,
                size,
                chunk_size,
                chunks,
                listed,
                media_type,
                created,
                modified,
            )
    except _DAMAGE:
        pass
    return None
