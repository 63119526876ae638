"""Trees of files as a sync compares them: by names relative to their roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from chunkstore.core.digest import Digest


class TreeFile(Protocol):
    """A file of a tree: its size in bytes, and its digest where that is known without reading."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> Digest | None: ...


@dataclass(frozen=True, slots=True)
class NotSynced:
    """A name of a tree that takes no part, though it should, and why."""

    name: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Tree:
    """Files and empty folders by their names: paths joined by `/`, in NFC.

    `empty_folders` are there only if they were asked for. `failures` are names that could not be
    looked at or cannot be a file of the other side.
    """

    files: Mapping[str, TreeFile] = field(default_factory=dict)
    empty_folders: frozenset[str] = frozenset()
    failures: tuple[NotSynced, ...] = ()
