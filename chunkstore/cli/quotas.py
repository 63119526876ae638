"""`chunkstore quota`: what the files under folders may come to."""

from __future__ import annotations

from typing import Final

import click

from chunkstore.cli.access import FOLDER
from chunkstore.cli.control import control
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.showing import json_option, show, show_table
from chunkstore.cli.values import Parsed
from chunkstore.core.units import format_count, format_size, parse_size

_SIZE: Final = Parsed("size", parse_size)
_COLUMNS: Final = ("folder", "size", "max_size", "files", "max_files")


@click.group("quota", context_settings=SETTINGS, short_help="Bound what folders may use.")
def quota_command() -> None:
    """Bound the bytes and the files under folders, whoever puts them."""


@quota_command.command("set", cls=Command, context_settings=SETTINGS)
@click.argument("folder", type=FOLDER)
@click.option("--size", cls=Option, type=_SIZE, default=None, help="How many bytes there may be.")
@click.option(
    "--files",
    cls=Option,
    type=click.IntRange(min=0),
    default=None,
    help="How many files there may be.",
)
@db_option()
@json_option
def set_command(
    folder: str, size: int | None, files: int | None, db: str, *, as_json: bool
) -> None:
    """Set the quota of FOLDER, in place of the one that it has; what is there is counted.

    Every file whose name begins with the folder's counts in full, also copies and what lies in
    folders with quotas of their own. A quota below what is used refuses more, and nothing else.
    """
    if size is None and files is None:
        raise click.UsageError("Give --size, --files or both.")
    quota = control(db, "quota set", {"folder": folder, "size": size, "files": files})
    used = f"{format_size(quota['size'])} in {format_count(quota['files'], 'file')}"
    show(quota, as_json, f"{quota['folder']} has {used} by now.")


@quota_command.command("remove", cls=Command, context_settings=SETTINGS)
@click.argument("folder", type=FOLDER)
@db_option()
@json_option
def remove_command(folder: str, db: str, *, as_json: bool) -> None:
    """Remove the quota of FOLDER; its files stay."""
    done = control(db, "quota remove", {"folder": folder})
    show(done, as_json, f"{folder} has no quota any more.")


@quota_command.command("ls", cls=Command, context_settings=SETTINGS)
@db_option()
@json_option
def list_command(db: str, *, as_json: bool) -> None:
    """List the quotas, and what is used of them."""
    found = control(db, "quota ls", {}, changes=False)
    rows = found if as_json else [_shown(quota) for quota in found]
    show_table(rows, as_json, _COLUMNS)


def _shown(quota: dict[str, int | None]) -> dict[str, object]:
    sizes = {key: quota[key] for key in ("size", "max_size")}
    return {**quota, **{key: size and format_size(size) for key, size in sizes.items()}}
