"""`POST /access/{command}`: the commands of `service/delegation`, in JSON, for pages and programs.

The arguments are an object, and so is the answer, `{"result": …}`. `user add` is at
`/access/user/add`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from chunkstore.core.errors import InvalidRequest, SignInFailed
from chunkstore.http.answers.documents import json_response
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.problems import UnsupportedMedia
from chunkstore.http.message.request import raw_remainder
from chunkstore.http.message.whole_bodies import short_body
from chunkstore.http.runtime.senders import address_of
from chunkstore.http.security.credentials import credentials_of
from chunkstore.http.security.csrf import require_own_origin
from chunkstore.http.security.rights import PEOPLE, become, rights_of
from chunkstore.service.access.principal import SessionCookie
from chunkstore.service.delegation import Delegation

DELEGATION: Final = web.AppKey("delegation", Delegation)

_NOT_KEPT: Final = {"Cache-Control": "no-store"}


async def run(request: web.Request) -> web.Response:
    """Run the command that the path names."""
    require_own_origin(request)
    command = raw_remainder(request).replace("/", " ")
    arguments = await _read_arguments(request)
    principal = rights_of(request).principal
    result = await request.app[DELEGATION].run(principal, command, arguments, address_of(request))
    return json_response({"result": result}, headers=_NOT_KEPT)


async def confirm(request: web.Request) -> web.Response:
    """Take the password again of somebody in a session, which may change credentials then."""
    require_own_origin(request)
    arguments = await _read_arguments(request)
    password, credentials = arguments.get("password"), credentials_of(request)
    if set(arguments) != {"password"} or not isinstance(password, str):
        raise InvalidRequest("The password is given, and nothing else.")
    if not isinstance(credentials, SessionCookie):
        raise SignInFailed("Only a session is confirmed by the password.")
    people = request.app[PEOPLE]
    become(request, await people.confirm(credentials.value, password, address_of(request)))
    return json_response({"result": {}}, headers=_NOT_KEPT)


async def _read_arguments(request: web.Request) -> Mapping[str, Any]:
    if essence_of(request) != "application/json":
        raise UnsupportedMedia("The arguments of a command are sent as application/json.")
    body = await short_body(request, "The arguments of a command")
    try:
        arguments = json.loads(body)
        # What is no text, as half of a surrogate pair, nothing could keep.
        json.dumps(arguments, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The arguments are no JSON.") from error
    if not isinstance(arguments, dict):
        raise InvalidRequest("The arguments are an object of JSON.")
    return arguments
