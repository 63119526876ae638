"""What each command needs of people who have signed in, and what it can do for them.

A command that `NEEDS` does not name nobody may run but who has the command line. Two rules hold,
whatever the order of commands:

- Nobody gives more than they have: no rule, no place in a group, no token, no account, and no
  password of somebody who may do more.
- Nobody changes who may do what where they do not administer. Who administers a folder cannot take
  it from those who administer the one above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import UnionType
from typing import Final

from chunkstore.core.access import EVERYTHING, GROUP_MARK, NOTHING, Access, Grant, Verbs, words_of
from chunkstore.core.errors import Forbidden, VerbLacking
from chunkstore.core.names import ROOT, FolderName, parent
from chunkstore.service.access.account_names import fold
from chunkstore.service.access.arguments import (
    INHERIT,
    Arguments,
    Json,
    parse_command_verbs,
    parse_folder,
    parse_name,
)
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.principal import Principal
from chunkstore.service.quotas import may_know_usage
from chunkstore.service.rights import Rights

# A token that somebody makes is valid for so long at most.
LONGEST_TOKEN_SECONDS: Final = 366 * 24 * 3600
MOST_TOKENS: Final = 200


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks for a command, and what is known of everybody at that moment."""

    principal: Principal
    snapshot: Snapshot
    now: datetime

    @property
    def rights(self) -> Rights:
        """What they may do."""
        return Rights(self.principal)

    @property
    def administers_all(self) -> bool:
        """Whether they administer the whole store."""
        return Verbs.ADMIN in self.principal.access.verbs(ROOT)

    def is_own(self, name: str | None) -> bool:
        """Whether an account of a name is theirs."""
        account = self.principal.account
        return name is not None and account is not None and fold(name) == account.key


Judge = Callable[[Asker, Arguments], Arguments]
Show = Callable[[Asker, Json], Json]
Kinds = type | UnionType


def _as_it_is(asker: Asker, result: Json) -> Json:
    return result


@dataclass(frozen=True, slots=True)
class Need:
    """What a command needs.

    `judge` raises if it is not allowed, else it returns the arguments to run it with; those of
    `optional` may be missing. `recent` is
    a session that was given the password just now, `session` any session, so no token will do.
    `show` makes of the result what may be told.
    """

    judge: Judge
    arguments: Mapping[str, Kinds]
    optional: Mapping[str, Kinds] = field(default_factory=dict)
    session: bool = True
    recent: bool = False
    changes: bool = True
    show: Show = _as_it_is


def covers(access: Access, other: Access) -> bool:
    """Whether all that `other` may do `access` may too, wherever it is."""
    places = {ROOT, *access.below(ROOT), *other.below(ROOT)}
    return all(other.verbs(place) in access.verbs(place) for place in places)


def _require_covering(asker: Asker, subjects: tuple[str, ...], name: str) -> None:
    """Refuse to touch a group, or an account even if disabled, that may do more than who asks."""
    if not covers(asker.principal.access, Access((Grant(asker.snapshot.rules, subjects),))):
        raise Forbidden(f"{name} may do things that you may not.")


def _of_store(asker: Asker, arguments: Arguments) -> Arguments:
    """Need to administer the whole store."""
    asker.rights.require(Verbs.ADMIN, ROOT)
    return arguments


def _account(asker: Asker, name: str) -> None:
    """Need to administer the whole store, and to be able to do all that an account can."""
    _of_store(asker, {})
    account = asker.snapshot.find(name)
    if account is not None:
        # Of one that is not there the command tells.
        _require_covering(asker, asker.snapshot.subjects_of(account), account.name)


def _asked(asker: Asker, arguments: Arguments) -> Arguments:
    """Have a command made only while the account that wants it is what it was."""
    return {**arguments, "by": asker.principal.account}


def _adding_account(asker: Asker, arguments: Arguments) -> Arguments:
    _of_store(asker, arguments)
    if arguments["admin"]:
        asker.rights.require_everywhere(EVERYTHING, ROOT)
    return arguments


def _ending_account(asker: Asker, arguments: Arguments) -> Arguments:
    """Need another account than one's own: so the store is never left without anybody."""
    _account(asker, arguments["name"])
    if asker.is_own(arguments["name"]):
        raise Forbidden("Nobody can disable or remove their own account; somebody else has to.")
    return _asked(asker, arguments)


def _removing_account(asker: Asker, arguments: Arguments) -> Arguments:
    # Only the command line opens a store to everybody.
    return {**_ending_account(asker, arguments), "open": False}


def _changing_credentials(asker: Asker, arguments: Arguments) -> Arguments:
    """Need one's own account, or one that may do no more."""
    if not asker.is_own(arguments["name"]):
        _account(asker, arguments["name"])
    return _asked(asker, arguments)


