"""The visit of a request that comes by a link: what it may be shown, and what it uses up."""

from __future__ import annotations

from aiohttp import web

from chunkstore.core.names import FileName
from chunkstore.http.security.link_entry import visit_path
from chunkstore.http.security.rights import rights_of
from chunkstore.service.access.links import Visit
from chunkstore.service.access.visiting import require_shown
from chunkstore.store.contract.values import File


def visit_of(request: web.Request) -> Visit:
    """Return the visit of a request that comes by a link."""
    visit = rights_of(request).principal.visit
    assert visit is not None
    return visit


def check_shown(request: web.Request, name: FileName, file: File | None) -> None:
    """Check that a file is what a link was made for, if the request comes by one.

    Raises:
        NotFound, LinkContentReplaced: it is not, or there is none any more.
    """
    visit = rights_of(request).principal.visit
    if visit is not None:
        require_shown(visit, name, None if file is None else file.etag)


async def count_use(request: web.Request, *, from_start: bool) -> None:
    """Count a use of a link that the request comes by; before anything of the file is sent.

    Raises:
        LinkUsedUp: it is one too many.
    """
    rights = rights_of(request)
    visit = rights.principal.visit
    if visit is not None and rights.people is not None:
        uses = rights.people.visiting.uses
        await uses.count(visit.link, visit.known_by, from_start=from_start)


def page_after(request: web.Request, listed: str, count: int) -> str:
    """Return the path of the page that a form with `count` files leads to.

    It is the list of the folder, `listed`, or that of a visit by a link which shows no list.
    """
    visit = rights_of(request).principal.visit
    if visit is None or visit.own is None:
        return listed
    return f"{visit_path(request, visit.text)}?sent={count}"
