"""`GET /audit`: who did what, as JSON lines, for administrators."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.security.rights import PEOPLE
from chunkstore.service.access.commands import run_command

JSON_LINES: Final = "application/jsonl"
_FIELDS: Final = ("since", "until", "actor", "action", "name", "after")
_LONGEST: Final = 4096


async def get(request: web.Request) -> web.Response:
    """Answer GET and HEAD: a page of entries, the oldest first, and in `Link` where the next is."""
    arguments = {field: request.query.get(field) for field in _FIELDS}
    if any(value is not None and len(value) > _LONGEST for value in arguments.values()):
        raise InvalidRequest("A field of the query is longer than anything in the log.")
    limit = request.query.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdecimal() and len(limit) < 7):
        raise InvalidRequest("limit is a number.")
    page = await run_command(request.app[PEOPLE], "audit", {**arguments, "most": limit})
    lines = "".join(json.dumps(entry) + "\n" for entry in page["entries"])
    response = web.Response(body=lines.encode(), content_type=JSON_LINES)
    response.headers["Cache-Control"] = "no-store"
    if page["after"] is not None:
        url = request.rel_url.update_query(after=page["after"])
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response
