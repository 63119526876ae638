"""Health and figures, for people and machines that run the server."""

from __future__ import annotations

from aiohttp import web

from chunkstore.http.context import store_of
from chunkstore.presentation import describe_scrub, describe_stats


async def live(request: web.Request) -> web.Response:
    """Answer that the process runs."""
    return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.Response:
    """Answer that the store answers, and the last scrub; where it does not, that is a 5xx."""
    scrub = describe_scrub(await store_of(request).find_scrub_report())
    described = {"status": "ok", "scrub": scrub}
    return web.json_response(described, headers={"Cache-Control": "no-store"})


async def stats(request: web.Request) -> web.Response:
    """Answer what the store holds."""
    described = describe_stats(await store_of(request).stats())
    return web.json_response(described, headers={"Cache-Control": "no-store"})
