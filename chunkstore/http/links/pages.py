"""`/s/{link}/`: the page of a link, what it asks for, and what it tells programs."""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from chunkstore.core.errors import NotFound
from chunkstore.core.names import FileName
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.request import app_root, base_of, path_of
from chunkstore.http.message.whole_bodies import read_form
from chunkstore.http.page.render import render
from chunkstore.http.runtime.senders import address_of
from chunkstore.http.security.allowed import find_file, readable
from chunkstore.http.security.credentials import require_private_way
from chunkstore.http.security.csrf import require_own_origin
from chunkstore.http.security.link_entry import set_link_cookie, visit_path
from chunkstore.http.security.rights import PEOPLE, rights_of
from chunkstore.http.security.visits import check_shown, visit_of
from chunkstore.service.access.links import LinkKind, Visit
from chunkstore.service.access.principal import Via
from chunkstore.store.contract.values import File

_COUNT: Final = re.compile("[0-9]{1,4}", re.ASCII)
_NO_STORE: Final = {"Cache-Control": "no-store"}


async def show(request: web.Request) -> web.Response:
    """Answer GET and HEAD: a page about what the link is of, or the same as JSON.

    Nothing of a file is sent, so what looks at links for a preview uses none up.
    """
    visit = visit_of(request)
    if visit.link.kind is LinkKind.FILE:
        response = await _show_file(request, visit)
    elif visit.link.kind is LinkKind.DROP or visit.own is not None:
        response = _show_drop(request, visit)
    else:
        location = {"Location": path_of(request, visit.folder)}
        response = web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers=location)
    response.headers["Vary"] = "Accept"
    if visit.link.limits.uses is not None and len(visit.known_by) == 1:
        # By which this visitor is known again, from wherever they come.
        visiting = request.app[PEOPLE].visiting
        set_link_cookie(request, response, visiting.new_cookie(visit.link))
        response.headers.update(_NO_STORE)
    return response


async def _show_file(request: web.Request, visit: Visit) -> web.Response:
    name = readable(request, FileName(visit.link.target))
    file = await find_file(request, name)
    check_shown(request, name, file)
    if file is None:
        raise NotFound
    told = base_of(request).told(name)
    if prefers_html(request):
        context = {
            **_context(request, visit),
            "file": file,
            "name": told,
            "content_url": path_of(request, name),
            "text": visit.link.label,
            "problem": "",
        }
        return render(request, "link_file.html", context)
    return json_response({**_described(visit), **_file(file, told), "path": path_of(request, name)})


def _file(file: File, told: str) -> dict[str, Any]:
    return {
        "name": told,
        "size": file.size,
        "digest": file.etag,
        "media_type": file.media_type,
        "modified": _time(file.modified),
    }


def _show_drop(request: web.Request, visit: Visit) -> web.Response:
    if prefers_html(request):
        return render(request, "link_drop.html", _context(request, visit))
    return json_response({**_described(visit), "path": base_of(request).path})


def _context(request: web.Request, visit: Visit) -> dict[str, Any]:
    base = base_of(request)
    return {
        "link": visit.link,
        "has_begun": visit.own is not None,
        "sent": _sent(request),
        "root_url": base.path,
        "uploads_url": (base.uploads or "").removesuffix("/"),
        "visits_url": f"{visit_path(request)}visits",
        "app_root": app_root(request.app),
    }


def _sent(request: web.Request) -> int:
    """Return how many files a form has just sent, that led here."""
    text = request.query.get("sent", "")
    return int(text) if _COUNT.fullmatch(text) else 0


def _described(visit: Visit) -> dict[str, Any]:
    link = visit.link
    return {
        "kind": link.kind.value,
        "label": link.label,
        "expires": None if link.ends is None else _time(link.ends),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


async def lead(request: web.Request) -> web.Response:
    """Lead to the page who leaves out the slash at the end of its URL."""
    headers = {"Location": visit_path(request), **_NO_STORE}
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)


async def begin_visit(request: web.Request) -> web.Response:
    """Begin a visit to a drop folder, of who sends the name that they go by; lead to its page."""
    fields = await read_form(request)
    visiting = request.app[PEOPLE].visiting
    text = await visiting.begin_visit(rights_of(request).principal, fields.get("name", ""))
    headers = {"Location": visit_path(request, text), **_NO_STORE}
    return web.Response(status=HTTPStatus.SEE_OTHER, headers=headers)


async def unlock(request: web.Request) -> web.Response:
    """Take the password of the link, and lead to its page."""
    require_own_origin(request)
    require_private_way(request)
    fields = await read_form(request)
    people, address = request.app[PEOPLE], address_of(request)
    with people.sign_ins.counting(Via.LINK, address):
        cookie = await people.visiting.unlock(
            request.match_info["link"], fields.get("password", ""), address
        )
    headers = {"Location": visit_path(request), **_NO_STORE}
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers=headers)
    set_link_cookie(request, response, cookie)
    return response
