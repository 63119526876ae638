"""Errors of the client as those that users of files expect."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chunkstore.client.errors import (
    ConditionFailed,
    InvalidPlace,
    Mismatch,
    Missing,
    Refused,
    ServerAway,
)
from chunkstore.core.errors import ChunkstoreError, InvalidName

_STATUSES: Final = {
    401: errno.EACCES, 403: errno.EACCES, 413: errno.EFBIG, 507: errno.ENOSPC,
}  # fmt: skip


@contextmanager
def os_errors(name: str, failed_condition: int = errno.ESTALE) -> Iterator[None]:
    """Turn errors of the client into `OSError`s about a name.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: of the class that suits; with ESTALE, the file was replaced while it was read.
    """
    try:
        yield
    except ConditionFailed as error:
        raise os_error(failed_condition, name) from error
    except ChunkstoreError as error:
        raise _os_error(error, name) from error


def os_error(number: int, name: str, message: str | None = None) -> OSError:
    """Return an error about a name, of the class that suits its number."""
    return OSError(number, message or os.strerror(number), name)


def _os_error(error: ChunkstoreError, name: str) -> OSError:
    match error:
        case Missing():
            return os_error(errno.ENOENT, name)
        case InvalidName() | InvalidPlace():
            return os_error(errno.EINVAL, name, str(error))
        case ServerAway():
            return os_error(errno.ECONNABORTED, name, str(error))
        case Mismatch():
            return os_error(errno.EIO, name, str(error))
        case Refused(problem="name-conflict"):
            return os_error(errno.EEXIST, name, str(error))
        case Refused(problem="invalid-name"):
            return os_error(errno.EINVAL, name, str(error))
        case Refused(status=status):
            return os_error(_STATUSES.get(status, errno.EIO), name, str(error))
    return os_error(errno.EIO, name, str(error))
