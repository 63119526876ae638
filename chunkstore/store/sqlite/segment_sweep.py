"""Removing the files of segments that nothing needs.

A file is removed after a transaction, synced, that saw no row of it, or condemned it because no
chunk is in the segment any more. So no crash can bring back a row, or chunks, without their bytes.
The row of one that is condemned goes when the file is gone for good, so no crash leaves a file that
nobody knows of. A reader that looked up a chunk before will find the file gone, and look the chunk
up again: if it is still needed, it was moved.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.segments.folder import SegmentFolder, session_of
from chunkstore.store.sqlite.segments.segments import Segments

_NAMES_TOLD: Final = 3
# A few milliseconds of the writer.
_MARKED_AT_ONCE: Final = 1024

_logger = logging.getLogger(__name__)


def begin_segments(db: sqlite3.Connection, folder: SegmentFolder, last: int | None) -> None:
    """Remove the orphans that the session `last` has left, and record that of `folder`.

    What has a second name besides is that of a restore, and there for the other database.
    Runs on the writing connection, before anything is written.
    """
    condemned = _ids(db, "condemned_segments")
    strays = folder.present() - _ids(db, "segment_ids")
    orphans = {
        segment
        for segment in strays - condemned
        if session_of(segment) == last or folder.has_second_name(segment)
    }
    folder.remove(condemned | orphans)
    _forget(db, condemned)
    if orphans:
        _logger.info("Segments of uploads that were broken off were removed: %d.", len(orphans))
    if unknown := strays - condemned - orphans:
        _logger.warning(
            "Files in %s are not of this database (%d, as %s): keep them if they are of one that"
            " may be put back here, or remove them.",
            folder.path,
            len(unknown),
            folder.path_of(min(unknown)).name,
        )
    execute(db, "put_setting", name="segment_session", value=folder.session)


async def find_missing(readers: Runner, folder: SegmentFolder) -> Collection[int]:
    """Return the segments that the database needs and that have no file."""
    while True:
        # In this order: a segment has a file before it has a row.
        missing = await readers.run(_needed) - await asyncio.to_thread(folder.present)
        # It may have been removed in between.
        if not missing or missing <= await readers.run(_needed):
            return missing


async def mark_missing(writer: Writer, missing: Collection[int]) -> None:
    """Mark the chunks of segments that have no file, so that no upload relies on them."""
    for segment in missing:
        while await writer.run(partial(_mark_some, segment=segment), durable=False):
            pass


def _mark_some(db: sqlite3.Connection, segment: int) -> int:
    return execute(db, "mark_segment", id=segment, count=_MARKED_AT_ONCE).rowcount


def describe_missing(folder: SegmentFolder, missing: Collection[int]) -> str:
    """Return what is missing, and what to do, as a sentence."""
    names = ", ".join(sorted(folder.path_of(segment).name for segment in missing)[:_NAMES_TOLD])
    return (
        f"Files in {folder.path.name} beside the database are missing ({len(missing)}, as {names}):"
        " put them back from a copy, or upload the files again that `chunkstore scrub` names."
    )


async def remove_unused(readers: Runner, writer: Writer, segments: Segments) -> None:
    """Remove the segments that no chunk is in, and those that were not published after all."""
    folder = segments.folder
    # In this order: one that is not held by now was published before, or never will be.
    present = await asyncio.to_thread(folder.present)
    held = set(folder.held())
    published = await readers.run(_published)
    strays = {each for each in present - published if session_of(each) == folder.session}
    unused = (await readers.run(_unused)) | strays
    if candidates := unused - held:
        gone = await writer.run(Condemn(candidates).run)
        for segment in candidates:
            folder.settle(segment, has_row=segment not in gone)
            if segment in gone:
                segments.readers.forget(segment)
        await asyncio.to_thread(folder.remove, gone)
        await writer.run(partial(_forget, condemned=gone), durable=False)


@dataclass(frozen=True, slots=True)
class Condemn:
    """The job that condemns unused segments."""

    candidates: Collection[int]

    def run(self, db: sqlite3.Connection) -> set[int]:
        """Return those of the candidates that are condemned now, or have no row."""
        for segment in self.candidates:
            execute(db, "condemn_segment", id=segment)
        return set(self.candidates) - _published(db)


def _forget(db: sqlite3.Connection, condemned: Collection[int]) -> None:
    """Delete the rows of condemned segments, whose files are gone."""
    for segment in condemned:
        execute(db, "delete_condemned_segment", id=segment)


def _published(db: sqlite3.Connection) -> set[int]:
    return _ids(db, "segment_ids")


def _needed(db: sqlite3.Connection) -> set[int]:
    return _ids(db, "needed_segments")


def _unused(db: sqlite3.Connection) -> set[int]:
    return _ids(db, "unused_segments")


def _ids(db: sqlite3.Connection, query: str) -> set[int]:
    return {row["id"] for row in execute(db, query)}
