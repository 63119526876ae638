"""Turn errors of the file system into errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chunkstore.core.errors import LocalFileError


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