def _removing_factor(asker: Asker, arguments: Arguments) -> Arguments:
    """Need another account: one's own second factor is removed with a code of it."""
    _account(asker, arguments["name"])
    if asker.is_own(arguments["name"]):
        raise Forbidden("One's own second factor is removed with a code of it.")
    return arguments


def _group(asker: Asker, name: str) -> None:
    _of_store(asker, {})
    group = asker.snapshot.groups.get(fold(name.removeprefix(GROUP_MARK)))
    if group is not None:
        _require_covering(asker, (group.subject,), GROUP_MARK + group.name)


def _removing_group(asker: Asker, arguments: Arguments) -> Arguments:
    _group(asker, arguments["name"])
    return arguments


def _changing_members(asker: Asker, arguments: Arguments) -> Arguments:
    _group(asker, arguments["group"])
    return arguments


def _allowing(asker: Asker, arguments: Arguments) -> Arguments:
    """Need to administer all that a rule changes, and to have there what it gives."""
    folder = parse_folder(arguments["folder"])
    asker.rights.require(Verbs.ADMIN, folder)
    rules, access = asker.snapshot.rules, asker.principal.access
    subject = asker.snapshot.subject_of(arguments["subject"])
    inherited = rules.nearest_above(subject, folder)
    verbs = arguments["verbs"]
    if verbs == INHERIT:
        new = NOTHING if inherited is None else inherited.verbs
    else:
        new = parse_command_verbs(verbs)
    old = rules.verbs((subject,), folder)
    needed = Verbs.ADMIN | new & ~old
    for place in (folder, *access.below(folder)):
        nearest = rules.nearest(subject, place)
        if nearest is not None and len(nearest.folder) > len(folder):
            continue  # There the subject has a rule of its own, which stays.
        lacking = needed & ~access.verbs(place)
        if lacking:
            raise VerbLacking(place, f"give or take {words_of(lacking)} in")
    if inherited is not None and Verbs.ADMIN in inherited.verbs & old & ~new:
        _require_above(asker, arguments["subject"], inherited.folder)
    return arguments


def _require_above(asker: Asker, subject: str, folder: FolderName) -> None:
    if Verbs.ADMIN not in asker.principal.access.verbs(folder):
        raise Forbidden(f"{subject} administers a folder above this one, which you do not.")


def _shown_rules(asker: Asker, rules: Json) -> Json:
    """Show the rules of folders that who asks administers."""
    access = asker.principal.access
    return [rule for rule in rules if Verbs.ADMIN in access.verbs(parse_folder(rule["folder"]))]


def _seeing_rules(asker: Asker, arguments: Arguments) -> Arguments:
    asker.rights.require_somewhere(Verbs.ADMIN)
    return arguments


def _asking_who(asker: Asker, arguments: Arguments) -> Arguments:
    asker.rights.require(Verbs.ADMIN, parse_name(arguments["name"]))
    return arguments


def _own_or_of_store(asker: Asker, arguments: Arguments) -> Arguments:
    """Need it to be one's own account, or to administer the whole store."""
    return arguments if asker.is_own(arguments.get("account")) else _of_store(asker, arguments)


def _adding_token(asker: Asker, arguments: Arguments) -> Arguments:
    """Need the account to be one's own, or one that may do no more."""
    if not asker.is_own(arguments["account"]):
        _account(asker, arguments["account"])
    seconds = arguments["expires_seconds"]
    if not asker.administers_all and (seconds is None or seconds > LONGEST_TOKEN_SECONDS):
        raise Forbidden("A token is valid for a year at most.")
    return {**_asked(asker, arguments), "most": MOST_TOKENS}


def _revoking_token(asker: Asker, arguments: Arguments) -> Arguments:
    """Of others there are no tokens, unless to who administers the whole store."""
    account = asker.principal.account
    own = None if account is None or asker.administers_all else account.name
    return {**arguments, "account": own}


def _bounding(asker: Asker, arguments: Arguments) -> Arguments:
    """Need to administer the folder above: who administers a folder is bounded by its quota."""
    asker.rights.require(Verbs.ADMIN, parent(parse_folder(arguments["folder"])))
    return arguments


def _shown_quotas(asker: Asker, quotas: Json) -> Json:
    """Show the quotas of folders in all of which who asks may list."""
    return [one for one in quotas if may_know_usage(asker.rights, parse_folder(one["folder"]))]


def _breaking(asker: Asker, arguments: Arguments) -> Arguments:
    """Need to administer what is locked."""
    asker.rights.require(Verbs.ADMIN, parse_name(arguments["folder"]))
    return arguments


def _shown_locks(asker: Asker, locks: Json) -> Json:
    """Show the locks on what who asks administers."""
    access = asker.principal.access
    return [one for one in locks if Verbs.ADMIN in access.verbs(parse_name(one["name"]))]


