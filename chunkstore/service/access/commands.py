"""Changing and showing who may do what, as commands with JSON for arguments and results.

The command line runs them on a store that it opens, or has the server run them that has it open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chunkstore.core.errors import InvalidRequest
from chunkstore.service.access.account_commands import ACCOUNT_COMMANDS
from chunkstore.service.access.arguments import Arguments, Command, Json
from chunkstore.service.access.audit import COMMAND_LINE
from chunkstore.service.access.credential_commands import CREDENTIAL_COMMANDS
from chunkstore.service.access.link_commands import LINK_COMMANDS
from chunkstore.service.access.lock_commands import LOCK_COMMANDS
from chunkstore.service.access.people import People
from chunkstore.service.access.rule_commands import RULE_COMMANDS
from chunkstore.service.access.store_commands import STORE_COMMANDS
from chunkstore.store.contract.audit import Who


async def run_command(
    people: People, name: str, arguments: Arguments, who: Who = COMMAND_LINE
) -> Json:
    """Run the command of a name, and tell in the audit log that `who` has.

    Raises:
        ChunkstoreError: it is not possible, or there is none of this name.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise InvalidRequest(f"There is no command {name!r}; is the server an older one?")
    told = name in _TOLD and await people.audit.tells_now()
    try:
        result = await command(people, arguments)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"The command {name!r} cannot be understood.") from error
    # Also what has just closed the store, or opened it.
    if name in _TOLD and (told or await people.audit.tells_now()):
        await _tell(people, who, name, arguments, result)
    return result


async def _tell(people: People, who: Who, name: str, arguments: Arguments, result: Json) -> None:
    detail = {key: arguments[key] for key in _TOLD[name] if arguments.get(key) is not None}
    if isinstance(result, dict) and "id" in result:
        detail["id"] = result["id"]
    if not detail:
        return  # Nothing was changed, as by looking at a policy.
    folder = str(detail.pop("folder", "")).removeprefix("/")
    await people.audit.append(who, name, folder, **detail)


COMMANDS: Final[Mapping[str, Command]] = {
    **ACCOUNT_COMMANDS,
    **RULE_COMMANDS,
    **CREDENTIAL_COMMANDS,
    **LINK_COMMANDS,
    **LOCK_COMMANDS,
    **STORE_COMMANDS,
}
# Of those that change something, what arguments the audit log tells: no secrets. A folder is the
# name of the entry.
_TOLD: Final[Mapping[str, Sequence[str]]] = {
    "user add": ("name", "admin"),
    "user remove": ("name", "open"),
    "user disable": ("name", "disabled"),
    "user passwd": ("name", "keep_tokens"),
    "user totp remove": ("name",),
    "user sso link": ("name", "issuer", "subject"),
    "user sso unlink": ("name",),
    "group add": ("name",),
    "group remove": ("name",),
    "group join": ("group", "names"),
    "group leave": ("group", "names"),
    "allow": ("subject", "folder", "verbs"),
    "token add": ("account", "label", "folders", "verbs", "expires_seconds"),
    "token revoke": ("id",),
    "session end": ("account",),
    "session end-others": ("account",),
    "link add": ("account", "target", "label", "drop", "both", "uses", "files", "bytes", "follows"),
    "link set": ("id", "expires_seconds", "follows"),
    "link revoke": ("id",),
    "link policy": ("default_seconds", "greatest_seconds"),
    "quota set": ("folder", "size", "files"),
    "quota remove": ("folder",),
    "locks break": ("folder",),
}
