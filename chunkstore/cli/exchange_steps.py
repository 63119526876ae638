"""What `chunkstore push`, `pull`, `cat` and `verify` do, one source after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from chunkstore.client import verify as verifying
from chunkstore.client.api import local_within, within
from chunkstore.client.errors import InvalidPlace, ServerAway, Stopped
from chunkstore.client.options import PullOptions, PushOptions
from chunkstore.client.places import LocalPlace, Pipe, Place, RemotePlace
from chunkstore.client.pull_file import pull_file
from chunkstore.client.pull_many import pull_folder
from chunkstore.client.push_file import push_file, push_pipe
from chunkstore.client.push_many import push_folder
from chunkstore.client.reporting import Reporter
from chunkstore.client.session import Session as Session
from chunkstore.core.errors import ChunkstoreError


def push(
    session: Session, report: Reporter, sources: Sequence[str], target: str, options: PushOptions
) -> None:
    """Push each source; `options.bases` are places as the user wrote them.

    Raises:
        ClientError: a place is none, the only source failed, or the server is away.
    """
    place = _remote(session, target)
    options = replace(options, bases=[_base(session, place, base) for base in options.bases])
    found = [session.place(source) for source in sources]
    if len(found) > 1 and not place.is_folder:
        place = replace(place, name=f"{place.name}/", shown=f"{place.shown}/")
    single = [one for one in found if not _is_folder(one)]
    folders = [str(one) for one in found if _is_folder(one)]
    if len(folders) > 1:
        raise InvalidPlace(
            f"What is in {' and '.join(folders)} would be mixed in {place}; push each by itself."
        )
    report.planned(len(single), sum(_size(one) for one in single))
    for one in found:
        _run(report, str(one), partial(_push, session, one, place, options), alone=len(found) == 1)


def pull(
    session: Session, report: Reporter, sources: Sequence[str], target: str, options: PullOptions
) -> None:
    """Pull each source.

    Raises:
        ClientError: a place is none, the only source failed, or the server is away.
    """
    places = [_remote(session, source) for source in sources]
    into = session.place(target)
    if isinstance(into, RemotePlace):
        raise InvalidPlace(f"{into} is on a server; push sends there.")
    report.planned(sum(not place.is_folder for place in places), 0)
    several = len(places) > 1
    folders = [str(place) for place in places if place.is_folder]
    if len(folders) > 1 and not isinstance(into, Pipe):
        raise InvalidPlace(
            f"What is in {' and '.join(folders)} would be mixed in {into}; pull each by itself."
        )
    for place in places:
        step = partial(_pull, session, place, into, options, several=several)
        _run(report, str(place), step, alone=not several)


def cat(session: Session, sources: Sequence[str]) -> None:
    """Print each source.

    Raises:
        ClientError: one cannot be printed.
    """
    for source in sources:
        verifying.cat(session, _remote(session, source), sys.stdout.buffer)


def verify(session: Session, report: Reporter, local: Path, remote: str) -> None:
    """Compare a file or folder; the report is told what differs.

    Raises:
        ClientError: they cannot be compared.
    """
    place = _remote(session, remote)
    if local.is_dir():
        verifying.verify_folder(session, local, place)
    else:
        report.planned(1, local.stat().st_size if local.is_file() else 0)
        verifying.verify_file(session, local, within(place, local.name))


def _push(session: Session, source: Place, target: RemotePlace, options: PushOptions) -> None:
    match source:
        case Pipe():
            if target.is_folder:
                raise InvalidPlace(f"{target} is a folder; what comes by a pipe needs a name.")
            if sys.stdin is None:
                raise InvalidPlace("Standard input is closed.")
            push_pipe(session, sys.stdin.buffer, target, options)
        case LocalPlace(path, is_folder) if is_folder or path.is_dir():
            push_folder(session, path, target, options)
        case LocalPlace(path):
            push_file(session, path, within(target, path.name), options)
        case RemotePlace():
            raise InvalidPlace(f"{source} is on a server; `chunkstore cp` copies within one.")


def _pull(
    session: Session,
    source: RemotePlace,
    target: LocalPlace | Pipe,
    options: PullOptions,
    *,
    several: bool,
) -> None:
    if isinstance(target, Pipe):
        verifying.cat(session, source, sys.stdout.buffer)
    elif source.is_folder:
        pull_folder(session, source, target.path, options)
    else:
        is_folder = several or target.is_folder
        path = local_within(f"{target.path}{'/' if is_folder else ''}", source)
        pull_file(session, source, path, options)


def _run(report: Reporter, name: str, transfer: Callable[[], None], *, alone: bool) -> None:
    """Transfer one source; if it fails and is not `alone`, tell so and go on with the others."""
    try:
        transfer()
    except (ServerAway, Stopped):
        raise
    except ChunkstoreError as error:
        if alone:
            raise
        report.failed(name, error)


def _remote(session: Session, text: str) -> RemotePlace:
    place = session.place(text)
    if not isinstance(place, RemotePlace):
        raise InvalidPlace(f"{text!r} is here; a place on a server is a URL or NAME:PATH.")
    return place


def _base(session: Session, target: RemotePlace, text: str) -> str:
    base = _remote(session, text)
    if (base.base, base.folder) != (target.base, target.folder) or base.is_folder:
        raise InvalidPlace(f"{text!r} is no file of the server that {target} is on.")
    return base.name


def _is_folder(place: Place) -> bool:
    return isinstance(place, LocalPlace) and (place.is_folder or place.path.is_dir())


def _size(place: Place) -> int:
    if isinstance(place, LocalPlace) and place.path.is_file():
        return place.path.stat().st_size
    return 0
