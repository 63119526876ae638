"""Looking up files, with their content where that is small; many at once by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.rows import Row, to_file
from chunkstore.store.postgres.together import Together
from chunkstore.store.shared.chunks import check_chunk


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
        """Return the file, with its content if that is whole and has at most `inline` bytes.

        Raises:
            StoreDamaged: its entry is damaged.
        """
        found = await self._together.ask(_Lookup(name, inline))
        if isinstance(found, StoreDamaged):
            raise found
        return found

    async def _look_up(self, lookups: Sequence[_Lookup]) -> list[File | StoreDamaged | None]:
        names = [lookup.name for lookup in lookups]
        inlines = [lookup.inline for lookup in lookups]
        rows = await self._database.fetch("find_contents", names, inlines)
        files = {row["place"]: _to_file(row, inlines[row["place"]]) for row in rows}
        return [files.get(place) for place in range(len(lookups))]


def _to_file(row: Row, inline: int) -> File | StoreDamaged:
    """Return a file, with its content if that is whole and has at most `inline` bytes."""
    try:
        file = to_file(row)
    except StoreDamaged as error:
        return error
    if file.size > inline:
        return file
    columns = ("digests", "sizes", "codecs", "contents")
    try:
        content = b"".join(
            check_chunk(*chunk)
            for chunk in zip(*(row[name] or () for name in columns), strict=True)
        )
    except (StoreDamaged, TypeError, ValueError):
        # Who reads it is told.
        return file
    is_whole = Digest.of(content).raw == file.raw_digest
    return file._replace(content=content) if is_whole else file
