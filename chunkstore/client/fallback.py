"""Pushing to servers that know nothing of chunks: by tus, so that it can be resumed, or by PUT."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from blake3 import blake3

from chunkstore.client.cache import FileState
from chunkstore.client.digests import digest_of, naming, require_unchanged
from chunkstore.client.errors import (
    ClientError,
    ConditionFailed,
    Mismatch,
    Refused,
    ServerAway,
)
from chunkstore.client.options import PushOptions
from chunkstore.client.outcome import Progress, Transferred
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.answers import offset_of, require
from chunkstore.client.server.chunks import resolve
from chunkstore.client.server.conditions import Condition
from chunkstore.client.server.files import read_written
from chunkstore.client.server.server import Server
from chunkstore.client.server.values import RemoteFile, Written, condition_on
from chunkstore.client.session import Session
from chunkstore.client.unfinished import Unfinished, UnfinishedUpload
from chunkstore.core.digest import Digest

_TUS: Final = {"Tus-Resumable": "1.0.0"}
_TUS_BODY: Final = "application/offset+octet-stream"
# Smaller files are sent again rather than resumed.
_RESUMED_FROM: Final = 16 * 1024 * 1024
_MOST_FAILURES: Final = 5
_WHOLE: Final = "whole"


def push_file(
    session: Session, source: Path, file: int, state: FileState, target: RemotePlace,
    options: PushOptions, progress: Progress, unfinished: Unfinished,
) -> Transferred:  # fmt: skip
    """Push an open file.

    Raises:
        ClientError: as `push_file`.
    """
    server = session.server(target)
    found = server.files.find(target.name)
    if found is not None and found.digest is not None and found.size == state.size:
        known = digest_of(session, source)
        if known.digest == found.digest:
            progress.spared(state.size)
            return progress.finish(state.size, known.digest, unchanged=True)
    condition = options.condition or condition_on(found)
    body = FileBody(source, file, state, progress)
    written: Written | None = None
    if state.size >= _RESUMED_FROM and not target.is_foreign:
        tus = _Tus(session, server, source, file, state, target, found, unfinished)
        written = tus.push(condition, options, progress)
    if written is None:
        written = server.files.put(
            target.name, body, state.size, condition, options.media_type
        )  # fmt: skip
    digest = body.digest_if_whole or digest_of(session, source).digest
    _check(written, digest, target)
    return progress.finish(state.size, digest)


def push_pipe(
    server: Server, blocks: Iterator[bytes], target: RemotePlace, options: PushOptions,
    progress: Progress,
) -> Transferred:  # fmt: skip
    """Push what comes by a pipe, in one request, which cannot be repeated.

    Raises:
        ClientError: as `push_pipe`.
    """
    condition = options.condition or condition_on(server.files.find(target.name))
    body = _PipeBody(blocks, progress)
    written = server.files.put(target.name, body, None, condition, options.media_type)
    _check(written, body.digest, target)
    return progress.finish(body.size, body.digest)


def _check(written: Written, digest: Digest, target: RemotePlace) -> None:
    if written.digest not in (digest, None):
        raise Mismatch(f"The server computed another digest for {target} than this client.")


class FileBody:
    """A part of an open file as the body of a request, hashed as it is read."""

    def __init__(
        self, path: Path, file: int, state: FileState, progress: Progress, start: int = 0
    ) -> None:
        self._path = path
        self._file = file
        self._start = self._offset = start
        self._stop = state.size
        self._state = state
        self._progress = progress
        self._hash = blake3()
        # Up to where bytes were counted as sent; those that are sent again are not.
        self._counted = start

    @property
    def digest_if_whole(self) -> Digest | None:
        """The digest of the file, if it was read from its first to its last byte."""
        is_whole = self._start == 0 and self._offset == self._stop
        return Digest(self._hash.digest()) if is_whole else None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            SourceChanged: the file was changed; its last bytes are not sent then.
        """
        left = self._stop - self._offset
        with naming(self._path):
            piece = os.pread(self._file, left if size < 0 else min(size, left), self._offset)
        if len(piece) in (0, left):
            # The last moment at which the server can be kept from taking it for whole.
            require_unchanged(self._path, self._file, self._state)
        self._hash.update(piece)
        self._offset += len(piece)
        if self._offset > self._counted:
            new = self._offset - self._counted
            self._progress.moved(new, new)
            self._counted = self._offset
        return piece

    def tell(self) -> int:
        """Return the offset."""
        return self._offset

    def seek(self, offset: int, /) -> int:
        """Go back to the start; urllib3 goes nowhere else."""
        self._offset = offset
        self._hash = blake3()
        return offset


