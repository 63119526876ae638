"""The lock that says which process writes to the database."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from chunkstore.errors import StoreInUse, StoreUnusable


def acquire_lock(path: Path) -> FileLock:
    """Take the lock beside the database at `path`. It goes with the process, however that ends.

    Raises:
        StoreInUse: another process has it.
        StoreUnusable: the folder is missing or cannot be written to.
    """
    if not path.parent.is_dir():
        raise StoreUnusable(f"There is no folder {path.parent}.")
    lock = FileLock(f"{path}-lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreInUse from error
    except OSError as error:
        raise StoreUnusable(f"Its folder cannot be written to ({error.strerror}).") from error
    return lock
