"""Commands on rules: giving verbs, showing who has them, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chunkstore.core.access import EVERYONE, ROLES, Access, Grant, Verbs, format_verbs
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.access.account_documents import rule_to_json, written_subject
from chunkstore.service.access.arguments import (
    INHERIT,
    Arguments,
    Command,
    Json,
    parse_command_verbs,
    parse_folder,
    parse_name,
)
from chunkstore.service.access.directory import Snapshot
from chunkstore.service.access.people import People
from chunkstore.service.access.values import Account


async def _allow(people: People, arguments: Arguments) -> Json:
    verbs, folder = arguments["verbs"], parse_folder(arguments["folder"])
    wanted = None if verbs == INHERIT else parse_command_verbs(verbs)
    rule = await people.accounts.allow(arguments["subject"], folder, wanted)
    return rule_to_json(await people.directory.current(), rule)


async def _rules(people: People, _: Arguments) -> Json:
    snapshot = await people.directory.current()
    if snapshot.is_open:
        return [{"subject": EVERYONE, "folder": "/", "verbs": format_verbs(ROLES["owner"])}]
    found = sorted(snapshot.kept_rules, key=lambda rule: (rule.folder, rule.subject))
    return [rule_to_json(snapshot, rule) for rule in found]


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
        written_subject(snapshot, subject)
        for subject in subjects
        if Access((Grant(snapshot.rules, (subject,)),)).verbs(name) & verbs
    ]


RULE_COMMANDS: Final[Mapping[str, Command]] = {
    "allow": _allow,
    "rules": _rules,
    "who-can": _who_can,
}