class _PipeBody:
    """What comes by a pipe as the body of a request."""

    def __init__(self, blocks: Iterator[bytes], progress: Progress) -> None:
        self.size = 0
        self._blocks = blocks
        self._pending = memoryview(b"")
        self._progress = progress
        self._hash = blake3()

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.digest())

    def read(self, size: int = -1, /) -> bytes:
        if not self._pending:
            self._pending = memoryview(next(self._blocks, b""))
        piece = bytes(self._pending[: size if size >= 0 else None])
        self._pending = self._pending[len(piece) :]
        self._hash.update(piece)
        self.size += len(piece)
        self._progress.moved(len(piece), len(piece))
        return piece

    def tell(self) -> int:
        raise OSError("a pipe has no offset")

    def seek(self, offset: int, /) -> int:
        raise OSError(f"a pipe cannot go back to {offset}")


class _Tus:
    """One file, pushed by tus 1.0.0."""

    def __init__(
        self, session: Session, server: Server, source: Path, file: int, state: FileState,
        target: RemotePlace, found: RemoteFile | None, unfinished: Unfinished,
    ) -> None:  # fmt: skip
        self._transport = server.transport
        self._base = server.base
        self._source = source
        self._file = file
        self._state = state
        self._target = target
        self._found = found
        self._unfinished = unfinished

    def push(
        self, condition: Condition, options: PushOptions, progress: Progress
    ) -> Written | None:
        """Push the file, going on with the last run's upload; None if the server has no tus.

        Raises:
            ClientError: the server refuses or is away.
        """
        upload = self._resumed() or self._begin(condition, options)
        if upload is None:
            return None
        failures = 0
        progress.spared(offset := self._offset(upload))
        while True:
            try:
                written = self._append(upload, offset, progress)
            except (ServerAway, Refused) as error:
                failures += 1
                if failures > _MOST_FAILURES or (
                    isinstance(error, Refused) and error.status not in (409, 460)
                ):
                    raise
                reached = self._offset(upload)
                failures = failures if reached == offset else 0
                offset = reached
            except ConditionFailed:
                self._forget()
                raise
            else:
                self._forget()
                return written

    def _resumed(self) -> str | None:
        kept = self._unfinished.find()
        if kept is None or (kept.state, kept.base) != (self._state, self._etag):
            return None
        with suppress(ClientError):
            if self._offset(kept.upload) < self._state.size:
                return kept.upload
        self._forget()
        return None

    def _begin(self, condition: Condition, options: PushOptions) -> str | None:
        metadata = {"filename": self._target.name}
        if options.media_type is not None:
            metadata["filetype"] = options.media_type
        coded = (f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
        headers = {
            **_TUS, **condition.to_headers(),
            "Upload-Length": str(self._state.size), "Upload-Metadata": ",".join(coded),
        }  # fmt: skip
        answer = self._transport.request("POST", f"{self._base}uploads", headers=headers)
        if answer.status in (404, 405, 501):
            answer.close()
            return None
        require(answer, 201).close()
        upload = resolve(self._base, answer.headers.get("Location", ""))
        source = str(self._source.absolute())
        self._unfinished.keep(
            UnfinishedUpload(upload, self._target.url, source, self._state, self._etag, _WHOLE)
        )
        return upload

    def _append(self, upload: str, offset: int, progress: Progress) -> Written:
        body = FileBody(self._source, self._file, self._state, progress, offset)
        headers = {**_TUS, "Content-Type": _TUS_BODY, "Upload-Offset": str(offset)}
        # Not by the transport: how much has arrived has to be asked first.
        answer = self._transport.request(
            "PATCH", upload, headers=headers, body=body, size=self._state.size - offset, retries=0
        )
        return read_written(answer)

    def _offset(self, upload: str) -> int:
        with require(self._transport.request("HEAD", upload, headers=_TUS), 200, 204) as answer:
            return offset_of(answer) or 0

    def _forget(self) -> None:
        self._unfinished.forget()

    @property
    def _etag(self) -> str | None:
        return self._found.etag if self._found is not None else None
