"""What a run that may be killed leaves for the next one, in the user's state folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3


class StateFile:
    """A JSON value that one run at a time has, and that outlives it unless it is forgotten.

    What cannot be read is as if it was not there; what cannot be written is not kept.
    """

    def __init__(self, file: int | None, path: Path) -> None:
        """Without a `file` nothing is kept."""
        self._file = file
        self._path = path

    @classmethod
    @contextlib.contextmanager
    def of(cls, folder: Path, key: bytes) -> Iterator[StateFile]:
        """Give the one of a key; if another run has it, nothing is kept."""
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
    def nothing(cls) -> StateFile:
        """Return what keeps nothing."""
        return cls(None, Path())

    def find(self) -> object:
        """Return what the last run has kept, None if it is nothing."""
        if self._file is None:
            return None
        try:
            return json.loads(os.pread(self._file, os.fstat(self._file).st_size, 0))
        except (OSError, ValueError):
            return None

    def keep(self, value: object) -> None:
        """Keep a value, instead of the one that was kept."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, json.dumps(value).encode(), 0)

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
