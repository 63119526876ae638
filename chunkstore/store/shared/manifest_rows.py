"""Manifests between their rows and the core, the same for every store."""

from __future__ import annotations

import struct
from typing import Any, Protocol

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest


class Columns(Protocol):
    """A row whose columns are found by their names."""

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401 - whatever a database stores


def to_manifest(row: Columns, manifest_id: int) -> Manifest:
    """Return the manifest in a row that has its columns.

    Raises:
        TypeError, ValueError: the row has what no sealed manifest has.
    """
    return Manifest(
        manifest_id,
        row["size"],
        row["chunk_size"],
        Digest(row["digest"]),
        row["chunks"],
        Digest(row["list"]),
    )


def proved_manifest(row: Columns) -> Manifest | None:
    """Return the manifest in a row that also has its id and proof, None if the row is damaged."""
    try:
        manifest = to_manifest(row, row["id"])
        return manifest if manifest.proof == row["proof"] else None
    except (TypeError, ValueError, struct.error):
        return None
