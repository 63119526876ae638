"""Commands on accounts, groups and those whom a provider signs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chunkstore.core.access import GROUP_MARK
from chunkstore.core.errors import InvalidRequest
from chunkstore.service.access.account_documents import account_to_json, identity_to_json
from chunkstore.service.access.arguments import Arguments, Command, Json
from chunkstore.service.access.directory import read_snapshot
from chunkstore.service.access.people import People


async def _add(people: People, arguments: Arguments) -> Json:
    if arguments.get("first") and not (await read_snapshot(people.records)).is_open:
        return {}
    account = await people.accounts.add(
        arguments["name"], arguments["password"], admin=arguments["admin"]
    )
    return account_to_json(await people.directory.current(), account)


async def _remove(people: People, arguments: Arguments) -> Json:
    if not arguments["open"]:
        await people.accounts.remove(arguments["name"], by=arguments.get("by"))
        return {}
    if not people.directory.may_be_open:
        raise InvalidRequest(
            "Others than this machine can reach the server, so it opens no store unless it was"
            " started with --open."
        )
    snapshot = await people.directory.reload()
    account = snapshot.find(arguments["name"])
    if account is not None and list(snapshot.accounts) != [account.key]:
        raise InvalidRequest("It is not the last account; the store can only be open without any.")
    await people.accounts.remove(arguments["name"])
    await people.accounts.open_to_everybody()
    return {}


async def _disable(people: People, arguments: Arguments) -> Json:
    disabled, by = arguments["disabled"], arguments.get("by")
    await people.accounts.set_disabled(arguments["name"], disabled=disabled, by=by)
    return {}


async def _set_password(people: People, arguments: Arguments) -> Json:
    await people.accounts.set_password(
        arguments["name"],
        arguments["password"],
        keep_tokens=arguments["keep_tokens"],
        by=arguments.get("by"),
    )
    return {}


async def _remove_totp(people: People, arguments: Arguments) -> Json:
    await people.totp.remove_of(arguments["name"])
    return {}


async def _link(people: People, arguments: Arguments) -> Json:
    identity = await people.identities.link(
        arguments["name"], arguments["issuer"], arguments["subject"], by=arguments.get("by")
    )
    return identity_to_json(await people.directory.current(), identity)


async def _unlink(people: People, arguments: Arguments) -> Json:
    ended = await people.identities.unlink(arguments["name"], by=arguments.get("by"))
    snapshot = await people.directory.current()
    return [identity_to_json(snapshot, identity) for identity in ended]


async def _identities(people: People, _: Arguments) -> Json:
    found = await people.identities.all_of()
    snapshot = await people.directory.current()
    return [identity_to_json(snapshot, identity) for identity in found]


async def _accounts(people: People, _: Arguments) -> Json:
    snapshot = await people.directory.current()
    return [account_to_json(snapshot, account) for account in snapshot.accounts.values()]


async def _add_group(people: People, arguments: Arguments) -> Json:
    group = await people.accounts.add_group(arguments["name"])
    return {"name": GROUP_MARK + group.name}


async def _remove_group(people: People, arguments: Arguments) -> Json:
    await people.accounts.remove_group(arguments["name"])
    return {}


async def _join(people: People, arguments: Arguments) -> Json:
    for name in arguments["names"]:
        await people.accounts.join(arguments["group"], name)
    return {}


async def _leave(people: People, arguments: Arguments) -> Json:
    for name in arguments["names"]:
        await people.accounts.leave(arguments["group"], name)
    return {}


async def _groups(people: People, _: Arguments) -> Json:
    snapshot = await people.directory.current()
    return [
        {
            "name": GROUP_MARK + group.name,
            "members": [
                snapshot.accounts[member.account].name
                for member in snapshot.members
                if member.group == group.key
            ],
        }
        for group in snapshot.groups.values()
    ]


ACCOUNT_COMMANDS: Final[Mapping[str, Command]] = {
    "user add": _add,
    "user remove": _remove,
    "user disable": _disable,
    "user passwd": _set_password,
    "user totp remove": _remove_totp,
    "user sso link": _link,
    "user sso unlink": _unlink,
    "user sso ls": _identities,
    "user ls": _accounts,
    "group add": _add_group,
    "group remove": _remove_group,
    "group join": _join,
    "group leave": _leave,
    "group ls": _groups,
}
