"""Making, changing and showing links, as commands; see `commands`.

`account` is whose links they are: for `link add` their creator. With None any link is meant, as by
who runs the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from chunkstore.core.errors import InvalidRequest
from chunkstore.core.names import parse_file_name, parse_folder_name
from chunkstore.service.access.account_documents import time_to_json
from chunkstore.service.access.arguments import Arguments, Command, Json
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.link_administration import LinkPolicy, LinkRequest
from chunkstore.service.access.link_uses import NO_USE, Usage
from chunkstore.service.access.links import Link, LinkKind, LinkLimits
from chunkstore.service.access.people import People
from chunkstore.service.access.values import Account


async def _add(people: People, arguments: Arguments) -> Json:
    made = await people.links.add(arguments["account"], _wanted(arguments))
    told = await _told(people, made.link)
    return {"token": made.token, "path": made.path, **told}


def _wanted(arguments: Arguments) -> LinkRequest:
    """Return the link of the arguments.

    `target` is a file, or a folder with a slash at its end; `drop` has it take files, and `both`
    too, besides showing what is there.
    `expires_seconds` is null for ever, and what is usual where it is missing.
    """
    text = arguments["target"].removeprefix("/")
    is_folder = text.endswith("/") or not text
    drop, both = arguments.get("drop", False), arguments.get("both", False)
    if (drop or both) and not is_folder:
        raise InvalidRequest("Files are put into a folder; its name ends in a slash.")
    kind = LinkKind.FOLDER if is_folder else LinkKind.FILE
    if drop or both:
        kind = LinkKind.BOTH if both else LinkKind.DROP
    seconds = arguments.get("expires_seconds")
    return LinkRequest(
        kind=kind,
        target=parse_folder_name(text) if is_folder else parse_file_name(text),
        label=arguments.get("label", ""),
        lasting=None if seconds is None else timedelta(seconds=seconds),
        is_default="expires_seconds" not in arguments,
        follows=arguments.get("follows", False),
        password=arguments.get("password"),
        limits=LinkLimits(arguments.get("uses"), arguments.get("files"), arguments.get("bytes")),
    )


async def _change(people: People, arguments: Arguments) -> Json:
    """Change what the arguments have: `expires_seconds`, `password`, `follows`."""
    owner, link_id = await _owner(people, arguments), arguments["id"]
    links = people.links
    link = await links.get(link_id, owner)
    if "expires_seconds" in arguments:
        seconds = arguments["expires_seconds"]
        lasting = None if seconds is None else timedelta(seconds=seconds)
        link = await links.set_end(link_id, owner, lasting)
    if "password" in arguments:
        link = await links.set_password(link_id, owner, arguments["password"])
    if "follows" in arguments:
        link = await links.set_follows(link_id, owner, follows=arguments["follows"])
    return await _told(people, link)


async def _revoke(people: People, arguments: Arguments) -> Json:
    link = await people.links.revoke(arguments["id"], await _owner(people, arguments))
    return await _told(people, link)


async def _list(people: People, arguments: Arguments) -> Json:
    name = arguments.get("account")
    found, usages = await people.links.list(name), await people.links.usages(name)
    snapshot, now = await people.directory.current(), people.clock.now()
    return [_describe(snapshot, link, usages.get(link.id, NO_USE), now) for link in found]


async def _policy(people: People, arguments: Arguments) -> Json:
    """Set what the arguments have: `default_seconds` and `greatest_seconds`, null for ever."""
    policy = await people.links.policy()
    if arguments:
        default = arguments.get("default_seconds", policy.default.total_seconds())
        greatest = policy.greatest and policy.greatest.total_seconds()
        greatest = arguments.get("greatest_seconds", greatest)
        policy = LinkPolicy(
            timedelta(seconds=default), None if greatest is None else timedelta(seconds=greatest)
        )
        await people.links.set_policy(policy)
    return {
        "default_days": policy.default / timedelta(days=1),
        "greatest_days": None if policy.greatest is None else policy.greatest / timedelta(days=1),
    }


async def _owner(people: People, arguments: Arguments) -> Account | None:
    name = arguments.get("account")
    if name is None:
        return None
    return (await people.directory.current()).get(name)


async def _told(people: People, link: Link) -> Json:
    snapshot = await people.directory.current()
    return _describe(snapshot, link, await people.links.usage(link), people.clock.now())


def _describe(snapshot: Snapshot, link: Link, usage: Usage, now: datetime) -> Json:
    """Return what is told of a link: nothing by which somebody could use it."""
    account = snapshot.accounts.get(link.account)
    return {
        "id": link.id,
        "account": link.account if account is None else account.name,
        "kind": link.kind.value,
        "target": f"/{link.target}",
        "label": link.label,
        "created": time_to_json(link.created),
        "expires": None if link.ends is None else time_to_json(link.ends),
        "ended": not link.is_valid_at(now),
        "password": link.password is not None,
        "follows": link.kind is LinkKind.FILE and link.pin is None,
        "uses": usage.uses,
        "most_uses": link.limits.uses,
        "files": usage.files,
        "most_files": link.limits.files,
        "bytes": usage.bytes,
        "most_bytes": link.limits.bytes,
        "used": None if usage.last is None else time_to_json(usage.last),
    }


LINK_COMMANDS: Final[Mapping[str, Command]] = {
    "link add": _add,
    "link set": _change,
    "link revoke": _revoke,
    "link ls": _list,
    "link policy": _policy,
}
