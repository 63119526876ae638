"""Health and statistics, for operators and their monitoring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.core.tasks import retrieve_exception
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.request import TASKS, store_of
from chunkstore.http.runtime.draining import DRAIN
from chunkstore.http.security.rights import may_see_details
from chunkstore.service.representations import Json, scrub_to_json, stats_to_json, tasks_to_json
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import Health, Stats


class Figures:
    """The statistics of a store, cached for `seconds` of `clock`, and `rest` times what they took.

    Counting reads whole tables, and any client may ask, so no more than one count is under way.
    """

    def __init__(
        self,
        maintenance: Maintenance,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        rest: float = 0,
    ) -> None:
        self._maintenance = maintenance
        self._seconds = seconds
        self._rest = rest
        self._taken_seconds = 0.0
        self._clock = clock
        self._counting: asyncio.Task[tuple[float, Stats]] | None = None
        self._counted: tuple[float, Stats] | None = None

    async def get(self) -> tuple[Stats, float]:
        """Return the statistics and their age in seconds.

        Raises:
            StoreError: see `Maintenance.stats`; the next call counts again.
        """
        counted = self._counted
        seconds = max(self._seconds, self._rest * self._taken_seconds)
        if counted is None or self._clock() - counted[0] >= seconds:
            if self._counting is None:
                self._counting = asyncio.create_task(self._count())
                self._counting.add_done_callback(self._end)
            # A client that disconnects must not cancel it for the others.
            counted = await asyncio.shield(self._counting)
        began, stats = counted
        return stats, self._clock() - began

    async def _count(self) -> tuple[float, Stats]:
        began = self._clock()
        self._counted = began, await self._maintenance.stats()
        self._taken_seconds = self._clock() - began
        return self._counted

    def _end(self, counting: asyncio.Task[tuple[float, Stats]]) -> None:
        self._counting = None
        # Perhaps no client waits for it any more.
        retrieve_exception(counting)


FIGURES: Final = web.AppKey("figures", Figures)


async def live(request: web.Request) -> web.Response:
    """Answer 200 as long as the process answers at all."""
    return json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.Response:
    """Answer 200 if the store answers and has no known fault, else 503.

    The document reports the last scrub, and the last run of each background task. Where the disk
    is full its `status` is `full`, with 200: only what adds to the store fails then. A server that
    is about to stop is `stopping`, with 503.
    """
    health = await store_of(request).maintenance.health()
    drain = request.app.get(DRAIN)
    stopping = drain is not None and drain.announced
    status = {"status": "stopping"} if stopping else _status_of(health)
    details = {
        "faults": list(health.faults),
        "scrub": scrub_to_json(health.scrub),
        "tasks": tasks_to_json(request.app[TASKS]),
    }
    # Strangers learn no more than what to do about it.
    described = {**status, **details} if await may_see_details(request) else _summary(status)
    unavailable = stopping or health.faults
    code = HTTPStatus.SERVICE_UNAVAILABLE if unavailable else HTTPStatus.OK
    return json_response(described, status=code, headers={"Cache-Control": "no-store"})


def _summary(status: Json) -> Json:
    return {"status": status["status"]}


def _status_of(health: Health) -> Json:
    if health.faults:
        return {"status": "failing"}
    if health.full is not None:
        return {"status": "full", "detail": health.full}
    return {"status": "ok"}


async def stats(request: web.Request) -> web.Response:
    """Answer the statistics of the store, as of `Age` seconds ago (RFC 9111 §5.1)."""
    counted, age_seconds = await request.app[FIGURES].get()
    headers = {"Cache-Control": "no-store", "Age": str(int(age_seconds))}
    return json_response(
        stats_to_json(counted, await store_of(request).quotas.list()), headers=headers
    )
