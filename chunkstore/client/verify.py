"""Comparing local files with those of a server, by their digests, and printing one."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize

from blake3 import blake3

from chunkstore.client.content import open_content
from chunkstore.client.digests import digest_of
from chunkstore.client.errors import ClientError, Failure, InvalidPlace, Mismatch, Missing
from chunkstore.client.outcome import Progress, Transferred
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_many import walk_folder
from chunkstore.client.server.values import RemoteFile
from chunkstore.client.session import Session
from chunkstore.client.targets import is_part_name
from chunkstore.client.workers import run_each
from chunkstore.core.digest import Digest


class Difference(StrEnum):
    """How a local file and one of a server differ."""

    CONTENT = "differs"
    NOT_HERE = "is not here"
    NOT_THERE = "is not on the server"


@dataclass(frozen=True, slots=True)
class Different:
    """A file that is not the same here and on the server; `error` if it could not be read."""

    name: str
    difference: Difference
    error: Exception | None = None


def verify_file(session: Session, local: Path, remote: RemotePlace) -> Different | None:
    """Compare a file, which is read whole, with one of a server; None if they are the same.

    Raises:
        Missing: there is no such file here or there.
        ClientError: it cannot be read, or the server tells no digests, or is away.
    """
    found = session.server(remote).files.find(remote.name)
    if found is None:
        raise Missing(f"There is no file {remote}.")
    return _compare(session, str(remote), local, found)


def verify_folder(session: Session, local: Path, remote: RemotePlace) -> list[Different]:
    """Compare all files below a folder, which are read whole, with those of a folder of a server.

    Raises:
        Missing: there is no such folder here or there.
        ClientError: the server tells no digests, or is away.
    """
    if not local.is_dir():
        raise Missing(f"{local}: there is no such folder.")
    remote = remote if remote.is_folder else replace(remote, name=f"{remote.name}/")
    files = session.server(remote).files
    there = {file.name.removeprefix(remote.name): file for file in files.walk(remote.name)}
    if not there:
        files.list(remote.name)
    unread: list[Failure] = []
    here = {
        # As the server has it, to which it was pushed.
        normalize("NFC", os.fspath(path.relative_to(local))): path
        for path, _ in walk_folder(local, session.reporter, unread)
        if not is_part_name(path.name)
    }
    session.reporter.planned(len(there), sum(file.size or 0 for file in there.values()))
    different = [Different(one.name, Difference.CONTENT, one.error) for one in unread]
    for name in sorted(here.keys() ^ there.keys()):
        one = Different(name, Difference.NOT_THERE if name in here else Difference.NOT_HERE)
        session.reporter.failed(name, Mismatch(f"It {one.difference}."))
        different.append(one)

    def compare(name: str) -> None:
        found = _compare(session, name, here[name], there[name])
        if found is not None:
            different.append(found)

    run_each(session.settings.transfers, sorted(here.keys() & there.keys()), compare)
    return sorted(different, key=lambda one: one.name)


def cat(session: Session, source: RemotePlace, out: BinaryIO) -> Transferred:
    """Write the content of a file of a server to `out`.

    Raises:
        Missing: there is no such file.
        Mismatch: what was written does not have the digest that the server tells.
        ClientError: the server refuses or is away, or the file was replaced meanwhile.
    """
    if source.is_folder:
        raise InvalidPlace(f"{source} is a folder; name a file in it.")
    file, pieces = open_content(session.server(source).files, source.name)
    progress = Progress(session.reporter, str(source), file.size or 0)
    whole, size = blake3(), 0
    with closing(pieces):
        for piece in pieces:
            whole.update(piece)
            size += len(piece)
            out.write(piece)
            progress.moved(len(piece), len(piece))
    out.flush()
    digest = Digest(whole.digest())
    if file.digest not in (None, digest):
        raise Mismatch(f"{source} has not the digest that the server tells.")
    return progress.finish(size, file.digest)


def _compare(session: Session, name: str, local: Path, remote: RemoteFile) -> Different | None:
    if remote.digest is None:
        raise ClientError(f"The server tells no digest of {remote.name!r} to compare.")
    progress = Progress(session.reporter, name, remote.size or 0)
    try:
        found = digest_of(session, local, use_cache=False)
    except ClientError as error:
        session.reporter.failed(name, error)
        return Different(name, Difference.CONTENT, error)
    progress.moved(found.size, found.size)
    if found.digest != remote.digest:
        session.reporter.failed(name, Mismatch(f"{local} differs from what the server has."))
        return Different(name, Difference.CONTENT)
    progress.finish(found.size, found.digest)
    return None
