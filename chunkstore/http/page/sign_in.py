"""The pages on which a browser signs in."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.http.page.render import render


@dataclass(frozen=True, slots=True)
class SignIn:
    """What somebody has filled in to sign in, and the path that they want to be led to then."""

    name: str = ""
    next: str = ""


# What came with a request to sign in, so that the page of what failed has it too.
SIGN_IN: Final = web.RequestKey("sign_in", SignIn)


def login_page(
    request: web.Request,
    form: SignIn,
    *,
    is_private: bool,
    status: int = HTTPStatus.OK,
    text: str = "",
    problem: str = "",
) -> web.Response:
    """Return the page: `text` says why it is shown, `problem` what has just failed.

    Unless it is `is_private`, others could read a password on its way, and none is asked for.
    """
    context = {"form": form, "text": text, "problem": problem, "is_private": is_private}
    response = render(request, "login.html", context, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def code_page(request: web.Request, problem: str = "", status: int = HTTPStatus.OK) -> web.Response:
    """Return the page on which somebody gives a code too; `problem` is what has just failed."""
    response = render(request, "code.html", {"text": "", "problem": problem}, status)
    response.headers["Cache-Control"] = "no-store"
    return response
