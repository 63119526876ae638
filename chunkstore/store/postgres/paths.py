"""Paths, by which names are kept: a folder's has no slash at its end."""

from __future__ import annotations

from typing import Final

from chunkstore.core.names import MAX_NAME_SIZE, ancestors, prefix_stop
from chunkstore.store.contract.edits import Name

# A character takes four bytes at most, so no name is as long as this text of the greatest one.
BEHIND_ALL_NAMES: Final = "\U0010ffff" * (MAX_NAME_SIZE // 4 + 1)


def below(prefix: str) -> tuple[str, str]:
    """Return the half-open range of the names that begin with `prefix`."""
    return prefix, prefix_stop(prefix) or BEHIND_ALL_NAMES


def path_of(name: Name) -> str:
    """Return the path that a file's or a folder's row has."""
    return name.removesuffix("/")


def folders_of(name: Name) -> list[str]:
    """Return the paths of the folders that a name lies in, from the outermost inwards."""
    return [path_of(folder) for folder in ancestors(name)]
