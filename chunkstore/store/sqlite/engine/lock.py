"""The lock that says which process writes to the database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from chunkstore.core.errors import StoreInUse, StoreUnusable

# A reader holds the lock for a moment to see whether it is taken.
_WAIT_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.02


def acquire_lock(path: Path) -> FileLock:
    """Take the lock beside the database at `path`. It ends with the process, however that ends.

    Raises:
        StoreInUse: another process has it.
        StoreUnusable: the folder is missing or cannot be written to.
    """
    if not path.parent.is_dir():
        raise StoreUnusable(f"There is no folder {path.parent}.")
    lock = FileLock(f"{path}-lock", timeout=_WAIT_SECONDS, thread_local=False)
    try:
        lock.acquire(poll_interval=_POLL_SECONDS)
    except Timeout as error:
        if not Path(lock.lock_file).exists():
            # On a file system like /proc it could not be created.
            raise StoreUnusable("Its folder cannot be written to.") from error
        raise StoreInUse from error
    except OSError as error:
        if Path(lock.lock_file).exists():
            raise StoreUnusable(f"{lock.lock_file}: {error.strerror}.") from error
        raise StoreUnusable(f"Its folder cannot be written to ({error.strerror}).") from error
    return lock
