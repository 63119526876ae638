"""What a request says of locks: the If header, evaluated when it begins (RFC 4918 §10.4).

That it is false is told at once, before a body is sent. Which of its tokens are locks is settled
then; its entity tags, and locks that are in the way, are judged in the transaction of the write.
Of what somebody may not read no entity tag matches, and of what they may not see no lock is there:
so nobody learns of it by a condition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from chunkstore.core.access import Verbs
from chunkstore.core.dav.if_header import (
    Condition,
    ConditionList,
    IfHeader,
    ResourceTag,
    TagCondition,
    parse_if,
    settle_tokens,
)
from chunkstore.core.dav.locks import Lock, path_of
from chunkstore.core.errors import InvalidRequest, PreconditionFailed
from chunkstore.core.names import ROOT, FileName, decode_path
from chunkstore.http.message.destination import path_of_url
from chunkstore.http.message.headers import parse_lock_token
from chunkstore.http.message.request import base_of, raw_remainder, store_of
from chunkstore.http.security.rights import rights_of
from chunkstore.service.rights import SEEING, Rights
from chunkstore.store.contract.locks import UNGUARDED, Guard

_GUARD: Final = web.RequestKey("guard", Guard)
# No name is like it, so nothing is there; a deep lock on the root folder does not cover it either.
_NOWHERE: Final = ResourceTag("//")


def guard_of(request: web.Request) -> Guard:
    """Return what the request says of locks, which `enter_guard` has found."""
    guard: Guard = request.get(_GUARD, UNGUARDED)
    return guard


def submitting(request: web.Request, token: str) -> None:
    """Have the request submit the token of a lock that it has just taken."""
    guard = guard_of(request)
    request[_GUARD] = replace(
        guard, tokens=guard.tokens | {token}, principal=principal_of(rights_of(request))
    )


def principal_of(rights: Rights) -> str:
    """Return whose the locks are that somebody takes; "" is everybody's."""
    return rights.principal.id


def says_of_locks(request: web.Request) -> bool:
    """Whether there is anything for `enter_guard` to find before the handler.

    That of LOCK does so itself: that If is false, it tells in another way (§9.10.6).
    """
    told = "If" in request.headers or "Lock-Token" in request.headers
    return told and request.method != "LOCK"


async def enter_guard(request: web.Request) -> None:
    """Find what a request says of locks.

    Raises:
        InvalidRequest: its If header breaks the grammar.
        PreconditionFailed: that is false.
    """
    rights = rights_of(request)
    tokens = _lock_token(request)
    header = if_header_of(request)
    own = own_path_of(request)
    if header is None or (own is None and None in header.resources):
        # What is no file, as an upload, is in no state; its file's locks are judged at the commit.
        submitted = frozenset[str]() if header is None else header.tokens
        request[_GUARD] = Guard(tokens | submitted, principal_of(rights))
        return
    header = _with_paths(request, header, own)
    header = IfHeader(tuple(_readable(each, rights) for each in header.lists))
    # At the same moment, so that a store may look both up in one go.
    locks, etags = await asyncio.gather(
        _locks_on(request, header, rights), _etags_of(request, header.tagged)
    )
    formula = settle_tokens(
        header,
        lambda resource: {lock.token for lock in locks if _is_covered(resource, lock)},
    )
    if not formula.holds(etags.get):
        raise PreconditionFailed("The If header is false.")
    request[_GUARD] = Guard(tokens | header.tokens, principal_of(rights), formula)


def if_header_of(request: web.Request) -> IfHeader | None:
    """Return the If header, None if there is none.

    Raises:
        InvalidRequest: it breaks the grammar.
    """
    lines = request.headers.getall("If", [])
    return parse_if(" ".join(lines)) if lines else None


def _lock_token(request: web.Request) -> frozenset[str]:
    """Return the token that Office sends in the field of UNLOCK."""
    if request.method == "UNLOCK":
        return frozenset()
    token = parse_lock_token(request.headers.get("Lock-Token", ""))
    return frozenset() if token is None else frozenset({token})


def _with_paths(request: web.Request, header: IfHeader, own: str | None) -> IfHeader:
    """Return the header with the path of each resource, as locks have it, in place of its URL.

    Only the path of a URL matters, as that of a Destination: who is behind a proxy knows another
    scheme, host and port.
    """
    paths = {
        resource: ResourceTag(own or "") if resource is None else _path_of_url(request, resource)
        for resource in header.resources
    }
    return IfHeader(
        tuple(ConditionList(paths[each.resource], each.conditions) for each in header.lists)
    )


def own_path_of(request: web.Request) -> str | None:
    """Return the path of what the request's URL names; None if that is no file or folder."""
    if not {"name", "folder"} & request.match_info.keys() and raw_remainder(request):
        return None
    return _path_of_text(request, raw_remainder(request))


def _path_of_url(request: web.Request, url: str) -> ResourceTag:
    path, root = path_of_url(url), base_of(request).path
    if path is None or not f"{path}/".startswith(root):
        return _NOWHERE
    found = _path_of_text(request, path[len(root) :])
    return _NOWHERE if found is None else ResourceTag(found)


def _path_of_text(request: web.Request, raw: str) -> str | None:
    try:
        return path_of(base_of(request).folder_named(decode_path(raw)))
    except InvalidRequest:
        return None


def _readable(each: ConditionList, rights: Rights) -> ConditionList:
    """Return a list in which entity tags match nothing, if its resource may not be read."""
    if rights.is_open or Verbs.READ in rights.access.verbs(FileName(each.resource or ROOT)):
        return each
    conditions: list[Condition] = [
        TagCondition(None, condition.negated) if isinstance(condition, TagCondition) else condition
        for condition in each.conditions
    ]
    return ConditionList(each.resource, tuple(conditions))


def _is_covered(path: ResourceTag | None, lock: Lock) -> bool:
    return path is not None and path != _NOWHERE and lock.covers(path)


async def _locks_on(request: web.Request, header: IfHeader, rights: Rights) -> list[Lock]:
    if not header.tokens:
        return []
    paths = [path for path in header.resources if path is not None and _may_see(rights, path)]
    return list(await store_of(request).locks.covering(paths))


def _may_see(rights: Rights, path: str) -> bool:
    return rights.is_open or bool(rights.access.verbs(FileName(path)) & (SEEING | Verbs.WRITE))


async def _etags_of(
    request: web.Request, paths: Collection[ResourceTag | None]
) -> Mapping[ResourceTag | None, str]:
    asked = {path for path in paths if path and path != _NOWHERE}
    found = await store_of(request).locks.etags(asked) if asked else {}
    return {ResourceTag(path): etag for path, etag in found.items()}
