"""A copy of a folder beside it on the server, which is changed and then put in its place.

Whoever reads the folder sees the old tree or the new one, and none between. On a server with an
SQLite store, folders of more than 1,000 names are not there for a moment when the new one comes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from chunkstore.client.errors import ClientError, InvalidPlace, Missing
from chunkstore.client.server.files import Files
from chunkstore.core.names import FolderName, parent

_MARK = ".syncing-"


@contextmanager
def staged(files: Files, folder: str, *, warn: Callable[[str], object]) -> Iterator[str]:
    """Give the name of a copy of `folder`, which replaces it when the context ends well.

    What others change in the folder meanwhile is lost. If the context fails, the copy is deleted.

    Raises:
        InvalidPlace: it is the root folder, which cannot be replaced.
        ClientError: the server refuses or is away.
    """
    if not folder:
        raise InvalidPlace("The root folder cannot be replaced; sync into a folder of it.")
    above = parent(FolderName(folder))
    last = folder.removeprefix(above).removesuffix("/")
    prefix = f".{last}{_MARK}"
    for left in _left_by_others(files, above, prefix):
        warn(f"{left} is there: another sync is under way, or was killed; `chunkstore rm -r` it.")
    name = f"{above}{prefix}{secrets.token_hex(4)}/"
    try:
        with suppress(Missing):
            files.copy(folder, name, overwrite=False)
        yield name
        files.move(name, folder)
    except BaseException:
        with suppress(ClientError):
            files.delete(name)
        raise


def _left_by_others(files: Files, above: str, prefix: str) -> list[str]:
    try:
        return list(files.list(above, prefix=prefix).folders)
    except Missing:
        return []
