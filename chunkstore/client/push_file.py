"""Pushing one file: what the server knows already is not sent."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import BinaryIO, Final

from chunkstore.client import fallback
from chunkstore.client.cache import FileState, Fingerprint
from chunkstore.client.digests import digest_of, naming, opened, require_unchanged
from chunkstore.client.errors import (
    ConditionFailed,
    InvalidPlace,
    Mismatch,
    Refused,
    SourceChanged,
    UploadGone,
)
from chunkstore.client.options import DEFAULT_PUSH, PushOptions
from chunkstore.client.outcome import Progress, Transferred
from chunkstore.client.places import RemotePlace
from chunkstore.client.push_list import ListPush
from chunkstore.client.reading import blocks_of_pipe
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import condition_on
from chunkstore.client.session import Session
from chunkstore.client.unfinished import Unfinished
from chunkstore.core.digest import Digest

# Up to this size a file is one PUT: a list would not pay.
SMALL_SIZE: Final = 1024 * 1024
_ATTEMPTS: Final = 2
_TOO_LARGE: Final = 413
_CONFLICT: Final = "name-conflict"


def push_file(
    session: Session, source: Path, target: RemotePlace, options: PushOptions = DEFAULT_PUSH
) -> Transferred:
    """Make a file of a server what a local file is; send only what the server lacks.

    A source that changes meanwhile is begun once more.

    Raises:
        ConditionFailed: what is there is not what the condition says, or was replaced meanwhile.
        SourceChanged: the source changed twice.
        Mismatch: the server has computed another digest.
        ClientError: the source cannot be read, or the server refuses or is away.
    """
    _require_file(target)
    for attempt in range(_ATTEMPTS):
        try:
            with opened(source) as (file, state):
                return _push(session, source, file, state, target, options)
        except ConditionFailed:
            # Somebody may have put there the same meanwhile, or this client, whose answer was lost.
            found = digest_of(session, source)
            if not session.server(target).files.has(target.name, found.digest):
                raise
            progress = Progress(session.reporter, str(target), found.size)
            progress.spared(found.size)
            return progress.finish(found.size, found.digest, unchanged=True)
        except UploadGone:
            if attempt == _ATTEMPTS - 1:
                raise
        except Refused as error:
            server = session.server(target)
            if error.problem == _CONFLICT and server.files.is_there(f"{target.name}/"):
                raise Refused(
                    error.status,
                    error.problem,
                    f"{target} is a folder; what goes into it is pushed to {target}/.",
                ) from error
            if error.status != _TOO_LARGE or not server.takes_streams:
                raise
            # A proxy may bound the bodies of requests.
            server.takes_streams = False
        except SourceChanged as error:
            if attempt == _ATTEMPTS - 1:
                raise SourceChanged(
                    f"{source} was changed while it was pushed; nothing was replaced."
                ) from error
    raise AssertionError


def push_pipe(
    session: Session, pipe: BinaryIO, target: RemotePlace, options: PushOptions = DEFAULT_PUSH
) -> Transferred:
    """Make a file of a server what comes by a pipe, as `push_file`; a part of it is never visible.

    Raises:
        ClientError: as `push_file`.
    """
    _require_file(target)
    server = session.server(target)
    progress = Progress(session.reporter, str(target), 0)
    blocks = blocks_of_pipe(pipe)
    if server.abilities is None:
        return fallback.push_pipe(server, blocks, target, options, progress)
    push = ListPush(
        session, server, server.abilities, target, options, progress, Unfinished.nothing()
    )
    return push.from_blocks(blocks)


def put_small(
    server: Server, content: bytes, name: str, options: PushOptions, progress: Progress
) -> Transferred:
    """Make a file by one PUT, unless it has this content already.

    Raises:
        ClientError: as `push_file`.
    """
    digest = Digest.of(content)
    condition = options.condition
    if condition is None:
        found = server.files.find(name)
        if found is not None and found.digest == digest:
            progress.spared(len(content))
            return progress.finish(len(content), digest, unchanged=True)
        condition = condition_on(found)
    written = server.files.put(name, content, len(content), condition, options.media_type)
    if written.digest not in (digest, None):
        raise Mismatch(f"The server computed another digest for {name!r} than this client.")
    progress.moved(len(content), len(content))
    return progress.finish(len(content), digest)


def _push(
    session: Session, source: Path, file: int, state: FileState, target: RemotePlace,
    options: PushOptions,
) -> Transferred:  # fmt: skip
    server = session.server(target)
    progress = Progress(session.reporter, str(target), state.size)
    if state.size <= SMALL_SIZE:
        content = read_small(session, source, file, state)
        return put_small(server, content, target.name, options, progress)
    with Unfinished.of(session.state, target.url, source) as unfinished:
        if server.abilities is None:
            return fallback.push_file(
                session, source, file, state, target, options, progress, unfinished
            )
        push = ListPush(session, server, server.abilities, target, options, progress, unfinished)
        return push.from_file(source, file, state)


def read_small(session: Session, source: Path, file: int, state: FileState) -> bytes:
    """Return the content of a small file that is open, and keep its digest.

    Raises:
        SourceChanged: it was changed meanwhile.
        ClientError: it cannot be read.
    """
    began = time.time_ns()
    with naming(source):
        content = os.pread(file, SMALL_SIZE + 1, 0)
    require_unchanged(source, file, state)
    if session.cache is not None:
        fingerprint = Fingerprint(Digest.of(content), len(content))
        session.cache.keep(state, source, fingerprint, began)
    return content


def _require_file(target: RemotePlace) -> None:
    if target.is_folder:
        raise InvalidPlace(f"{target} is a folder; a file needs a name.")
