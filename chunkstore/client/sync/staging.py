"""A copy of a folder beside it on the server, which is changed and then put in its place.

Whoever reads the folder sees the old tree or the new one, and none between. On a server with an
SQLite store, folders of more than 1,000 names are not there for a moment when the new one comes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeGuard

from chunkstore.client.errors import ClientError, InvalidPlace, Missing, ServerAway
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.files import Files
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.client.state_files import StateFile
from chunkstore.core.names import FolderName, parent

_MARK: Final = ".syncing-"
# As many as requests may be under way, and more.
_MOST_DELETIONS: Final = 100


@contextmanager
def staged(session: Session, place: RemotePlace, folder: str) -> Iterator[str]:
    """Give the name of a copy of `folder`, which replaces it when the context ends well.

    `place` is on its server. What others change in the folder meanwhile is lost. If the context
    fails, the copy is deleted; by Ctrl-C all transfers of the session are stopped, too. What could
    not be deleted, for the client was killed or the server away, is deleted by the next run.

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
    with StateFile.of(session.state, f"{_MARK}{files.url(folder)}".encode()) as note:
        name = f"{above}{prefix}{secrets.token_hex(4)}/"
        if _is_copy(left := note.find(), f"{above}{prefix}"):
            _discard(files, left)
            # By this name uploads into it are found again.
            name = left
        note.keep(name)
        _warn_of_others(session, files, above, prefix)
        with _copied(session, place, folder, name, note):
            yield name


@contextmanager
def _copied(
    session: Session, place: RemotePlace, folder: str, name: str, note: StateFile
) -> Iterator[None]:
    """Give a copy that replaces `folder`, and forget it once it is not there any more."""
    files = session.server(place).files
    try:
        with suppress(Missing):
            files.copy(folder, name, overwrite=False)
        yield
        _put_in_place(files, name, folder, session.settings.retries)
        note.forget()
    except Exception:
        _give_up(files, name, note)
        raise
    except BaseException:
        # Threads still send to it. What they do not finish now makes no file.
        session.stop()
        with Server.of(place, session.settings) as server:
            _give_up(server.files, name, note)
        raise


def _put_in_place(files: Files, name: str, folder: str, retries: int) -> None:
    """Move the copy to where it belongs.

    If an answer is lost, it is looked for what has come of it: who repeats the move may be told
    that there is nothing to move.
    """
    for attempt in range(retries + 1):
        try:
            files.move(name, folder, retries=0)
        except ServerAway:
            if attempt == retries:
                raise
        else:
            return
        try:
            files.list(name, limit=1)
        except Missing:
            return


def _give_up(files: Files, name: str, note: StateFile) -> None:
    with suppress(ClientError):
        _discard(files, name)
        note.forget()


def _discard(files: Files, name: str) -> None:
    """Delete the copy; once more each time that a request has made a file in it after that.

    Raises:
        ClientError: the server refuses or is away, or the copy does not go.
    """
    with suppress(Missing):
        for _ in range(_MOST_DELETIONS):
            files.delete(name)
        raise ClientError(f"{name} is there again whenever it is deleted.")


def _is_copy(name: object, start: str) -> TypeGuard[str]:
    """Whether it is the name that a copy gets whose name begins so."""
    return isinstance(name, str) and bool(re.fullmatch(re.escape(start) + "[0-9a-f]{8}/", name))


def _warn_of_others(session: Session, files: Files, above: str, prefix: str) -> None:
    with suppress(Missing):
        for left in files.list(above, prefix=prefix).folders:
            session.reporter.warned(
                f"{left} is there: another sync is under way, or was killed on another machine;"
                " `chunkstore rm -r` it."
            )
