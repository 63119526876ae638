"""Files of the local file system: opened on threads, with errors that name them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from chunkstore.core.errors import LocalFileError
from chunkstore.core.tasks import retrieve_exception


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an `OSError` into one that names `path`.

    Raises:
        LocalFileError: the file system failed.
    """
    try:
        yield
    except OSError as error:
        raise LocalFileError(f"{path}: {error.strerror or error}.") from error


@asynccontextmanager
async def opened(path: Path, mode: Literal["rb", "xb"]) -> AsyncIterator[BinaryIO]:
    """Open a file for the time of the context, and close it however that ends.

    A caller that is cancelled while the file is opened goes on once it is closed again.

    Raises:
        OSError: it cannot be opened.
    """
    opening = asyncio.create_task(asyncio.to_thread(path.open, mode))
    try:
        file = cast("BinaryIO", await asyncio.shield(opening))
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        await asyncio.wait([opening])
        raise
    try:
        yield file
    finally:
        await asyncio.shield(asyncio.to_thread(file.close))


def _close(opening: asyncio.Task[BinaryIO]) -> None:
    if retrieve_exception(opening) is None and not opening.cancelled():
        opening.result().close()
