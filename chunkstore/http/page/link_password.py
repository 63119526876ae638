"""The page on which a browser gives the password of a link."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chunkstore.http.page.render import render

LINK_PASSWORD_RESOURCE: Final = "link-password"


def link_password_page(
    request: web.Request, *, is_private: bool, status: int, text: str, problem: str
) -> web.Response:
    """Return the page: `text` says why it is shown, `problem` what has just failed.

    Unless it is `is_private`, others could read a password on its way, and none is asked for.
    """
    context = {
        "link": request.match_info["link"],
        "text": text,
        "problem": problem,
        "is_private": is_private,
    }
    response = render(request, "link_password.html", context, status)
    response.headers["Cache-Control"] = "no-store"
    return response
