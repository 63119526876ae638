"""Connections to a PostgreSQL server: what jobs use of one, and how they are made."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias

import asyncpg

from chunkstore.store.postgres.rows import Row

# asyncpg has no types: what it takes, and what it returns, as PostgreSQL's types have it.
Parameter: TypeAlias = Any
Value: TypeAlias = Any

CONNECTIONS: Final = 12
# How long a statement may take that does not grow with the store.
_STATEMENT_SECONDS: Final = 120.0
# For statements that grow with the store: as good as no limit. The system's keep-alive notices a
# machine that is gone.
LONG_SECONDS: Final = 24 * 3600.0
# How long a statement waits for a lock. Its job is tried again, and others use the connection
# meanwhile.
_LOCK_MILLISECONDS: Final = 2000
# Keep-alive: after how long a silence, how often and how many times.
_ALIVE_SECONDS: Final = (10, 5, 4)
_CONNECT_SECONDS: Final = 10.0


class Connection(Protocol):
    """What jobs use of a connection. Parameters are given by place.

    A statement fails after `timeout` seconds; None stands for some that do for any which does not
    grow with the store.
    """

    async def execute(
        self,
        query: str,
        *parameters: Parameter,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg has it
    ) -> str:
        """Run a statement; return its command tag, which ends in the number of rows."""

    async def executemany(self, query: str, rows: Iterable[Sequence[Parameter]]) -> None:
        """Run a statement for each row of parameters."""

    async def fetch(
        self,
        query: str,
        *parameters: Parameter,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg has it
    ) -> list[Row]:
        """Return the rows of a query."""

    async def fetchrow(self, query: str, *parameters: Parameter) -> Row | None:
        """Return the first row of a query, None if there is none."""

    async def fetchval(
        self,
        query: str,
        *parameters: Parameter,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg has it
    ) -> Value:
        """Return the first value of a query, None if there is none."""

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[object]:
        """Return a transaction as a context."""


def create_pool(url: str, connections: int) -> Any:  # noqa: ANN401 - asyncpg
    """Return a pool that is to be awaited, and connects when a connection is needed."""
    return asyncpg.create_pool(
        url,
        # Else it would fill the log while the database is away.
        min_size=0,
        max_size=connections,
        init=_prepare,
        reset=_leave_as_it_is,
        timeout=_CONNECT_SECONDS,
        command_timeout=_STATEMENT_SECONDS,
        server_settings={
            "application_name": "chunkstore",
            "jit": "off",
            "lock_timeout": str(_LOCK_MILLISECONDS),
        },
    )


async def _prepare(connection: Any) -> None:  # noqa: ANN401 - asyncpg
    """Make sure that what is committed is on disk, whatever the database's default."""
    _notice_silence(connection)
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )


def _notice_silence(connection: Any) -> None:  # noqa: ANN401 - asyncpg
    """Turn on keep-alive, so that a dead machine is noticed while a long statement runs."""
    # asyncpg has no option for it.
    transport = connection._transport.get_extra_info("socket")
    # On a duplicate, because uvloop's socket objects lack methods.
    with socket.socket(fileno=os.dup(transport.fileno())) as sock:
        if sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        for name, value in zip(names, _ALIVE_SECONDS, strict=True):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _leave_as_it_is(connection: Connection) -> None:
    """Spare the round trip that would reset a session: no job changes its own."""
