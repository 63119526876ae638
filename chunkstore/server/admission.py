"""Whether a store without accounts is served: whoever reaches its server may do everything.

On the loopback, and on Unix sockets, these are users of this machine. Beyond it, such a store is
served only if the operator has said so. One that loses its last account while it is served is not
opened by that: nobody is let in any more.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chunkstore.core.errors import ChunkstoreError
from chunkstore.server.config import ServeConfig
from chunkstore.server.listening import Listening
from chunkstore.service.access.directory import read_snapshot
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store

_logger = logging.getLogger(__name__)


class StoreOpen(ChunkstoreError):
    """The store has no accounts, and others than this machine could reach it."""


@asynccontextmanager
async def admitting(
    store: Store, config: ServeConfig, listening: Listening, *, warns: bool = True
) -> AsyncIterator[People]:
    """Yield those who use the store, for the time of the context.

    Of several processes one `warns`, in the log.

    Raises:
        StoreOpen: it has no accounts, and would be served beyond this machine unasked.
    """
    beyond = listening.beyond_loopback
    people = People.of(
        store, may_be_open=config.may_be_open or beyond is None, audited=config.audited
    )
    try:
        if beyond is not None and (await read_snapshot(store.records)).is_open:
            if not config.may_be_open:
                raise StoreOpen(
                    f"The store has no accounts, so whoever reaches {beyond} could read, replace"
                    " and delete every file. Add one first, by `chunkstore user add NAME --admin`;"
                    " or give --open, if that is what you want."
                )
            if warns:
                _logger.warning(
                    "The store has no accounts: whoever reaches %s can read, replace and delete"
                    " every file.",
                    beyond,
                )
        yield people
    finally:
        people.close()