def _sharing(asker: Asker, arguments: Arguments) -> Arguments:
    """Need the account to be one's own, or one that may do no more, as its links may be used."""
    if not asker.is_own(arguments["account"]):
        _account(asker, arguments["account"])
    return arguments


def _marked(asker: Asker, sessions: Json) -> Json:
    """Mark the session that asks."""
    return [{**one, "current": one["id"] == asker.principal.credential_id} for one in sessions]


def _ending_others(asker: Asker, arguments: Arguments) -> Arguments:
    """Keep the session that asks."""
    return {**_own_or_of_store(asker, arguments), "keep": asker.principal.credential_id}


_NAME: Final[Mapping[str, Kinds]] = {"name": str}
_MEMBERS: Final[Mapping[str, Kinds]] = {"group": str, "names": list}
_ACCOUNT: Final[Mapping[str, Kinds]] = {"account": str}
_PASSWORD: Final[Mapping[str, Kinds]] = {"name": str, "password": str, "keep_tokens": bool}
_RULE: Final[Mapping[str, Kinds]] = {"subject": str, "folder": str, "verbs": str}
_TOKEN: Final[Mapping[str, Kinds]] = {
    "account": str,
    "label": str,
    "folders": list,
    "verbs": str,
    "expires_seconds": int | float | None,
}
_QUOTA: Final[Mapping[str, Kinds]] = {
    "folder": str,
    "size": int | None,
    "files": int | None,
}
_NUMBER: Final = int | float | None
_LINK: Final[Mapping[str, Kinds]] = {
    "label": str,
    "drop": bool,
    "expires_seconds": _NUMBER,
    "uses": int | None,
    "files": int | None,
    "bytes": int | None,
    "password": str | None,
    "follows": bool,
}
_LINK_CHANGES: Final = {key: _LINK[key] for key in ("expires_seconds", "password", "follows")}
_ENTRIES: Final[Mapping[str, Kinds]] = {
    **dict.fromkeys(("since", "until", "actor", "action", "name", "after"), str | None),
    "most": int,
}

NEEDS: Final[Mapping[str, Need]] = {
    "user add": Need(
        _adding_account, {"name": str, "password": str | None, "admin": bool}, recent=True
    ),
    "user remove": Need(_removing_account, _NAME),
    "user disable": Need(_ending_account, {"name": str, "disabled": bool}),
    "user passwd": Need(_changing_credentials, _PASSWORD, recent=True),
    "user totp remove": Need(_removing_factor, _NAME, recent=True),
    "user sso link": Need(
        _changing_credentials, {"name": str, "issuer": str, "subject": str}, recent=True
    ),
    "user sso unlink": Need(_changing_credentials, _NAME, recent=True),
    "user sso ls": Need(_of_store, {}, changes=False),
    "user ls": Need(_of_store, {}, changes=False),
    "group add": Need(_of_store, _NAME),
    "group remove": Need(_removing_group, _NAME),
    "group join": Need(_changing_members, _MEMBERS),
    "group leave": Need(_changing_members, _MEMBERS),
    "group ls": Need(_of_store, {}, changes=False),
    "allow": Need(_allowing, _RULE, session=False),
    "rules": Need(_seeing_rules, {}, session=False, changes=False, show=_shown_rules),
    "who-can": Need(_asking_who, {"verb": str, "name": str}, session=False, changes=False),
    "token add": Need(_adding_token, _TOKEN, recent=True),
    "token revoke": Need(_revoking_token, {"id": str}),
    "token ls": Need(_own_or_of_store, {"account": str | None}, changes=False),
    "quota set": Need(_bounding, _QUOTA, session=False),
    "quota remove": Need(_bounding, {"folder": str}, session=False),
    "quota ls": Need(_seeing_rules, {}, session=False, changes=False, show=_shown_quotas),
    "locks ls": Need(_seeing_rules, {}, session=False, changes=False, show=_shown_locks),
    "locks break": Need(_breaking, {"folder": str}, {"tokens": list}, session=False),
    "session ls": Need(_own_or_of_store, _ACCOUNT, changes=False, show=_marked),
    "session end": Need(_own_or_of_store, {"account": str, "id": str}),
    "session end-others": Need(_ending_others, _ACCOUNT),
    "link add": Need(_sharing, {"account": str, "target": str}, _LINK),
    "link set": Need(_sharing, {"account": str, "id": str}, _LINK_CHANGES),
    "link revoke": Need(_own_or_of_store, {"account": str, "id": str}),
    "link ls": Need(_own_or_of_store, {"account": str | None}, changes=False),
    "link policy": Need(
        _of_store, {}, {"default_seconds": int | float, "greatest_seconds": _NUMBER}
    ),
    "audit": Need(_of_store, {}, _ENTRIES, session=False, changes=False),
}
