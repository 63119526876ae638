"""Commands on tokens, and on sessions of browsers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from chunkstore.core.errors import Forbidden, InvalidRequest, NoSuchAccount
from chunkstore.service.access.account_documents import time_to_json, token_to_json
from chunkstore.service.access.arguments import (
    Arguments,
    Command,
    Json,
    parse_command_verbs,
    parse_folder,
)
from chunkstore.service.access.people import People


async def _add_token(people: People, arguments: Arguments) -> Json:
    seconds = arguments["expires_seconds"]
    if seconds is not None and seconds <= 0:
        raise InvalidRequest("A token is valid for some time.")
    expires = None if seconds is None else people.clock.now() + timedelta(seconds=seconds)
    verbs = parse_command_verbs(arguments["verbs"])
    scope = tuple((parse_folder(folder), verbs) for folder in arguments["folders"])
    most = arguments.get("most")
    if most is not None and len(await people.accounts.tokens(arguments["account"])) >= most:
        raise Forbidden(f"An account can have {most} tokens; revoke those that are not needed.")
    made = await people.accounts.add_token(
        arguments["account"], arguments["label"], scope, expires, by=arguments.get("by")
    )
    return {"token": made.text, **token_to_json(await people.directory.current(), made.token)}


async def _revoke_token(people: People, arguments: Arguments) -> Json:
    owner = arguments.get("account")
    token = await people.accounts.revoke_token(arguments["id"], owner)
    return token_to_json(await people.directory.current(), token)


async def _tokens(people: People, arguments: Arguments) -> Json:
    found = await people.accounts.tokens(arguments["account"])
    snapshot = await people.directory.current()
    return [token_to_json(snapshot, token) for token in found]


async def _sessions(people: People, arguments: Arguments) -> Json:
    account = (await people.directory.current()).get(arguments["account"])
    return [
        {
            "id": session.id,
            "browser": session.browser,
            "begun": time_to_json(session.begun),
            "renewed": time_to_json(session.created),
            "expires": time_to_json(session.expires),
        }
        for session in await people.sessions_of(account)
    ]


async def _end_session(people: People, arguments: Arguments) -> Json:
    account = (await people.directory.current()).get(arguments["account"])
    await people.sessions.end(account.key, arguments["id"])
    return {}


async def _end_other_sessions(people: People, arguments: Arguments) -> Json:
    account = (await people.directory.current()).get(arguments["account"])
    ended = [one for one in await people.sessions_of(account) if one.id != arguments["keep"]]
    for session in ended:
        # It may end by itself meanwhile.
        with suppress(NoSuchAccount):
            await people.sessions.end(account.key, session.id)
    return {"ended": len(ended)}


CREDENTIAL_COMMANDS: Final[Mapping[str, Command]] = {
    "token add": _add_token,
    "token revoke": _revoke_token,
    "token ls": _tokens,
    "session ls": _sessions,
    "session end": _end_session,
    "session end-others": _end_other_sessions,
}
