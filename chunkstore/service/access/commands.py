"""Changing and showing who may do what, as commands with JSON for arguments and results.

The command line runs them on a store that it opens, or has the server run them that has it open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from chunkstore.core.access import (
    EVERYONE,
    GROUP_MARK,
    ROLES,
    Access,
    Grant,
    Verbs,
    format_verbs,
    parse_verbs,
)
from chunkstore.core.errors import Forbidden, InvalidName, InvalidRequest, NoSuchAccount
from chunkstore.core.names import (
    FileName,
    FolderName,
    parse_file_name,
    parse_folder_name,
)
from chunkstore.service.access.audit import COMMAND_LINE
from chunkstore.service.access.directory import Snapshot, read_snapshot
from chunkstore.service.access.identities import Identity
from chunkstore.service.access.link_commands import LINK_COMMANDS
from chunkstore.service.access.lock_commands import break_locks, list_locks
from chunkstore.service.access.people import People
from chunkstore.service.access.store_commands import (
    list_audit,
    list_quotas,
    remove_quota,
    set_quota,
)
from chunkstore.service.access.values import Account, KeptRule, Token
from chunkstore.store.contract.audit import Who

Arguments = Mapping[str, Any]
Json = Any
Command = Callable[[People, Arguments], Awaitable[Json]]

# In the place of verbs: the subject inherits what it has above.
INHERIT: Final = "inherit"


def parse_folder(text: str) -> FolderName:
    """Return the folder that a command names, which may begin with a slash: `/` is the root.

    Raises:
        InvalidName: it is none. So is "", which a script says by mistake: it is no way to mean all.
    """
    if not text:
        raise InvalidName("The folder is empty; the root is written /.")
    return parse_folder_name(text.removeprefix("/"))


def parse_name(text: str) -> FileName | FolderName:
    """Return the file that a command names, or the folder if it ends in a slash.

    Raises:
        InvalidName: it is none.
    """
    if text.endswith("/"):
        return parse_folder(text)
    return parse_file_name(text.removeprefix("/"))


def parse_command_verbs(text: str) -> Verbs:
    """Return the verbs that a command names, or those of a role.

    Raises:
        InvalidRequest: there is none of this name.
    """
    try:
        return parse_verbs(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.") from error


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


async def _add(people: People, arguments: Arguments) -> Json:
    if arguments.get("first") and not (await read_snapshot(people.records)).is_open:
        return {}
    account = await people.accounts.add(
        arguments["name"], arguments["password"], admin=arguments["admin"]
    )
    return _account(await people.directory.current(), account)


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
        arguments["name"], arguments["password"], keep_tokens=arguments["keep_tokens"]
    )
    return {}


async def _remove_totp(people: People, arguments: Arguments) -> Json:
    await people.totp.remove_of(arguments["name"])
    return {}


async def _link(people: People, arguments: Arguments) -> Json:
    identity = await people.identities.link(
        arguments["name"], arguments["issuer"], arguments["subject"]
    )
    return _identity(await people.directory.current(), identity)


async def _unlink(people: People, arguments: Arguments) -> Json:
    ended = await people.identities.unlink(arguments["name"])
    snapshot = await people.directory.current()
    return [_identity(snapshot, identity) for identity in ended]


async def _identities(people: People, _: Arguments) -> Json:
    found = await people.identities.all_of()
    snapshot = await people.directory.current()
    return [_identity(snapshot, identity) for identity in found]


async def _accounts(people: People, _: Arguments) -> Json:
    snapshot = await people.directory.current()
    return [_account(snapshot, account) for account in snapshot.accounts.values()]


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


async def _allow(people: People, arguments: Arguments) -> Json:
    verbs, folder = arguments["verbs"], parse_folder(arguments["folder"])
    wanted = None if verbs == INHERIT else parse_command_verbs(verbs)
    rule = await people.accounts.allow(arguments["subject"], folder, wanted)
    return _rule(await people.directory.current(), rule)


async def _rules(people: People, _: Arguments) -> Json:
    snapshot = await people.directory.current()
    if snapshot.is_open:
        return [{"subject": EVERYONE, "folder": "/", "verbs": format_verbs(ROLES["owner"])}]
    found = sorted(snapshot.kept_rules, key=lambda rule: (rule.folder, rule.subject))
    return [_rule(snapshot, rule) for rule in found]


async def _who_can(people: People, arguments: Arguments) -> Json:
    snapshot = await people.directory.current()
    verbs, name = parse_command_verbs(arguments["verb"]), parse_name(arguments["name"])
    if _can(snapshot.guest, verbs, name):
        return [{"subject": EVERYONE, "by": _reasons(snapshot, None, verbs, name)}]
    return [
        {"subject": account.name, "by": _reasons(snapshot, account, verbs, name)}
        for account in snapshot.accounts.values()
        if not account.disabled and _can(snapshot.access_of(account), verbs, name)
    ]


def _can(access: Access, verbs: Verbs, name: FileName | FolderName) -> bool:
    return verbs in access.verbs(name)


def _reasons(
    snapshot: Snapshot, account: Account | None, verbs: Verbs, name: FileName | FolderName
) -> list[str]:
    """Return those of whom an account is that give some of these verbs by themselves."""
    if snapshot.is_open:
        return [EVERYONE]
    subjects = (EVERYONE,) if account is None else snapshot.subjects_of(account)
    return [
        _subject(snapshot, subject)
        for subject in subjects
        if Access((Grant(snapshot.rules, (subject,)),)).verbs(name) & verbs
    ]


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
    made = await people.accounts.add_token(arguments["account"], arguments["label"], scope, expires)
    return {"token": made.text, **_token(await people.directory.current(), made.token)}


async def _revoke_token(people: People, arguments: Arguments) -> Json:
    owner = arguments.get("account")
    token = await people.accounts.revoke_token(arguments["id"], owner)
    return _token(await people.directory.current(), token)


async def _tokens(people: People, arguments: Arguments) -> Json:
    found = await people.accounts.tokens(arguments["account"])
    snapshot = await people.directory.current()
    return [_token(snapshot, token) for token in found]


async def _sessions(people: People, arguments: Arguments) -> Json:
    account = (await people.directory.current()).get(arguments["account"])
    return [
        {
            "id": session.id,
            "browser": session.browser,
            "begun": _time(session.begun),
            "renewed": _time(session.created),
            "expires": _time(session.expires),
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


def _account(snapshot: Snapshot, account: Account) -> Json:
    return {
        "name": account.name,
        "created": _time(account.created),
        "disabled": account.disabled,
        "password": account.password is not None,
        "totp": account.totp is not None,
        "groups": [
            _subject(snapshot, subject)
            for subject in snapshot.subjects_of(account)
            if subject.startswith(GROUP_MARK)
        ],
        "admin": Verbs.ADMIN in snapshot.access_of(account).verbs(FolderName("")),
    }


def _identity(snapshot: Snapshot, identity: Identity) -> Json:
    return {
        "account": _subject(snapshot, identity.account),
        "issuer": identity.issuer,
        "subject": identity.subject,
        "linked": _time(identity.linked),
    }


def _rule(snapshot: Snapshot, rule: KeptRule) -> Json:
    return {
        "subject": _subject(snapshot, rule.subject),
        "folder": f"/{rule.folder}",
        "verbs": format_verbs(rule.verbs),
    }


def _subject(snapshot: Snapshot, subject: str) -> str:
    """Return a subject as people wrote its name."""
    if subject.startswith(GROUP_MARK):
        return GROUP_MARK + snapshot.groups[subject.removeprefix(GROUP_MARK)].name
    return subject if subject == EVERYONE else snapshot.accounts[subject].name


def _token(snapshot: Snapshot, token: Token) -> Json:
    """Return what is told of a token: nothing by which somebody could use it."""
    account = snapshot.accounts.get(token.account)
    return {
        "id": token.id,
        "account": token.account if account is None else account.name,
        "label": token.label,
        "scope": [
            {"folder": f"/{folder}", "verbs": format_verbs(verbs)} for folder, verbs in token.scope
        ],
        "created": _time(token.created),
        "expires": None if token.expires is None else _time(token.expires),
        "used": token.used,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


COMMANDS: Final[Mapping[str, Command]] = {
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
    "allow": _allow,
    "rules": _rules,
    "who-can": _who_can,
    "token add": _add_token,
    "token revoke": _revoke_token,
    "token ls": _tokens,
    "session ls": _sessions,
    "session end": _end_session,
    "session end-others": _end_other_sessions,
    **LINK_COMMANDS,
    "quota set": set_quota,
    "quota remove": remove_quota,
    "quota ls": list_quotas,
    "locks ls": list_locks,
    "locks break": break_locks,
    "audit": list_audit,
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
