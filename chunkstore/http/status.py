"""Health and figures, for people and machines that run the server."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from chunkstore.errors import StoreFull
from chunkstore.http.context import TASKS, store_of
from chunkstore.presentation import Json, describe_scrub, describe_stats, describe_tasks
from chunkstore.store.base import Store


async def live(request: web.Request) -> web.Response:
    """Answer that the process runs."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.Response:
    """Answer whether the store answers and keeps its promises, a 5xx if not.

    Also what came of the last scrub and of the last time of each background task. Where there is no
    room for new content, the status that is told is `full`: everything else works.
    """
    store = store_of(request)
    faults = list(await store.find_faults())
    described = {
        **({"status": "failing"} if faults else await _describe_room(store)),
        "faults": faults,
        "scrub": describe_scrub(await store.find_scrub_report()),
        "tasks": describe_tasks(request.app[TASKS]),
    }
    status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
    return web.json_response(described, status=status, headers={"Cache-Control": "no-store"})


async def _describe_room(store: Store) -> Json:
    try:
        await store.require_room()
    except StoreFull as error:
        return {"status": "full", "detail": str(error)}
    return {"status": "ok"}


async def stats(request: web.Request) -> web.Response:
    """Answer what the store holds."""
    described = describe_stats(await store_of(request).stats())
    return web.json_response(described, headers={"Cache-Control": "no-store"})
