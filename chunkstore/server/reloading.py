"""Loading the certificate again while the server runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chunkstore.server.certificate import Certificate
from chunkstore.server.overseer import Overseer


@asynccontextmanager
async def reloading(certificate: Certificate | None, overseer: Overseer) -> AsyncIterator[None]:
    """Load the certificate again when its files change, and at SIGHUP."""
    if certificate is None and not overseer.reloads:
        yield
        return
    loop = asyncio.get_running_loop()
    wanted = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    tasks = [loop.create_task(_reload_when(wanted, certificate, overseer))]
    if certificate is not None:
        tasks.append(loop.create_task(certificate.follow()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A late one must not end the process before requests have.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _reload_when(
    wanted: asyncio.Event, certificate: Certificate | None, overseer: Overseer
) -> None:
    """Reload once for all signals that came before the reload began."""
    while True:
        await wanted.wait()
        wanted.clear()
        overseer.reloading()
        if certificate is not None:
            await certificate.reload()
        overseer.reloaded()
