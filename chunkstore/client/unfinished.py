"""URLs of uploads that were begun, in the user's state folder, so that the next run goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from blake3 import blake3

from chunkstore.client.cache import FileState


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload of a file in a certain state, to a target whose ETag was `base` then."""

    upload: str
    target: str
    source: str
    state: FileState
    base: str | None
    chunking: str


class Unfinished:
    """What is kept of the upload of one source to one target, by one transfer at a time.

    What cannot be read is as if it was not there; what cannot be written is not kept.
    """

    def __init__(self, file: int | None, path: Path) -> None:
        """Without a `file` nothing is kept."""
        self._file = file
        self._path = path

    @classmethod
    @contextlib.contextmanager
    def of(cls, folder: Path, target: str, source: Path) -> Iterator[Unfinished]:
        """Give that of a source and a target; if another transfer has it, nothing is kept."""
        key = os.fsencode(source.absolute()) + b"\0" + target.encode()
        path = folder / f"{blake3(key).hexdigest(16)}.json"
        file = None
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = cls(file if file is not None and _lock(file) else None, path)
        try:
            yield found
        finally:
            if file is not None:
                found._end()
                os.close(file)

    @classmethod
    def nothing(cls) -> Unfinished:
        """Return what keeps nothing, for a source that cannot be read twice."""
        return cls(None, Path())

    def find(self) -> UnfinishedUpload | None:
        """Return what the last run has kept."""
        if self._file is None:
            return None
        try:
            found = json.loads(os.pread(self._file, os.fstat(self._file).st_size, 0))
            return UnfinishedUpload(**{**found, "state": FileState(**found["state"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, unfinished: UnfinishedUpload) -> None:
        """Keep an upload, instead of the one that was kept."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, json.dumps(asdict(unfinished)).encode(), 0)

    def forget(self) -> None:
        """Forget what was kept."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None and os.fstat(self._file).st_size == 0:
                self._path.unlink()


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
