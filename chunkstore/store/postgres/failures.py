"""What the driver's errors mean: which are transient and tried again, and what others become."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from chunkstore.core.errors import StoreAway, StoreError, StoreFull, StoreUnavailable

_logger = logging.getLogger(__name__)

# After how long without a success the log says that the database is away.
_AWAY_SECONDS: Final = 1.0

# The database does not answer, or not as one that can be written to.
AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that is one no more
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # also: no server is one that can be written to
    asyncpg.InterfaceError,  # the connection was lost while it was in use
    OSError,
    TimeoutError,
)
_IN_THE_WAY: Final = (
    asyncpg.TransactionRollbackError,  # deadlocks and serialization failures
    asyncpg.LockNotAvailableError,
)
PASSING: Final = (*AWAY, *_IN_THE_WAY)
# How Citus tells of a connection between its machines.
_LOST_MACHINE: Final = re.compile(
    r"\bconnection\b|\bSSL SYSCALL\b|\bremote node\b|^failed to COPY to shard\b"
)
_FULL: Final = (asyncpg.DiskFullError, asyncpg.ConfigurationLimitExceededError)


class ChunkCollected(StoreUnavailable):
    """A chunk that was relied on is gone; try again."""


class Reachability:
    """Whether a database answers, as jobs found; each change is logged."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failing_since: float | None = None
        self._away = False

    def failed(self, error: BaseException) -> None:
        """Note that it did not answer."""
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            self._failing_since = now
        elif not self._away and now - self._failing_since >= _AWAY_SECONDS:
            self._away = True
            _logger.error("%s does not answer: %s", self._what, error or type(error).__name__)

    def answered(self) -> None:
        """Note that it answered."""
        if self._away and self._failing_since is not None:
            seconds = asyncio.get_running_loop().time() - self._failing_since
            _logger.warning("%s answers again, after %.0f seconds.", self._what, seconds)
        self._failing_since, self._away = None, False


@contextmanager
def telling_of_machines() -> Iterator[None]:
    """Tell a lost connection between machines of Citus from what else is an internal error."""
    try:
        yield
    except (asyncpg.InternalServerError, asyncpg.PostgresIOError) as error:
        if _LOST_MACHINE.search(str(error)) is None:
            raise
        raise asyncpg.ConnectionFailureError(str(error)) from error


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into chunkstore's."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        # It, or one of its parts; Citus tells by the text alone.
        if "chunk_ref" in f"{error.table_name} {error}":
            raise ChunkCollected from error
        raise StoreUnavailable from error
    except _FULL as error:
        raise StoreFull from error
    except AWAY as error:
        raise StoreAway from error
    except _IN_THE_WAY as error:
        raise StoreUnavailable("Others are changing the same; try again.") from error
    except asyncpg.PostgresError as error:
        raise StoreError from error
