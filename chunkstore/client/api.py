"""What programs call: places are texts, and each call may have a session of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypedDict, Unpack

from chunkstore.client import pull_many, push_many, verify
from chunkstore.client.errors import Failure, InvalidPlace, SomeFailed
from chunkstore.client.options import PullOptions, PushOptions
from chunkstore.client.outcome import Transferred
from chunkstore.client.places import LocalPlace, RemotePlace
from chunkstore.client.pull_file import pull_file
from chunkstore.client.push_file import push_file, push_pipe
from chunkstore.client.server.conditions import ANYTHING
from chunkstore.client.session import Session
from chunkstore.client.verify import Different
from chunkstore.core.chunkers import Chunking
from chunkstore.core.errors import InvalidName
from chunkstore.core.names import parse_file_name

PathLike = str | os.PathLike[str]


class Pushing(TypedDict, total=False):
    """How to push, as the options of `chunkstore push` say.

    `force` replaces what others have changed meanwhile too; `bases` are names on the server of
    files that it is made from.
    """

    force: bool
    bases: Sequence[str]
    media_type: str | None
    chunking: Chunking | None


def push(
    source: PathLike | BinaryIO,
    target: str,
    *,
    session: Session | None = None,
    **settings: Unpack[Pushing],
) -> Transferred:
    """Push a file, or what can be read from `source`, to `target`, as `chunkstore push` does.

    A target that ends in `/` is a folder, in which the file keeps its name.

    Raises:
        ClientError: as `push_file`.
    """
    options = _push_options(settings)
    with _in(session) as used:
        place = _remote(used, target)
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            return push_file(used, path, within(place, path.name), options)
        return push_pipe(used, source, place, options)


def push_folder(
    source: PathLike,
    target: str,
    *,
    session: Session | None = None,
    **settings: Unpack[Pushing],
) -> None:
    """Push what is in a folder into the folder `target`.

    Raises:
        SomeFailed: some files were not pushed.
        ClientError: as `push_many.push_folder`.
    """
    options = _push_options(settings)
    with _in(session) as used:
        place = _remote(used, target)
        _require_none(push_many.push_folder(used, Path(source), place, options))


def pull(
    source: str,
    target: PathLike,
    *,
    session: Session | None = None,
    seeds: Sequence[PathLike] = (),
    keep_time: bool = True,
) -> Transferred:
    """Pull a file, as `chunkstore pull` does.

    A target that is a folder, or ends in `/`, gets the file under the name that it has.

    Raises:
        ClientError: as `pull_file`.
    """
    options = PullOptions([Path(seed) for seed in seeds], keep_time)
    with _in(session) as used:
        place = _remote(used, source)
        return pull_file(used, place, local_within(os.fspath(target), place), options)


def pull_folder(
    source: str,
    target: PathLike,
    *,
    session: Session | None = None,
    seeds: Sequence[PathLike] = (),
    keep_time: bool = True,
) -> None:
    """Pull what is in a folder of a server into the folder `target`.

    Raises:
        SomeFailed: some files were not pulled.
        ClientError: as `pull_many.pull_folder`.
    """
    options = PullOptions([Path(seed) for seed in seeds], keep_time)
    with _in(session) as used:
        place = _remote(used, source)
        _require_none(pull_many.pull_folder(used, place, Path(target), options))


def cat(source: str, out: BinaryIO, *, session: Session | None = None) -> Transferred:
    """Write the content of a file to `out`.

    Raises:
        ClientError: as `verify.cat`; a part of the content may have been written.
    """
    with _in(session) as used:
        return verify.cat(used, _remote(used, source), out)


def compare(local: PathLike, remote: str, *, session: Session | None = None) -> Sequence[Different]:
    """Return how a local file or folder differs from one of a server, by their digests.

    Raises:
        ClientError: as `verify.verify_file`.
    """
    with _in(session) as used:
        path, place = Path(local), _remote(used, remote)
        if path.is_dir():
            return verify.verify_folder(used, path, place)
        found = verify.verify_file(used, path, within(place, path.name))
        return [] if found is None else [found]


def within(place: RemotePlace, name: str) -> RemotePlace:
    """Return the place of a file that is pushed: of this name, if `place` is a folder.

    Raises:
        InvalidPlace: no file of a server can have the name.
    """
    if not place.is_folder:
        return place
    if name in ("", ".", ".."):
        raise InvalidPlace(f"{place} is a folder; a file needs a name.")
    try:
        return place.joined(parse_file_name(place.name + name).removeprefix(place.name))
    except InvalidName as error:
        raise InvalidPlace(f"{name}: {error}") from error


def local_within(target: str, source: RemotePlace) -> Path:
    """Return the path of a file that is pulled: in `target`, if that is a folder."""
    path = Path(target)
    if target.endswith("/") or path.is_dir():
        return path / source.name.rpartition("/")[2]
    return path


def _push_options(settings: Pushing) -> PushOptions:
    return PushOptions(
        ANYTHING if settings.get("force") else None,
        settings.get("media_type"),
        tuple(settings.get("bases", ())),
        settings.get("chunking"),
    )


def _remote(session: Session, text: str) -> RemotePlace:
    place = session.place(text)
    if not isinstance(place, RemotePlace):
        what = "a path" if isinstance(place, LocalPlace) else "a pipe"
        raise InvalidPlace(f"{text!r} is {what}; what is on a server is a URL or NAME:PATH.")
    return place


def _require_none(failures: Sequence[Failure]) -> None:
    if failures:
        raise SomeFailed(failures)


@contextmanager
def _in(session: Session | None) -> Iterator[Session]:
    """Give the caller's session, or a new one that ends with the context."""
    if session is not None:
        yield session
        return
    with Session() as used:
        yield used
