"""Looking up files, with their content where that is small; many at once by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.postgres.connection import Database
from chunkstore.store.postgres.rows import Row, to_file
from chunkstore.store.postgres.together import Together
from chunkstore.store.shared.chunks import check_chunk, join_slices


@dataclass(frozen=True, slots=True)
class _Lookup:
    name: FileName
    inline: int


class Lookups:
    """Looks up files in one database. An answer is as of a moment after it was asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together = Together(self._look_up)

    async def find(self, name: FileName, inline: int) -> File | None:
        """Return the file, with its content if that is whole and has at most `inline` bytes."""
        return await self._together.ask(_Lookup(name, inline))

    async def _look_up(self, lookups: Sequence[_Lookup]) -> list[File | None]:
        names = [lookup.name for lookup in lookups]
        inlines = [lookup.inline for lookup in lookups]
        rows = await self._database.fetch("find_contents", names, inlines)
        files = {row["place"]: _to_file(row, inlines[row["place"]]) for row in rows}
        return [files.get(place) for place in range(len(lookups))]


def _to_file(row: Row, inline: int) -> File:
    """Return a file, with its content if that is whole and has at most `inline` bytes."""
    file = to_file(row)
    if file.manifest.size > inline:
        return file
    slices = list(file.manifest.slices(0, file.manifest.size))
    chunks = [row["places"] or (), row["sizes"] or (), row["codecs"] or (), row["contents"] or ()]
    try:
        contents = [check_chunk(*chunk) for chunk in zip(*chunks, strict=True)]
    except StoreDamaged:
        # Who reads it is told.
        return file
    if len(contents) != len(slices):
        return file
    return replace(file, content=join_slices(slices, contents))
