"""`chunkstore locks`: the write locks of WebDAV."""

from __future__ import annotations

from typing import Final

import click

from chunkstore.cli.control import control
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command
from chunkstore.cli.showing import json_option, show, show_table
from chunkstore.core.units import format_count

_COLUMNS: Final = ("name", "scope", "depth", "account", "expires")


@click.group("locks", context_settings=SETTINGS, short_help="List and break write locks.")
def locks_command() -> None:
    """List and break the locks that programs take by WebDAV, so that others do not write."""


@locks_command.command("ls", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def list_command(db: str, *, as_json: bool) -> None:
    """List the locks that hold, by name."""
    show_table(control(db, "locks ls", {}, changes=False), as_json, _COLUMNS)


@locks_command.command("break", cls=Command, context_settings=SETTINGS)
@click.argument("name")
@db_option()
@json_option
def break_command(name: str, db: str, *, as_json: bool) -> None:
    """End the locks on NAME at once, of a folder if it ends in a slash.

    The program that took one cannot write there any more until it takes another.
    """
    ended = control(db, "locks break", {"folder": name})
    show(ended, as_json, f"{format_count(len(ended), 'lock')} on {ended[0]['name']} ended.")
