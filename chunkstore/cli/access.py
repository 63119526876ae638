"""`chunkstore user`, `group`, `allow`, `rules`, `who-can` and `token`: who may do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from chunkstore.cli.control import control
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.showing import json_option, read_password, show, show_table
from chunkstore.cli.values import DURATION, Parsed
from chunkstore.core.access import parse_verbs
from chunkstore.core.errors import InvalidName
from chunkstore.service.access.arguments import INHERIT, parse_folder, parse_name

_FOREVER: Final = "never"


def _checked_folder(text: str) -> str:
    try:
        return f"/{parse_folder(text)}"
    except InvalidName as error:
        raise ValueError(str(error).rstrip(".")) from error


def _checked_name(text: str) -> str:
    try:
        parse_name(text)
    except InvalidName as error:
        raise ValueError(str(error).rstrip(".")) from error
    return text


def _checked_verbs(text: str) -> str:
    parse_verbs(text)
    return text


def _checked_rule(text: str) -> str:
    return text if text == INHERIT else _checked_verbs(text)


def _lifetime(text: str) -> float | None:
    return None if text == _FOREVER else float(DURATION.convert(text, None, None))


FOLDER: Final = Parsed("folder", _checked_folder)
NAME: Final = Parsed("name", _checked_name)
VERBS: Final = Parsed("verbs", _checked_verbs)
RULE: Final = Parsed("verbs", _checked_rule)
LIFETIME: Final = Parsed("duration", _lifetime)


@click.group("user", context_settings=SETTINGS, short_help="Add, change and list accounts.")
def user_command() -> None:
    """Add, change and list accounts. The first one closes the store to everybody else."""


@user_command.command("add", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@click.option("--admin", cls=Option, is_flag=True, help="It may do everything.")
@click.option(
    "--no-password", cls=Option, is_flag=True, help="It has none, and signs in by tokens only."
)
@click.option(
    "--first", cls=Option, is_flag=True, help="Add it only if the store never had an account."
)
@db_option()
@json_option
def add_user_command(
    name: str, db: str, *, admin: bool, no_password: bool, first: bool, as_json: bool
) -> None:
    """Add the account NAME; its password is asked for, or read from standard input.

    With the first account, nobody may do anything in the store but by an account or by a rule for
    `everyone`.
    """
    password = None if no_password else read_password()
    arguments = {"name": name, "password": password, "admin": admin, "first": first}
    made = control(db, "user add", arguments, create=True)
    if not made:
        show(made, as_json, "The store has been closed by an account before; none was added.")
        return
    name = made["name"]
    hint = f"may do nothing yet: `chunkstore allow {name} FOLDER ROLE`"
    show(made, as_json, f"{name} {'may do everything' if admin else hint}.")


@user_command.command("remove", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@click.option(
    "--open-store",
    cls=Option,
    is_flag=True,
    help="If it is the last one, let everybody do everything again.",
)
@db_option()
@json_option
def remove_user_command(name: str, db: str, *, open_store: bool, as_json: bool) -> None:
    """Remove the account NAME with its rules, tokens and sessions; its files stay."""
    done = control(db, "user remove", {"name": name, "open": open_store})
    show(done, as_json, f"{name} is no account any more.")


@user_command.command("disable", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def disable_user_command(name: str, db: str, *, as_json: bool) -> None:
    """Keep the account NAME out, with its tokens; its sessions end."""
    done = control(db, "user disable", {"name": name, "disabled": True})
    show(done, as_json, f"{name} is disabled.")


@user_command.command("enable", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def enable_user_command(name: str, db: str, *, as_json: bool) -> None:
    """Let the disabled account NAME in again, with its tokens."""
    done = control(db, "user disable", {"name": name, "disabled": False})
    show(done, as_json, f"{name} is enabled.")


@user_command.command("passwd", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@click.option("--keep-tokens", cls=Option, is_flag=True, help="Its tokens stay valid.")
@click.option(
    "--no-password", cls=Option, is_flag=True, help="It has none, and signs in by tokens only."
)
@db_option()
@json_option
def set_password_command(
    name: str, db: str, *, keep_tokens: bool, no_password: bool, as_json: bool
) -> None:
    """Give the account NAME another password; its sessions end, and so do its tokens."""
    password = None if no_password else read_password()
    arguments = {"name": name, "password": password, "keep_tokens": keep_tokens}
    done = control(db, "user passwd", arguments)
    show(done, as_json, f"{name} has {'no' if no_password else 'another'} password.")


@user_command.group("totp", context_settings=SETTINGS, short_help="Remove second factors.")
def totp_command() -> None:
    """Remove second factors of accounts, which these add by themselves, on the page."""


@totp_command.command("remove", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def remove_totp_command(name: str, db: str, *, as_json: bool) -> None:
    """Remove the second factor of the account NAME, whose owner has lost it.

    From then on its password alone signs it in. As long as it has a second factor, programs sign in
    by tokens only.
    """
    done = control(db, "user totp remove", {"name": name})
    show(done, as_json, f"{name} has no second factor any more; its password is enough.")


@user_command.group("sso", context_settings=SETTINGS, short_help="Link accounts with a provider.")
def sso_command() -> None:
    """Link accounts with somebody whom a provider signs in: see `serve --oidc-issuer`."""


@sso_command.command("link", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@click.argument("issuer")
@click.argument("subject")
@db_option()
@json_option
def link_command(name: str, issuer: str, subject: str, db: str, *, as_json: bool) -> None:
    """Let the account NAME sign in as SUBJECT of ISSUER.

    Whoever has signed in there, and is not linked with an account, is shown both.
    """
    arguments = {"name": name, "issuer": issuer, "subject": subject}
    made = control(db, "user sso link", arguments)
    show(made, as_json, f"{made['account']} is signed in as {subject} of {issuer}.")


@sso_command.command("unlink", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def unlink_command(name: str, db: str, *, as_json: bool) -> None:
    """Let no provider sign the account NAME in any more; its sessions end."""
    ended = control(db, "user sso unlink", {"name": name})
    show(ended, as_json, f"No provider signs {name} in any more.")


@sso_command.command("ls", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def list_identities_command(db: str, *, as_json: bool) -> None:
    """List the accounts that are linked, and with whom."""
    found = control(db, "user sso ls", {}, changes=False)
    show_table(found, as_json, ("account", "issuer", "subject", "linked"))


@user_command.command("ls", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def list_users_command(db: str, *, as_json: bool) -> None:
    """List the accounts."""
    found = control(db, "user ls", {}, changes=False)
    show_table(
        found, as_json, ("name", "admin", "disabled", "password", "totp", "groups", "created")
    )


@click.group("group", context_settings=SETTINGS, short_help="Add, change and list groups.")
def group_command() -> None:
    """Add, change and list groups, which rules name as @NAME."""


@group_command.command("add", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def add_group_command(name: str, db: str, *, as_json: bool) -> None:
    """Add the group NAME."""
    made = control(db, "group add", {"name": name})
    show(made, as_json, f"{made['name']} has no members yet: `chunkstore group join`.")


@group_command.command("remove", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def remove_group_command(name: str, db: str, *, as_json: bool) -> None:
    """Remove the group NAME with its rules; its members stay accounts."""
    done = control(db, "group remove", {"name": name})
    show(done, as_json, f"{name} is no group any more.")


@group_command.command("join", cls=Command, context_settings=SETTINGS)
@click.argument("group")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@db_option()
@json_option
def join_command(group: str, names: Sequence[str], db: str, *, as_json: bool) -> None:
    """Make accounts members of GROUP."""
    done = control(db, "group join", {"group": group, "names": list(names)})
    show(done, as_json, f"In {group}: {', '.join(names)}.")


@group_command.command("leave", cls=Command, context_settings=SETTINGS)
@click.argument("group")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@db_option()
@json_option
def leave_command(group: str, names: Sequence[str], db: str, *, as_json: bool) -> None:
    """Make accounts members of GROUP no more."""
    done = control(db, "group leave", {"group": group, "names": list(names)})
    show(done, as_json, f"Not in {group} any more: {', '.join(names)}.")


@group_command.command("ls", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def list_groups_command(db: str, *, as_json: bool) -> None:
    """List the groups and who is in them."""
    show_table(control(db, "group ls", {}, changes=False), as_json, ("name", "members"))


@click.command("allow", cls=Command, context_settings=SETTINGS)
@click.argument("subject")
@click.argument("folder", type=FOLDER)
@click.argument("verbs", type=RULE, metavar="ROLE|VERBS|-|inherit")
@db_option()
@json_option
def allow_command(subject: str, folder: str, verbs: str, db: str, *, as_json: bool) -> None:
    """Say what SUBJECT may do in FOLDER and below it.

    SUBJECT is an account, a @GROUP or `everyone`, signed in or not. What it may do is a role
    (reader, contributor, editor, dropper, owner) or verbs, as list,read; `-` is nothing, and
    `inherit` forgets what was said of this folder.
    """
    rule = control(db, "allow", {"subject": subject, "folder": folder, "verbs": verbs})
    text = f"{rule['subject']} {rule['folder']} {INHERIT if verbs == INHERIT else rule['verbs']}"
    show(rule, as_json, text)


@click.command("rules", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def rules_command(db: str, *, as_json: bool) -> None:
    """List all rules, by folder."""
    show_table(control(db, "rules", {}, changes=False), as_json, ("folder", "subject", "verbs"))


@click.command("who-can", cls=Command, context_settings=SETTINGS)
@click.argument("verb", type=VERBS)
@click.argument("name", type=NAME)
@db_option()
@json_option
def who_can_command(verb: str, name: str, db: str, *, as_json: bool) -> None:
    """Tell who can VERB the file NAME, or the folder NAME/, and why."""
    found = control(db, "who-can", {"verb": verb, "name": name}, changes=False)
    show_table(found, as_json, ("subject", "by"))


@click.group("token", context_settings=SETTINGS, short_help="Make, list and revoke tokens.")
def token_command() -> None:
    """Make, list and revoke tokens, by which programs sign in as an account."""


@token_command.command("add", cls=Command, context_settings=SETTINGS)
@click.option("--account", cls=Option, required=True, metavar="NAME", help="Whose it is.")
@click.option(
    "--folder",
    "folders",
    cls=Option,
    type=FOLDER,
    multiple=True,
    default=("/",),
    help="Where it holds; can be given several times.",
)
@click.option(
    "--role",
    "verbs",
    cls=Option,
    type=VERBS,
    default="owner",
    show_default="all that the account may",
    help="What it may do there, of what its account may: a role or verbs.",
)
@click.option(
    "--expires",
    "expires_seconds",
    cls=Option,
    type=LIFETIME,
    default="90d",
    metavar="DURATION|never",
    help="How long it is valid.",
)
@click.option("--label", cls=Option, default="", help="What it is for.")
@db_option()
@json_option
def add_token_command(db: str, *, as_json: bool, **arguments: Any) -> None:  # noqa: ANN401 - JSON
    """Make a token of an account, and print it: it is not shown again."""
    arguments["folders"] = list(arguments["folders"])
    made = control(db, "token add", arguments)
    show(made, as_json, made["token"])


@token_command.command("revoke", cls=Command, context_settings=SETTINGS)
@click.argument("token_id", metavar="ID")
@db_option()
@json_option
def revoke_token_command(token_id: str, db: str, *, as_json: bool) -> None:
    """Revoke the token with an ID, as `token ls` shows it."""
    token = control(db, "token revoke", {"id": token_id})
    show(token, as_json, f"The token {token_id} of {token['account']} is revoked.")


@token_command.command("ls", cls=Command, context_settings=SETTINGS)
@click.option("--account", cls=Option, default=None, metavar="NAME", help="Only those of this one.")
@db_option()
@json_option
def list_tokens_command(account: str | None, db: str, *, as_json: bool) -> None:
    """List the tokens that have not expired."""
    found = control(db, "token ls", {"account": account}, changes=False)
    rows = found if as_json else [{**token, "scope": _scope(token["scope"])} for token in found]
    show_table(rows, as_json, ("id", "account", "label", "scope", "expires", "used"))


def _scope(scope: Sequence[Mapping[str, str]]) -> list[str]:
    return [f"{one['folder']} {one['verbs']}" for one in scope]
