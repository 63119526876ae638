"""Drain: let the requests under way end before the server does.

aiohttp's own shutdown waits for handlers but no longer reads from their connections, so an upload
could never end. Here requests are counted, and at first only new connections are refused.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler


class Drain:
    """Counts the requests under way in the application it is installed in.

    `announced` is set once the server is about to stop: load balancers should send no more.
    """

    def __init__(self) -> None:
        self.announced = False
        self._under_way = 0
        self._draining = False
        self._ended = asyncio.Event()

    def install(self, app: web.Application) -> None:
        """Count the requests of `app`, which does not run yet."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._under_way += 1
            try:
                response = await handler(request)
            finally:
                self._under_way -= 1
                self._ended.set()
            if self._draining and not response.prepared:
                response.force_close()
            return response

        app.middlewares.insert(0, count)

    async def wait(self, seconds: float) -> None:
        """Wait until no request is under way, for at most so many seconds."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                while self._under_way:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            return


# The drain of an application's server, if that has one.
DRAIN: Final = web.AppKey("drain", Drain)
