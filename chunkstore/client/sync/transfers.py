"""One file of a sync: by the protocol that sends and fetches only what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chunkstore.client.options import PushOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.pull_file import pull_to
from chunkstore.client.push_file import push_file
from chunkstore.client.server.conditions import Condition
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.targets import Target


def push_step(
    session: Session, folder: RemotePlace, path: Path, name: str, condition: Condition
) -> None:
    """Send a file to a name in a folder.

    Raises:
        ClientError: as `push_file`.
    """
    push_file(session, path, _shown(folder, name), PushOptions(condition))


def pull_step(
    session: Session, folder: RemotePlace, file: RemoteFile, name: str, target: Target
) -> None:
    """Fetch a file of a folder, which a list has told, into an open folder of this machine.

    Raises:
        ClientError: as `pull_to`.
    """
    pull_to(session, _shown(folder, name), target, known=file)


def _shown(folder: RemotePlace, name: str) -> RemotePlace:
    """Return the place of a name, told to people without the folder that all names are in."""
    return replace(folder.joined(name), shown=name)
