"""Pulling many files, several at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from chunkstore.client.errors import Failure, Missing, ServerAway, Stopped
from chunkstore.client.options import DEFAULT_PULL, PullOptions
from chunkstore.client.places import RemotePlace
from chunkstore.client.pull_file import SMALL_SIZE, pull_below
from chunkstore.client.server.files import Files
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.targets import sync_folders
from chunkstore.client.workers import run_each
from chunkstore.core.errors import ChunkstoreError


def pull_files(
    session: Session, folder: RemotePlace, files: Iterable[RemoteFile], root: Path,
    options: PullOptions = DEFAULT_PULL, *, relative: bool = False,
) -> list[Failure]:  # fmt: skip
    """Pull files of a folder, as a list told of them, to their names below `root`.

    Those that failed are returned, after the reporter was told of them, with `relative` by names
    within the folder. A name that could lead out of `root` is such a failure.

    Raises:
        ServerAway: the server cannot be reached; what was pulled stays.
    """
    failures: list[Failure] = []
    pulled: list[str] = []
    large: list[RemoteFile] = []
    options = replace(options, sync_folder=False)

    def pull(file: RemoteFile) -> None:
        name = file.name.removeprefix(folder.name)
        place = folder.joined(name)
        if relative:
            place = replace(place, shown=name)
        try:
            pull_below(session, place, root, name, options, file)
            pulled.append(name)
        except (ServerAway, Stopped):
            raise
        except ChunkstoreError as error:
            failures.append(Failure(str(place), error))
            session.reporter.failed(str(place), error)

    def small() -> Iterator[RemoteFile]:
        for file in files:
            if file.size is not None and file.size <= SMALL_SIZE:
                yield file
            else:
                large.append(file)

    # A small file is one request.
    run_each(session.settings.connections, small(), pull)
    run_each(session.settings.transfers, large, pull)
    sync_folders(root, pulled)
    return failures


def pull_folder(
    session: Session, source: RemotePlace, target: Path, options: PullOptions = DEFAULT_PULL
) -> list[Failure]:
    """Pull what is in a folder of a server; return the files that failed, as `pull_files`.

    What is there already is not fetched, and what else is in `target` stays.

    Raises:
        Missing: there is no such folder.
        ServerAway: the server cannot be reached; what was pulled stays.
    """
    files = session.server(source).files
    found = list(files.walk(source.name))
    if not found:
        # A folder may be empty; one that is not there is an error.
        _require_folder(files, source)
    session.reporter.planned(len(found), sum(file.size or 0 for file in found))
    return pull_files(session, source, found, target, options)


def _require_folder(files: Files, source: RemotePlace) -> None:
    try:
        files.list(source.name)
    except Missing as error:
        name = source.name.removesuffix("/")
        if name and files.find(name) is not None:
            raise Missing(f"{source} is a file; its name has no / at its end.") from error
        raise
