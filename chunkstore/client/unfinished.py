"""URLs of uploads that were begun, in the user's state folder, so that the next run goes on."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

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


class UnfinishedUploads:
    """The uploads that were begun from this machine, a file for each in `folder`.

    What cannot be read is as if it was not there; what cannot be written is not kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, target: str, source: Path) -> UnfinishedUpload | None:
        """Return what was kept of a source and a target."""
        try:
            found = json.loads(self._path(target, source).read_bytes())
            return UnfinishedUpload(**{**found, "state": FileState(**found["state"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, unfinished: UnfinishedUpload) -> None:
        """Keep an upload, instead of the one that was kept of its source and target."""
        path = self._path(unfinished.target, Path(unfinished.source))
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                json.dump(asdict(unfinished), file)
            os.replace(file.name, path)

    def forget(self, target: str, source: Path) -> None:
        """Forget what was kept of a source and a target."""
        with contextlib.suppress(OSError):
            self._path(target, source).unlink()

    def _path(self, target: str, source: Path) -> Path:
        key = os.fsencode(source.absolute()) + b"\0" + target.encode()
        return self._folder / f"{blake3(key).hexdigest(16)}.json"
