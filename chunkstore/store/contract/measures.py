"""What a process counts of its work with a store, for whoever watches over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chunkstore.core.timings import Timings
from chunkstore.store.contract.values import Applied, Committed


@dataclass(slots=True)
class Measures:
    """Counts since the store was opened.

    - `commits`: how long edits took, from when they were asked for until they were durable.
    - `new_chunks` and `known_chunks` of the files that were put: stored with them, or there before.
    - `waits`: how long jobs waited for a connection, None where there is no pool of them.
    - `log_size` tells how many bytes wait in the database's log, None where it has none here.
    """

    commits: Timings = field(default_factory=Timings)
    new_chunks: int = 0
    known_chunks: int = 0
    waits: Timings | None = None
    log_size: Callable[[], int] | None = None

    def committed(self, applied: Iterable[Applied], seconds: float) -> None:
        """Count edits that were made together."""
        self.commits.note(seconds)
        for one in applied:
            if isinstance(one, Committed):
                self.new_chunks += one.new_chunks
                self.known_chunks += max(0, one.file.chunk_count - one.new_chunks)
