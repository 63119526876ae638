"""Files that are open."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from chunkstore.client.errors import ClientError
from chunkstore.client.filesystem.errors import os_error, os_errors
from chunkstore.client.filesystem.remote import MAX_EDITS, SMALL_SIZE, Info, Remote
from chunkstore.client.server.conditions import ABSENT, ANYTHING, Condition
from chunkstore.client.server.parts import put_part
from chunkstore.client.writing import ContentWriter


class OpenFile(AbstractBufferedFile):
    """A file that is read, or written from its start.

    All that is read is of the content that was there when it was opened. What is written is there
    when `close` has returned, and never in part: if an exception ends the `with` block or is under
    way when the file is closed, or if the file is never closed, nothing is.
    """

    kwargs: dict[str, Any]
    _details: Info

    def __init__(
        self, fs: AbstractFileSystem, remote: Remote, path: str, mode: str, block_size: int | None,
        **options: Any,  # noqa: ANN401 - they are fsspec's
    ) -> None:  # fmt: skip
        """Look for the file that is read; a new one (`xb`) must not be there.

        Raises:
            FileNotFoundError, FileExistsError: it is not as it has to be.
            OSError: as `os_errors`.
        """
        self._remote = remote
        self._failing = sys.exception()
        self._writer: ContentWriter | None = None
        self._upload: str | None = None
        self._condition: Condition = ABSENT if mode == "xb" else ANYTHING
        etag = options.pop("etag", None)
        if mode == "rb":
            self._details = _readable(remote, path, etag)
            options["size"] = self._details["size"]
        elif mode == "xb":
            _require_absent(remote, path)
        super().__init__(fs, path, mode, block_size or "default", **options)
        if mode == "rb":
            # So that a copy, pickled for another process, reads the same.
            self.kwargs = {**self.kwargs, "etag": self._details["ETag"]}

    def commit(self) -> None:
        """Make the file at the end of a transaction, of what was written to it."""
        commit_all([self])

    def discard(self) -> None:
        """Drop what was written."""
        writer, self._writer, upload, self._upload = self._writer, None, self._upload, None
        self.forced = self.closed = True
        if writer is not None:
            writer.discard()
        elif upload is not None:
            with suppress(ClientError):
                self._remote.server.chunks.cancel(upload)

    @property
    def part(self) -> tuple[str, str, Condition]:
        """The name, the upload and the condition of what was written within a transaction.

        Raises:
            ValueError: it was not closed.
        """
        if self._upload is None:
            raise ValueError(f"{self.path} was not closed before its transaction ended.")
        return self.path, self._upload, self._condition

    def forget_part(self) -> None:
        """Note that the upload is a file, and not to be deleted."""
        self._upload = None

    def close(self) -> None:
        """Make the file of what was written; within a transaction its end does that.

        Raises:
            FileExistsError: another one has come meanwhile, in mode `xb`.
            OSError: it was not made.
        """
        if self.closed or self.mode == "rb":
            super().close()
            return
        failing = sys.exception()
        if failing is not None and failing is not self._failing:
            warnings.warn(
                f"{self.path} was not written, for it was closed by a {type(failing).__name__}.",
                RuntimeWarning, stacklevel=2,
            )  # fmt: skip
            self.discard()
            return
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or self.mode == "rb":
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self.closed and self.mode != "rb":
            warnings.warn(
                f"{self.path} was not written: not closed.",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.discard()

    def _fetch_range(self, start: int, end: int) -> bytes:
        with os_errors(self.path):
            return self._remote.read(self.path, start, min(end, self.size), self._details["ETag"])

    def _upload_chunk(self, final: bool = False) -> bool:
        """Send what is in the buffer; at the end of the file, make it."""
        content = self.buffer.getbuffer()
        try:
            # A view that is left would keep the buffer from being closed.
            with content, os_errors(self.path, errno.EEXIST):
                if final and self._writer is None and len(content) <= SMALL_SIZE:
                    self._send_small(bytes(content))
                else:
                    self._send(content, final)
        except BaseException:
            # Who goes on all the same would write a file with a gap.
            self.discard()
            raise
        return True

    def _send_small(self, content: bytes) -> None:
        remote = self._remote
        if self.autocommit:
            remote.write(self.path, content, self._condition)
        else:
            remote.place(self.path)
            self._upload = put_part(remote.server, content)

    def _send(self, content: memoryview, final: bool) -> None:
        if self._writer is None:
            remote = self._remote
            self._writer = ContentWriter(
                remote.session, remote.place(self.path), self._condition,
                is_part=not self.autocommit,
            )  # fmt: skip
        self._writer.write(content)
        if final and self.autocommit:
            self._writer.make()
        elif final:
            self._upload = self._writer.keep()
        if final:
            self._writer = None


def _readable(remote: Remote, path: str, etag: str | None) -> Info:
    with os_errors(path):
        info = remote.info(path)
    if info["type"] != "file":
        raise os_error(errno.EISDIR, path)
    if etag not in (None, info["ETag"]):
        raise os_error(errno.ESTALE, path)
    return info


def _require_absent(remote: Remote, path: str) -> None:
    with suppress(FileNotFoundError), os_errors(path):
        remote.info(path)
        raise os_error(errno.EEXIST, path)


def commit_all(files: Sequence[OpenFile]) -> None:
    """Make files of what was written within a transaction: all of them, or none.

    Raises:
        FileExistsError: one that was to be new is there.
        ValueError: they are too many, or one was not closed.
        OSError: they were not made, or it is not known.
    """
    if len(files) > MAX_EDITS:
        raise ValueError(f"A transaction can have {MAX_EDITS} files.")
    with os_errors(", ".join(file.path for file in files[:3]), errno.EEXIST):
        files[0]._remote.put_parts([file.part for file in files])
    for file in files:
        file.forget_part()
