"""The conversion of all chunk lists, by which a database of schema version 3 gets that of 4.

It goes in short transactions, so that it needs little room and can be interrupted: what was
converted is not converted again. Chunks are not touched. Until the last step, which is the script
of the migration, the database is one of version 3 that an older program may open and change.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ListHasher, Manifest, tie
from chunkstore.store.shared.queries import load_queries

_QUERIES: Final = load_queries("chunkstore.store.sqlite", "list_conversion.sql")
# Of a transaction, some 50 ms.
_PLACES_A_STEP: Final = 4096
_MANIFESTS_A_STEP: Final = 1000
_STEPS_A_CHECKPOINT: Final = 100
_SECONDS_A_REPORT: Final = 10.0

_logger = logging.getLogger(__name__)


def convert_lists(db: sqlite3.Connection) -> None:
    """Convert the chunk lists that have not been converted yet."""
    with _transaction(db):
        for query in ("create_place", "create_place_by_chunk", "create_manifest"):
            db.execute(_QUERIES[query])
        db.execute(_QUERIES["drop_unsealed"])
        db.execute(_QUERIES["drop_unfinished"])
    conversion = _Conversion(db, total=db.execute(_QUERIES["count_manifests"]).fetchone()[0])
    for sealed in (True, False):
        conversion.run(sealed=sealed)


@dataclass(slots=True)
class _Conversion:
    """A conversion under way: `done` of `total` manifests were looked at, in so many `steps`."""

    db: sqlite3.Connection
    total: int
    done: int = 0
    steps: int = 0
    reported: float = 0

    def run(self, *, sealed: bool) -> None:
        """Convert the lists of all manifests that are sealed, or of all that are not."""
        after = -1
        while True:
            parameters = {"after": after, "sealed": sealed, "count": _MANIFESTS_A_STEP}
            rows = self._query("manifests_to_convert", **parameters)
            if not rows:
                return
            after = self._convert_some(rows)

    def _convert_some(self, rows: list[sqlite3.Row]) -> int:
        """Convert the first of some lists, those of one step; return the id of the last."""
        places = 0
        with self._step():
            for row in rows:
                list_step = _List(row["id"])
                self._copy_places(list_step)
                places += list_step.places
                if list_step.ended:
                    self._finish(row, list_step)
                if not list_step.ended or places >= _PLACES_A_STEP:
                    break
        while not list_step.ended:
            with self._step():
                self._copy_places(list_step)
                if list_step.ended:
                    self._finish(row, list_step)
        return int(row["id"])

    def _copy_places(self, converted: _List) -> None:
        """Copy some places of a list, and note what is wrong with them."""
        rows = self._query(
            "old_places",
            manifest=converted.manifest,
            seq=converted.places,
            count=_PLACES_A_STEP,
        )
        converted.ended = len(rows) < _PLACES_A_STEP
        places = [place for row in rows if (place := converted.add(row)) is not None]
        self.db.executemany(_QUERIES["add_place"], places)

    def _finish(self, row: sqlite3.Row, converted: _List) -> None:
        """Add the manifest of a list that has been copied."""
        self.done += 1
        columns = {**dict(row), "chunks": None, "list": None, "proof": None, "damaged": 0}
        if row["digest"] is not None:
            columns |= converted.proved(row)
        if not self.db.execute(_QUERIES["add_manifest"], columns).rowcount:
            self.db.execute(_QUERIES["delete_places"], {"manifest": row["id"]})

    @contextmanager
    def _step(self) -> Iterator[None]:
        with _transaction(self.db):
            yield
        self.steps += 1
        if self.steps % _STEPS_A_CHECKPOINT == 0:
            # A reader may be in its way; then the log is emptied later.
            self.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        if time.monotonic() - self.reported >= _SECONDS_A_REPORT:
            if self.reported:
                _logger.warning("Converted %d of %d chunk lists.", self.done, self.total)
            self.reported = time.monotonic()

    def _query(self, query: str, **parameters: Any) -> list[sqlite3.Row]:  # noqa: ANN401 - whatever SQLite stores
        return self.db.execute(_QUERIES[query], parameters).fetchall()


class _List:
    """A chunk list that is being converted: `places` of it were read, all once it has `ended`."""

    def __init__(self, manifest: int) -> None:
        self.manifest = manifest
        self.places = 0
        self.ended = False
        self._hasher = ListHasher()
        self._complete = True

    def add(self, row: sqlite3.Row) -> dict[str, int] | None:
        """Add the next place; return its columns, None if its chunk is gone."""
        digest, size = row["digest"], row["size"]
        if digest is None or row["seq"] != self.places:
            self._complete = False
        self.places = row["seq"] + 1
        if digest is None:
            return None
        start = self._hasher.size
        self._hasher.add(digest, size)
        tied = tie(self.manifest, start, size, digest)
        return {"manifest": self.manifest, "start": start, "chunk": row["chunk"], "tie": tied}

    def proved(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return the columns that a sealed manifest gets, besides those it had in `row`."""
        digest = Digest(row["digest"])
        sound = self._complete and self._hasher.size == row["size"]
        # The list of a damaged one is not known, and equal to no other.
        listed = self._hasher.digest() if sound else Digest.of(b"damaged %d" % self.manifest)
        manifest = Manifest(
            self.manifest, row["size"], row["chunk_size"], digest, self._hasher.chunk_count, listed
        )
        return {
            "chunks": manifest.chunk_count,
            "list": listed.raw,
            "proof": manifest.proof,
            "damaged": int(not sound),
        }


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
