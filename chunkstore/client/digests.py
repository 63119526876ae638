"""Digests of local files, by the digest cache where it knows them, else by reading."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Final

from chunkstore.client.cache import FileState, Fingerprint
from chunkstore.client.cutting import DEFAULT_CHUNKING
from chunkstore.client.errors import ClientError, Missing, SourceChanged
from chunkstore.client.manifests import Manifest
from chunkstore.client.reading import BLOCK_SIZE, ContentReader, blocks_of_file
from chunkstore.client.session import Session
from chunkstore.core.digest import Digest

_AHEAD: Final = 1000


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[tuple[int, FileState]]:
    """Open a regular file for reading; give its descriptor and its state.

    Raises:
        Missing: there is none.
        ClientError: it cannot be read, or is no regular file.
    """
    with naming(path):
        # A pipe that nobody writes to would wait for ever.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        found = os.fstat(file)
        if not S_ISREG(found.st_mode):
            raise ClientError(f"{path} is no regular file.")
        yield file, FileState.of(found)
    finally:
        os.close(file)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Turn an `OSError` into an error that names `path`.

    Raises:
        Missing: there is no such file.
        ClientError: the file system failed.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"{path}: {error.strerror}.") from error
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror or error}.") from error


def digest_of(session: Session, path: Path, *, use_cache: bool = True) -> Fingerprint:
    """Return the fingerprint of a file; without `use_cache` it is read, whatever is known.

    Raises:
        SourceChanged: it was changed while it was read.
        ClientError: it cannot be read.
    """
    with opened(path) as (file, state):
        known = session.cache.find(state) if session.cache and use_cache else None
        if known is not None:
            return known
        if state.size > BLOCK_SIZE:
            return _read(session, path, file, state, DEFAULT_CHUNKING)[1]
        began = time.time_ns()
        with naming(path):
            content = os.pread(file, BLOCK_SIZE + 1, 0)
        require_unchanged(path, file, state)
        fingerprint = Fingerprint(Digest.of(content), len(content))
        if session.cache:
            session.cache.keep(state, path, fingerprint, began)
        return fingerprint


def list_of(session: Session, path: Path, chunking: str) -> Manifest:
    """Return the chunks of a file, cut as `chunking` says.

    Raises:
        SourceChanged: it was changed while it was read.
        ClientError: it cannot be read.
    """
    with opened(path) as (file, state):
        known = session.cache.find_list(state, chunking) if session.cache else None
        return known or _read(session, path, file, state, chunking)[0]


def digests_of(
    session: Session, paths: Iterable[Path]
) -> Iterator[tuple[Path, Fingerprint | ClientError]]:
    """Yield the fingerprint of each file, or why there is none, in order; several at a time."""
    ahead: deque[tuple[Path, Future[Fingerprint]]] = deque()
    with session.transfers() as pool:
        for path in paths:
            ahead.append((path, pool.submit(digest_of, session, path)))
            if len(ahead) > _AHEAD:
                yield _outcome(*ahead.popleft())
        while ahead:
            yield _outcome(*ahead.popleft())


def require_unchanged(path: Path | str, file: int, state: FileState) -> None:
    """Make sure that an open file is in the state that it had.

    Raises:
        SourceChanged: it is not.
    """
    if FileState.of(os.fstat(file)) != state:
        raise SourceChanged(f"{path} was changed while it was read.")


def _read(
    session: Session, path: Path, file: int, state: FileState, chunking: str
) -> tuple[Manifest, Fingerprint]:
    began = time.time_ns()
    reader = ContentReader(blocks_of_file(file, state.size), chunking, session.hashers)
    with naming(path):
        reader.read_all()
    require_unchanged(path, file, state)
    fingerprint = Fingerprint(reader.digest, reader.size)
    keep_list(session, path, state, began, chunking, fingerprint, bytes(reader.entries))
    return Manifest(fingerprint.digest, bytes(reader.entries)), fingerprint


def keep_list(
    session: Session, path: Path, state: FileState, began_ns: int, chunking: str,
    fingerprint: Fingerprint, entries: bytes,
) -> None:  # fmt: skip
    """Keep in the cache what reading a file has found; see `DigestCache.keep`."""
    if session.cache is not None and fingerprint.size == state.size:
        session.cache.keep(state, path, fingerprint, began_ns, chunking, entries)


def _outcome(path: Path, future: Future[Fingerprint]) -> tuple[Path, Fingerprint | ClientError]:
    try:
        return path, future.result()
    except ClientError as error:
        return path, error
