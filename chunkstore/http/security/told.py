"""What an answer may tell whoever asked, of files, of quotas and of the whole store."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.file_upload import committed_response
from chunkstore.http.message.request import base_of, store_of
from chunkstore.http.security.rights import rights_of
from chunkstore.service.quotas import may_know_usage
from chunkstore.service.representations import Json, committed_to_json
from chunkstore.service.rights import PUTTING
from chunkstore.store.contract.quotas import Quota
from chunkstore.store.contract.values import Committed


def described(request: web.Request, name: FileName, committed: Committed) -> Json:
    """Return what is told of the file that was put as `name`."""
    if _is_hidden(request, name, committed):
        return {"name": base_of(request).told(name)}
    told = committed_to_json(committed, tells_new=tells_new(request))
    return {**told, "name": base_of(request).told(name)}


def stored_response(request: web.Request, name: FileName, committed: Committed) -> web.Response:
    """Return the answer to a request by which a file was put as `name`."""
    if _is_hidden(request, name, committed):
        return json_response(described(request, name, committed), status=HTTPStatus.CREATED)
    return committed_response(committed, described(request, name, committed))


def _is_hidden(request: web.Request, name: FileName, committed: Committed) -> bool:
    return committed.file.name != name or is_dropped(request, name)


async def quotas_of(request: web.Request, folder: FolderName) -> Sequence[Quota]:
    """Return the quotas that count what is put in a folder, as far as their figures may be told."""
    covering = await store_of(request).quotas.covering(folder)
    rights = rights_of(request)
    return [quota for quota in covering if may_know_usage(rights, quota.folder)]


async def quota_of(request: web.Request, folder: FolderName) -> tuple[int, int] | None:
    """Return how many bytes are used of the quota that a folder is in, and how many are left.

    None where there is none, or no figures of it may be told.
    """
    found = [
        (quota.used.size, max(quota.max_size - quota.used.size, 0))
        for quota in await quotas_of(request, folder)
        if quota.max_size is not None
    ]
    if not found:
        return None
    # What the innermost one uses; the fullest decides what is left.
    return found[-1][0], min(left for _, left in found)


def who_is(request: web.Request) -> dict[str, object]:
    """Return what a page says of whoever looks at it."""
    rights = rights_of(request)
    account = rights.principal.account
    return {
        "who": None if account is None else account.name,
        "is_closed": not rights.is_open,
        "may_share": account is not None and rights.access.somewhere(Verbs.SHARE),
        "administers": rights.access.somewhere(Verbs.ADMIN),
        "here": request.rel_url.raw_path_qs,
    }


def possible_in(request: web.Request, folder: FolderName) -> dict[str, bool]:
    """Return what a page offers to do in a folder, or somewhere below it."""
    access = rights_of(request).access
    return {
        "may_put": access.somewhere(PUTTING, folder),
        "may_change": access.somewhere(Verbs.DELETE, folder),
    }


def tells_figures(request: web.Request) -> bool:
    """Whether a page may tell what the whole store holds."""
    rights = rights_of(request)
    return rights.is_open or Verbs.ADMIN in rights.access.verbs(ROOT)


def tells_new(request: web.Request) -> bool:
    """Whether the answer may tell what of a content the store had: who reads all may know it."""
    return rights_of(request).reads_all()


def is_dropped(request: web.Request, name: FileName) -> bool:
    """Whether the file was put by somebody who learns nothing of others, not even its name."""
    rights = rights_of(request)
    return not rights.is_open and rights.drops(name)


def refuse_dropping(request: web.Request, name: FileName) -> None:
    """Refuse to put a file where the answer would tell somebody what they may not know.

    Raises:
        SignInNeeded, NotFound, VerbLacking: it would.
    """
    if is_dropped(request, name):
        raise rights_of(request).refusal(name, Verbs.LIST)
