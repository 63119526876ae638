"""`chunkstore audit`: who did what."""

from __future__ import annotations

import json
from typing import Any

import click

from chunkstore.cli.control import control
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.showing import json_option


@click.command("audit", cls=Command, context_settings=SETTINGS)
@click.option("--since", cls=Option, default=None, metavar="TIME", help="From this time on.")
@click.option("--until", cls=Option, default=None, metavar="TIME", help="Before this time.")
@click.option("--actor", cls=Option, default=None, metavar="NAME", help="Only what it did.")
@click.option("--action", cls=Option, default=None, help="Only this, as `delete` or `sign-in`.")
@click.option(
    "--name", cls=Option, default=None, metavar="PREFIX", help="Only to names that begin so."
)
@db_option()
@json_option
def audit_command(db: str, *, as_json: bool, **wanted: str | None) -> None:
    """Tell who did what, when and from where, the oldest first.

    TIME is as 2026-11-28 or 2026-11-28T23:59:59Z. With --json each entry is a line of JSON.
    """
    page: dict[str, Any] = {"after": None}
    while True:
        arguments = {**wanted, "after": page["after"]}
        page = control(db, "audit", arguments, changes=False)
        for entry in page["entries"]:
            click.echo(json.dumps(entry) if as_json else _line(entry))
        if page["after"] is None:
            return


def _line(entry: dict[str, Any]) -> str:
    who = entry["actor"] or "-"
    parts = [entry["time"], who, f"({entry['via']})", entry["action"]]
    parts += [f"/{entry['name']}"] if entry["name"] else []
    parts += [f"{key}={value}" for key, value in entry["detail"].items() if value != ""]
    parts += [f"from {entry['address']}"] if entry["address"] else []
    return " ".join(parts)
