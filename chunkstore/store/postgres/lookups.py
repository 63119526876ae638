"""Looking up files, with their content where that is small; many at once by one statement.

A look-up that comes while statements are under way waits for one of them to end, and those that
wait go together with the next. Each is in a statement that begins after it has come, so it sees
all that was committed by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.postgres.connection import Database
from chunkstore.store.postgres.rows import Row, to_file
from chunkstore.store.shared.chunks import check_chunk, join_slices

# Statements that are under way at once, and look-ups that one has at most.
_STATEMENTS: Final = 3
_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class _Lookup:
    name: FileName
    inline: int
    found: asyncio.Future[File | None]


class Lookups:
    """Looks up files in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Lookup] = deque()
        self._statements = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, name: FileName, inline: int) -> File | None:
        """Return the file, with its content if that is whole and has at most `inline` bytes."""
        lookup = _Lookup(name, inline, asyncio.get_running_loop().create_future())
        self._waiting.append(lookup)
        if self._statements < _STATEMENTS:
            self._statements += 1
            task = asyncio.create_task(self._look_up_all())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await lookup.found

    async def _look_up_all(self) -> None:
        """Look up what waits, until nothing does."""
        try:
            while self._waiting:
                most = min(_MOST, len(self._waiting))
                await self._look_up([self._waiting.popleft() for _ in range(most)])
        finally:
            self._statements -= 1

    async def _look_up(self, lookups: Sequence[_Lookup]) -> None:
        names = [lookup.name for lookup in lookups]
        inlines = [lookup.inline for lookup in lookups]
        try:
            rows = await self._database.fetch("find_contents", names, inlines)
            files = {row["place"]: _to_file(row, inlines[row["place"]]) for row in rows}
        except Exception as error:
            # It is raised where they are waited for.
            for lookup in lookups:
                if not lookup.found.done():
                    lookup.found.set_exception(error)
            return
        for place, lookup in enumerate(lookups):
            # Its caller may have been cancelled.
            if not lookup.found.done():
                lookup.found.set_result(files.get(place))


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
