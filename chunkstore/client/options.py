"""What those say who push and pull."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkstore.client.server.conditions import Condition
from chunkstore.core.chunkers import Chunking
from chunkstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How a file is pushed.

    Without a `condition` it replaces what was found, and nothing that came meanwhile. `bases` are
    names of other files on the server that it is made from; what is replaced is one without being
    named. Without `chunking` it is cut as the base is, else as the server does by default.
    """

    condition: Condition | None = None
    media_type: str | None = None
    bases: Sequence[str] = ()
    chunking: Chunking | None = None


DEFAULT_PUSH: Final = PushOptions()


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How a file is pulled.

    `seeds` are files and folders of this machine that may have some of its chunks, besides what it
    replaces. Its time of last change is the server's unless `keep_time` is false. With `if_match`
    the file has to have that digest. Without `sync_folder` the caller makes sure, by
    `targets.sync_folders`, that what was renamed is on the disk.
    """

    seeds: Sequence[Path] = ()
    keep_time: bool = True
    if_match: Digest | None = None
    sync_folder: bool = True


DEFAULT_PULL: Final = PullOptions()
