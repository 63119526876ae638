"""`GET /files/[{dir}/]`: the list of a folder, as JSON or as a page."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from chunkstore.core.errors import InvalidRequest, NotFound
from chunkstore.core.names import MAX_UNNORMALIZED, FileName, FolderName, ancestors
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.request import (
    app_root,
    base_of,
    comes_by_link,
    folder_name_of,
    path_of,
)
from chunkstore.http.native.lock_marks import find_marks
from chunkstore.http.page.foot import FOOT
from chunkstore.http.page.render import render
from chunkstore.http.security.allowed import folder_exists, list_names, readable_in
from chunkstore.http.security.link_entry import visit_path
from chunkstore.http.security.told import possible_in, quotas_of, tells_figures, who_is
from chunkstore.http.security.visits import visit_of
from chunkstore.service.representations import Json, listing_to_json
from chunkstore.store.contract.values import Listing

MAX_LIMIT: Final = 1000
# Fewer, so that a page appears at once, however long the list is.
_PAGE_LIMIT: Final = 200
_NUMBER: Final = re.compile("[0-9]{1,9}")
_MAX_QUERY_FIELDS: Final = 100


async def get(request: web.Request) -> web.Response:
    """Answer GET and HEAD of a folder: one level of it by default; see `delimiter`."""
    folder = folder_name_of(request)
    query = _query_of(request)
    html = prefers_html(request)
    limit = _limit_of(query.get("limit"), default=_PAGE_LIMIT if html else MAX_LIMIT)
    _check_lengths(query)
    after = query.get("after")
    listing = await list_names(
        request,
        folder + unicodedata.normalize("NFC", query.get("prefix", "")),
        delimiter=query.get("delimiter", "/"),
        after=None if after is None else base_of(request).folder + after,
        limit=limit,
    )
    if not listing.files and not listing.folders:
        await _require_folder(request, folder)
    readable = readable_in(request, folder)
    response = (
        await _page(request, folder, listing, query.get("prefix", ""), readable)
        if html
        else json_response(_told(request, listing_to_json(listing, readable)))
    )
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "no-cache"
    if listing.next is not None:
        response.headers["Link"] = f'<{_next_url(request, listing.next)}>; rel="next"'
    return response


def _told(request: web.Request, listed: Json) -> Json:
    """Return a listing with names as the request is told them."""
    base = base_of(request)
    if not base.folder:
        return listed
    for file in listed["files"]:
        file["name"] = base.told(file["name"])
    following = listed["next"]
    return {
        "files": listed["files"],
        "folders": [base.told(folder) for folder in listed["folders"]],
        "next": None if following is None else base.told(following),
    }


def _query_of(request: web.Request) -> dict[str, str]:
    """Return the fields of the query; where one comes twice, the first."""
    try:
        pairs = parse_qsl(
            request.rel_url.raw_query_string,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_QUERY_FIELDS,
        )
    except ValueError as error:
        raise InvalidRequest("The query is not UTF-8, or has too many fields.") from error
    return dict(reversed(pairs))


def _check_lengths(query: Mapping[str, str]) -> None:
    for key in ("prefix", "delimiter", "after"):
        if len(query.get(key, "")) > MAX_UNNORMALIZED:
            raise InvalidRequest(f"{key} is longer than any name.")


def _limit_of(text: str | None, *, default: int) -> int:
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidRequest(f"limit is a number from 1 to {MAX_LIMIT}.")
    return int(text)


async def _require_folder(request: web.Request, folder: FolderName) -> None:
    if not await folder_exists(request, folder):
        raise NotFound(f"There is no folder {folder!r}.")


def _next_url(request: web.Request, after: str) -> str:
    told = base_of(request).told(FileName(after))
    return str(request.rel_url.update_query(after=told))


async def _page(
    request: web.Request,
    folder: FolderName,
    listing: Listing,
    prefix: str,
    readable: Callable[[FileName], bool] | None,
) -> web.Response:
    base = base_of(request)
    # At the same moment, so that a store may look both up in one go.
    quotas, marks = await asyncio.gather(
        quotas_of(request, folder), find_marks(request, folder, listing)
    )
    context = {
        "folder": folder,
        "ancestors": _shown_ancestors(folder, base.folder),
        "listing": listing,
        "limit": _PAGE_LIMIT,
        "prefix": prefix,
        "figures": await request.app[FOOT].get() if tells_figures(request) else None,
        "quotas": quotas,
        "marks": marks,
        "may_read": readable,
        **who_is(request),
        "next_url": None if listing.next is None else _next_url(request, listing.next),
        "root_url": base.path,
        "told": base.told,
        "url_of": lambda name: path_of(request, name),
    }
    if not comes_by_link(request):
        return render(request, "folder.html", {**context, **possible_in(request, folder)})
    link = visit_of(request).link
    by_link = {
        "may_change": False,
        "root_name": link.label or base.folder.rstrip("/").rpartition("/")[2] or "files",
        "app_root": app_root(request.app),
        "visits_url": f"{visit_path(request)}visits" if link.takes_files else "",
    }
    return render(request, "link_folder.html", {**context, **by_link})


def _shown_ancestors(folder: FolderName, root: FolderName) -> list[FolderName]:
    """Return the folders that lead from a root to a folder, which is the last of them."""
    if folder == root:
        return []
    return [*(above for above in ancestors(folder) if len(above) > len(root)), folder]
