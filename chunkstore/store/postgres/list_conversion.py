"""The conversion of all chunk lists, by which a database of schema version 3 gets that of 4.

It is part of the transaction of the migration, in steps that need little memory. What it needs of
chunks is read by itself, because they may lie on other machines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ListHasher, Manifest, tie
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection, Parameter
from chunkstore.store.postgres.rows import PACKAGE, Row
from chunkstore.store.shared.queries import load_queries

_QUERIES: Final = load_queries(PACKAGE, "list_conversion.sql")
_PLACES_A_STEP: Final = 4096
_MANIFESTS_A_STEP: Final = 1000
_SECONDS_A_REPORT: Final = 10.0

_logger = logging.getLogger(__name__)


async def convert_lists(db: Connection, *, distributed: bool) -> None:
    """Fill new tables and columns from the old ones; the script of the migration removes these."""
    for query in ("lock", "create_place", "create_damaged_list", "extend_manifest", "extend_entry"):
        await db.execute(_QUERIES[query], timeout=LONG_SECONDS)
    if distributed:
        for query in ("distribute_place", "distribute_damaged_list"):
            await db.execute(_QUERIES[query], timeout=LONG_SECONDS)
    total = await db.fetchval(_QUERIES["count_manifests"])
    after, done, reported = -1, 0, time.monotonic()
    while rows := await db.fetch(_QUERIES["manifests"], after, _MANIFESTS_A_STEP):
        after = rows[-1]["id"]
        await _convert(db, rows)
        done += len(rows)
        if time.monotonic() - reported >= _SECONDS_A_REPORT:
            reported = time.monotonic()
            _logger.warning("Converted %d of %d chunk lists.", done, total)


async def _convert(db: Connection, rows: Sequence[Row]) -> None:
    """Convert the lists of manifests that follow each other."""
    lists = {row["id"]: _List(row) for row in rows}
    async for places in _old_places(db, rows[0]["id"], rows[-1]["id"]):
        digests = list({place["digest"] for place in places})
        sizes = dict(await db.fetch(_QUERIES["sizes_of_chunks"], digests))
        # One without its manifest is left behind.
        known = (place for place in places if place["manifest"] in lists)
        added = [lists[place["manifest"]].add(place, sizes) for place in known]
        columns = zip(*(place for place in added if place is not None), strict=True)
        if new := [list(column) for column in columns]:
            await db.execute(_QUERIES["add_places"], *new)
    sealed = [one for one in lists.values() if one.is_sealed]
    proofs = [one.proof() for one in sealed]
    for query in ("prove_manifest", "prove_files"):
        await db.executemany(_QUERIES[query], proofs)
    for (manifest, _, _, proof), one in zip(proofs, sealed, strict=True):
        if not one.is_sound:
            await db.execute(_QUERIES["mark_list"], one.digest.raw, manifest, proof)


async def _old_places(db: Connection, first: int, last: int) -> AsyncIterator[list[Row]]:
    """Yield the places of the manifests `first` to `last`, in order, some at once."""
    manifest, seq = first, -1
    query = _QUERIES["old_places"]
    while places := await db.fetch(query, manifest, seq, last, _PLACES_A_STEP):
        yield places
        manifest, seq = places[-1]["manifest"], places[-1]["seq"]


class _List:
    """A chunk list that is being converted, and the row of its manifest."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._hasher = ListHasher()
        self._places = 0
        self._complete = True

    @property
    def is_sealed(self) -> bool:
        """Whether it is that of a file content; else it is an upload's."""
        return self._row["digest"] is not None

    @property
    def digest(self) -> Digest:
        """The digest of the content of one that is sealed."""
        return Digest(self._row["digest"])

    @property
    def is_sound(self) -> bool:
        """Whether it is all there."""
        return self._complete and self._hasher.size == self._row["size"]

    def add(self, place: Row, sizes: dict[bytes, int]) -> tuple[Parameter, ...] | None:
        """Add the next place; return its columns, None if its chunk is gone."""
        manifest, seq, digest = place
        size = sizes.get(digest)
        if size is None or seq != self._places:
            self._complete = False
        self._places = seq + 1
        if size is None:
            return None
        start = self._hasher.size
        self._hasher.add(digest, size)
        return manifest, start, size, digest, tie(manifest, start, size, digest)

    def proof(self) -> tuple[int, int, bytes, int]:
        """Return the id of its manifest, and what that gets: chunks, the list's digest, proof."""
        row, hasher = self._row, self._hasher
        # The list of a damaged one is not known, and equal to no other.
        listed = hasher.digest() if self.is_sound else Digest.of(b"damaged %d" % row["id"])
        manifest = Manifest(
            row["id"], row["size"], row["chunk_size"], self.digest, hasher.chunk_count, listed
        )
        return manifest.id, manifest.chunk_count, listed.raw, manifest.proof
