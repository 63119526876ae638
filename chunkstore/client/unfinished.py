"""URLs of uploads that were begun, in the user's state folder, so that the next run goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chunkstore.client.cache import FileState
from chunkstore.client.state_files import StateFile


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload of a file in a certain state, to a target whose ETag was `base` then.

    `is_settled` if nothing but this content can have that state: see `FileState.is_settled`.
    """

    upload: str
    target: str
    source: str
    state: FileState
    base: str | None
    chunking: str
    is_settled: bool = False


class Unfinished:
    """What is kept of the upload of one source to one target, by one transfer at a time."""

    def __init__(self, file: StateFile) -> None:
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def of(cls, folder: Path, target: str, source: Path) -> Iterator[Unfinished]:
        """Give that of a source and a target; if another transfer has it, nothing is kept."""
        key = os.fsencode(source.absolute()) + b"\0" + target.encode()
        with StateFile.of(folder, key) as file:
            yield cls(file)

    @classmethod
    def nothing(cls) -> Unfinished:
        """Return what keeps nothing, for a source that cannot be read twice."""
        return cls(StateFile.nothing())

    def find(self) -> UnfinishedUpload | None:
        """Return what the last run has kept."""
        found: Any = self._file.find()
        try:
            return UnfinishedUpload(**{**found, "state": FileState(**found["state"])})
        except (TypeError, KeyError):
            return None

    def keep(self, unfinished: UnfinishedUpload) -> None:
        """Keep an upload, instead of the one that was kept."""
        self._file.keep(asdict(unfinished))

    def forget(self) -> None:
        """Forget what was kept."""
        self._file.forget()
