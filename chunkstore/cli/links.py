"""`chunkstore link`: links for people without an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from chunkstore.cli.access import LIFETIME, NAME
from chunkstore.cli.control import control
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.showing import json_option, read_password, show, show_table
from chunkstore.cli.values import Parsed
from chunkstore.core.units import format_size, parse_size
from chunkstore.service.access.link_administration import LEAST_PASSWORD_LENGTH

SIZE: Final = Parsed("size", parse_size)
_COUNT: Final = click.IntRange(min=1)
# Nothing was said, which is not the same as `never`.
_BY_DEFAULT: Final = click.core.ParameterSource.DEFAULT


@click.group("link", context_settings=SETTINGS, short_help="Make, change, list and revoke links.")
def link_command() -> None:
    """Make, change, list and revoke links, by which people without an account get or send files."""


@link_command.command("add", cls=Command, context_settings=SETTINGS)
@click.argument("target", type=NAME)
@click.option("--account", cls=Option, required=True, metavar="NAME", help="Whose link it is.")
@click.option("--drop", cls=Option, is_flag=True, help="Files are put into the folder.")
@click.option("--both", cls=Option, is_flag=True, help="So they are, and what is there is shown.")
@click.option("--label", cls=Option, default="", help="What the page has for a title.")
@click.option(
    "--expires",
    "expires_seconds",
    cls=Option,
    type=LIFETIME,
    metavar="DURATION|never",
    show_default="30d, or what `link policy` says",
    help="How long it is valid.",
)
@click.option("--uses", cls=Option, type=_COUNT, help="How often it can be used.")
@click.option("--files", cls=Option, type=_COUNT, help="How many files can be put by it.")
@click.option("--bytes", cls=Option, type=SIZE, metavar="SIZE", help="How many bytes.")
@click.option(
    "--password", "has_password", cls=Option, is_flag=True, help="It has one, asked for or read."
)
@click.option(
    "--follow", "follows", cls=Option, is_flag=True, help="It shows what replaces the file, too."
)
@db_option()
@json_option
def add_link_command(
    db: str,
    *,
    has_password: bool,
    expires_seconds: float | None,
    as_json: bool,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> None:
    """Make a link of the file TARGET, or of the folder TARGET/, and print its path.

    It is not shown again. Whoever has it may do there what the account may, as long as that may
    `share` there: read, by --drop put files, or by --both do both.
    """
    arguments["password"] = read_password(LEAST_PASSWORD_LENGTH) if has_password else None
    if click.get_current_context().get_parameter_source("expires_seconds") != _BY_DEFAULT:
        arguments["expires_seconds"] = expires_seconds
    made = control(db, "link add", arguments)
    show(made, as_json, made["path"])


@link_command.command("set", cls=Command, context_settings=SETTINGS)
@click.argument("link_id", metavar="ID")
@click.option(
    "--expires",
    "expires_seconds",
    cls=Option,
    type=LIFETIME,
    metavar="DURATION|never",
    help="How long it is valid from now on, also if it has just ended.",
)
@click.option(
    "--password/--no-password",
    "has_password",
    cls=Option,
    default=None,
    help="Give it another password, or none.",
)
@click.option(
    "--follow/--pin",
    "follows",
    cls=Option,
    default=None,
    help="Show what replaces the file, or only what is there now.",
)
@db_option()
@json_option
def set_link_command(
    link_id: str,
    db: str,
    *,
    expires_seconds: float | None,
    has_password: bool | None,
    follows: bool | None,
    as_json: bool,
) -> None:
    """Change the link with an ID, as `link ls` shows it."""
    arguments: dict[str, Any] = {"id": link_id}
    if click.get_current_context().get_parameter_source("expires_seconds") != _BY_DEFAULT:
        arguments["expires_seconds"] = expires_seconds
    if has_password is not None:
        arguments["password"] = read_password(LEAST_PASSWORD_LENGTH) if has_password else None
    if follows is not None:
        arguments["follows"] = follows
    link = control(db, "link set", arguments)
    show(link, as_json, f"The link {link_id} of {link['target']} is changed.")


@link_command.command("revoke", cls=Command, context_settings=SETTINGS)
@click.argument("link_id", metavar="ID")
@db_option()
@json_option
def revoke_link_command(link_id: str, db: str, *, as_json: bool) -> None:
    """Revoke the link with an ID, at once."""
    link = control(db, "link revoke", {"id": link_id})
    show(link, as_json, f"The link {link_id} of {link['target']} is revoked.")


@link_command.command("ls", cls=Command, context_settings=SETTINGS)
@click.option("--account", cls=Option, default=None, metavar="NAME", help="Only those of this one.")
@db_option()
@json_option
def list_links_command(account: str | None, db: str, *, as_json: bool) -> None:
    """List the links, also those that ended less than a day ago."""
    found = control(db, "link ls", {"account": account}, changes=False)
    rows = found if as_json else [_row(link) for link in found]
    columns = ("id", "account", "kind", "target", "label", "expires", "password", "used", "sent")
    show_table(rows, as_json, columns)


def _row(link: Mapping[str, Any]) -> dict[str, Any]:
    """Return a link as a row for people to read."""
    used, sent = str(link["uses"]), ""
    if link["most_uses"] is not None:
        used += f" of {link['most_uses']}"
    if link["kind"] in ("drop", "both"):
        sent = f"{link['files']} ({format_size(link['bytes'])})"
    expires = f"{link['expires']} (ended)" if link["ended"] else link["expires"]
    return {**link, "used": used, "sent": sent, "expires": expires}


@link_command.command("policy", cls=Command, context_settings=SETTINGS)
@click.option(
    "--default",
    "default_seconds",
    cls=Option,
    type=LIFETIME,
    metavar="DURATION",
    help="How long a link lasts if nothing is said.",
)
@click.option(
    "--greatest",
    "greatest_seconds",
    cls=Option,
    type=LIFETIME,
    metavar="DURATION|never",
    help="How long one can last.",
)
@db_option()
@json_option
def link_policy_command(
    db: str, *, default_seconds: float | None, greatest_seconds: float | None, as_json: bool
) -> None:
    """Say how long links last that are made, or given another end, from now on; or show it."""
    source = click.get_current_context().get_parameter_source
    arguments: dict[str, Any] = {}
    if default_seconds is not None:
        arguments["default_seconds"] = default_seconds
    if source("greatest_seconds") != _BY_DEFAULT:
        arguments["greatest_seconds"] = greatest_seconds
    policy = control(db, "link policy", arguments, changes=bool(arguments))
    greatest = policy["greatest_days"]
    text = f"Links last {_days(policy['default_days'])}"
    text += (
        ", as long as their makers like." if greatest is None else f", {_days(greatest)} at most."
    )
    show(policy, as_json, text)


def _days(days: float) -> str:
    shown = f"{days:g}"
    return f"{shown} day{'' if shown == '1' else 's'}"
