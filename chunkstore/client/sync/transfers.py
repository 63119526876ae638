"""One file of a sync: by the protocol that sends and fetches only what is missing."""

from __future__ import annotations

import os
from pathlib import Path

from chunkstore.client.places import RemotePlace
from chunkstore.client.server.conditions import Condition, etag_of
from chunkstore.client.session import Session
from chunkstore.client.sync.plan import PutFile


def push_step(
    session: Session, place: RemotePlace, folder: str, path: Path, name: str, condition: Condition
) -> None:
    server = session.server(place)
    shown = name.removeprefix(folder)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        session.reporter.started(shown, size)
        server.files.put(name, file, size, condition)
        session.reporter.transferred(shown, size, size)
        session.reporter.finished(shown)


def pull_step(session: Session, place: RemotePlace, folder: str, step: PutFile, path: Path) -> None:
    server = session.server(place)
    session.reporter.started(step.name, step.size)
    part = path.with_name(f".{path.name}.part")
    etag = None if step.digest is None else etag_of(step.digest)
    with server.files.get(folder + step.name, etag=etag) as answer, part.open("wb") as file:
        for piece in answer.pieces():
            file.write(piece)
    part.replace(path)
    session.reporter.transferred(step.name, step.size, step.size)
    session.reporter.finished(step.name)


def is_part(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")
