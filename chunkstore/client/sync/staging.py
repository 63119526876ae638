"""A copy of a folder beside it on the server, which is changed and then put in its place.

Whoever reads the folder sees the old tree or the new one, and none between. On a server with an
SQLite store, folders of more than 1,000 names are not there for a moment when the new one comes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chunkstore.client.errors import ClientError, InvalidPlace, Missing
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.files import Files
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.core.names import FolderName, parent

_MARK = ".syncing-"


@contextmanager
def staged(session: Session, place: RemotePlace, folder: str) -> Iterator[str]:
    """Give the name of a copy of `folder`, which replaces it when the context ends well.

    `place` is on its server. What others change in the folder meanwhile is lost. If the context
    fails, the copy is deleted; by Ctrl-C all transfers of the session are stopped, too.

    Raises:
        InvalidPlace: it is the root folder, which cannot be replaced.
        ClientError: the server refuses or is away.
    """
    if not folder:
        raise InvalidPlace("The root folder cannot be replaced; sync into a folder of it.")
    files = session.server(place).files
    above = parent(FolderName(folder))
    last = folder.removeprefix(above).removesuffix("/")
    prefix = f".{last}{_MARK}"
    for left in _left_by_others(files, above, prefix):
        session.reporter.warned(
            f"{left} is there: another sync is under way, or was killed; `chunkstore rm -r` it."
        )
    name = f"{above}{prefix}{secrets.token_hex(4)}/"
    try:
        with suppress(Missing):
            files.copy(folder, name, overwrite=False)
        yield name
        files.move(name, folder)
    except Exception:
        _discard(files, name)
        raise
    except BaseException:
        # Threads still send to it. What they do not finish now makes no file.
        session.stop()
        with Server.of(place, session.settings) as server:
            _discard(server.files, name)
        raise


def _discard(files: Files, name: str) -> None:
    """Delete the copy; once more if a request has made a file in it after that."""
    with suppress(ClientError):
        while True:
            files.delete(name)


def _left_by_others(files: Files, above: str, prefix: str) -> list[str]:
    try:
        return list(files.list(above, prefix=prefix).folders)
    except Missing:
        return []
