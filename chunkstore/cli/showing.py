"""What commands about people print, and the passwords that they ask for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from chunkstore.cli.program import Option
from chunkstore.service.access.passwords import LEAST_LENGTH

json_option = click.option("--json", "as_json", cls=Option, is_flag=True, help="Print JSON.")


def read_password(least: int = LEAST_LENGTH) -> str:
    """Return a password: the first line of standard input, or asked for twice on a terminal.

    It has to have `least` characters.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        click.echo(f"{least} characters or more; a few words do well.", err=True)
        return str(click.prompt("Password", hide_input=True, err=True, confirmation_prompt=True))
    line = "" if sys.stdin is None else sys.stdin.readline()
    if not line:
        raise click.UsageError("There is no password on standard input.")
    return line.removesuffix("\n").removesuffix("\r")


def show(result: object, as_json: bool, text: str) -> None:
    """Print the result as JSON, or else a text about it."""
    click.echo(json.dumps(result, indent=2) if as_json else text)


def show_table(rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    """Print rows as JSON, or with their columns aligned under a heading."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [list(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "-"
    return str(value)
