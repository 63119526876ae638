"""Rolling up names to folders in a list, the same for every store."""

from __future__ import annotations

from chunkstore.core.names import FolderName


def folder_of(name: str, prefix: str, delimiter: str) -> FolderName | None:
    """Return the folder that the name rolls up to, None if it is listed itself."""
    if not delimiter or not name.startswith(prefix):
        return None
    place = name.find(delimiter, len(prefix))
    return None if place < 0 else FolderName(name[: place + len(delimiter)])
