"""The content of a file of a server from start to end, going on by Range where that broke off."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from chunkstore.client.errors import ServerAway
from chunkstore.client.server.files import Files
from chunkstore.client.server.values import RemoteFile, file_from_headers
from chunkstore.client.transport import Answer

_MOST_FAILURES: Final = 5


def open_content(
    files: Files, name: str, start: int = 0, etag: str | None = None, stop: int | None = None
) -> tuple[RemoteFile, Generator[bytes]]:
    """Return what a file is, and its bytes from `start` to before `stop`, which are of one content.

    The caller closes the generator, or no other request may have its connection.

    Where the server tells no strong ETag, a lost connection is the end of it.

    Raises:
        Missing: there is no such file.
        ConditionFailed: it is not the one with this ETag, or was replaced before its end.
        ClientError: the server refuses or is away.
    """
    answer = files.get(name, start, stop, etag)
    file = file_from_headers(name, answer.headers)
    return file, _pieces(files, file, answer, start, stop)


def _pieces(
    files: Files, file: RemoteFile, answer: Answer, offset: int, stop: int | None
) -> Generator[bytes]:
    failures = 0
    while True:
        before = offset
        try:
            with answer:
                for piece in answer.pieces():
                    offset += len(piece)
                    yield piece
        except ServerAway:
            failures = failures + 1 if offset == before else 0
            if file.etag is None or failures > _MOST_FAILURES:
                raise
            answer = files.get(file.name, offset, stop, file.etag)
        else:
            return
