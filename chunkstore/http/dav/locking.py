"""LOCK and UNLOCK (RFC 4918 §9.10, §9.11).

A lock on a name that nothing has makes an empty file, which stays. A lock keeps others from
writing wherever the store is served, not in a drive alone; see `store.contract.locks`.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.dav.locks import Lock, path_of
from chunkstore.core.errors import (
    InvalidRequest,
    Locked,
    NameConflict,
    NotFound,
    PreconditionFailed,
)
from chunkstore.core.media_types import guess_media_type
from chunkstore.core.names import FileName, FolderName, encode_path
from chunkstore.http.dav.answers import error_with_condition, folder_location, in_drive
from chunkstore.http.dav.fields import lock_seconds_of, lock_token_of
from chunkstore.http.dav.lock_body import format_lock_answer, format_locks, parse_lock_info
from chunkstore.http.dav.multistatus import XML_TYPE
from chunkstore.http.dav.resources import find_resource
from chunkstore.http.dav.xml_body import xml_body
from chunkstore.http.message.destination import depth_of
from chunkstore.http.message.request import base_of, conditions_of, name_of, service_of
from chunkstore.http.security.allowed import names_of
from chunkstore.http.security.allowed_locks import locks_of
from chunkstore.http.security.guards import enter_guard, if_header_of, submitting
from chunkstore.store.contract.edits import is_folder_name
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.contract.values import File

_MATCHES: Final = "lock-token-matches-request-uri"


@in_drive
async def lock(request: web.Request) -> web.StreamResponse:
    """Answer LOCK: take a lock, or give one its time anew, where there is no body."""
    try:
        await enter_guard(request)
    except PreconditionFailed:
        if request.can_read_body or await _find_to_refresh(request) is not None:
            raise
        return error_with_condition(request, PreconditionFailed(_NO_LOCK), _MATCHES)
    async with xml_body(request) as body:
        if body.strip():
            return await _take(request, body)
    return await _refresh(request)


async def _take(request: web.Request, body: bytes) -> web.Response:
    wanted = parse_lock_info(body)
    is_deep = depth_of(request, "0", "infinity") == "infinity"
    name = await _name_to_lock(request)
    locks = locks_of(request)
    asked = WantedLock(
        name,
        is_deep,
        wanted.is_exclusive,
        wanted.owner,
        locks.principal,
        lock_seconds_of(request),
    )
    try:
        taken = await locks.take(asked)
    except Locked as error:
        return error_with_condition(request, error, "no-conflicting-lock")
    status = HTTPStatus.OK
    if not taken.exists:
        try:
            await _make_file(request, FileName(name), taken.lock)
        except BaseException:
            await locks.release(taken.lock.token)
            raise
        status = HTTPStatus.CREATED
    headers = {"Lock-Token": f"<{taken.lock.token}>", **folder_location(request, name)}
    return _told(request, taken.lock, status, headers)


async def _name_to_lock(request: web.Request) -> FileName | FolderName:
    """Return what the URL names, or the file that it is to name.

    Raises:
        NameConflict: it is to be a folder; that is to be made first.
        PreconditionFailed: it is not in the state that the request makes a condition.
    """
    conditions = conditions_of(request)
    try:
        found = await find_resource(request)
    except NotFound as error:
        conditions.require(None)
        name = name_of(request)
        if is_folder_name(name):
            raise NameConflict("There is no folder to lock; make it first.") from error
        return FileName(name)
    if isinstance(found, File):
        conditions.require(found.validators)
    return found.name


async def _make_file(request: web.Request, name: FileName, lock: Lock) -> None:
    """Make an empty file in a lock on its name; it may have come by now."""
    async with service_of(request).receiving(name=name) as receiver:
        put = replace(receiver.put(name, guess_media_type(name), CREATE_ONLY), strict=True)
        submitting(request, lock.token)
        try:
            await names_of(request).put(put)
        except PreconditionFailed:
            return


async def _refresh(request: web.Request) -> web.Response:
    found = await _find_to_refresh(request)
    refreshed = None
    if found is not None:
        seconds = lock_seconds_of(request)
        refreshed = await locks_of(request).refresh(found.token, seconds)
    if refreshed is None:
        return error_with_condition(request, PreconditionFailed(_NO_LOCK), _MATCHES)
    return _told(request, refreshed, HTTPStatus.OK, {})


async def _find_to_refresh(request: web.Request) -> Lock | None:
    """Return the lock that a LOCK without a body names, if it covers the URL and is one's own.

    Raises:
        InvalidRequest: it names none, or several.
    """
    header = if_header_of(request)
    if header is None or len(header.tokens) != 1:
        raise InvalidRequest("LOCK has a body, or one token in If, of the lock to be refreshed.")
    [token] = header.tokens
    locks = locks_of(request)
    found = await locks.find(path_of(name_of(request)), token)
    return found if found is not None and locks.is_own(found) else None


_NO_LOCK: Final = "There is no lock with this token on what the URL names."


@in_drive
async def unlock(request: web.Request) -> web.StreamResponse:
    """Answer UNLOCK: end a lock, by any URL that it covers."""
    token = lock_token_of(request)
    locks = locks_of(request)
    found = await locks.find(path_of(name_of(request)), token)
    if found is None:
        return error_with_condition(request, NameConflict(_NO_LOCK), _MATCHES)
    await locks.end(found)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _told(
    request: web.Request, lock: Lock, status: HTTPStatus, headers: dict[str, str]
) -> web.Response:
    root = base_of(request).path

    def href_of(each: Lock) -> str:
        return root + encode_path(each.name)

    text = format_lock_answer(format_locks([lock], href_of))
    return web.Response(status=status, text=text, headers={"Content-Type": XML_TYPE, **headers})
