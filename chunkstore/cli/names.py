"""`chunkstore ls`, `cp`, `mv` and `rm`: names on a server.

What they need is imported when they run, so that `--help` does not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chunkstore.cli.client_program import ended_by
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.reporting import printable
from chunkstore.client.errors import Missing
from chunkstore.core.units import format_size

if TYPE_CHECKING:
    from chunkstore.client.names import Entry
    from chunkstore.client.places import RemotePlace


@click.command(
    "ls",
    cls=Command,
    context_settings=SETTINGS,
    short_help="List a folder of a server.",
)
@click.argument("place", default=":", required=False)
@click.option("--long", "-l", cls=Option, is_flag=True, help="Show sizes and times, too.")
@click.option("--recursive", "-r", cls=Option, is_flag=True, help="List all files at all levels.")
@click.option("--json", "as_json", cls=Option, is_flag=True, help="Print JSON lines.")
@ended_by
def ls_command(place: str, *, long: bool, recursive: bool, as_json: bool) -> None:
    """List what is in the folder PLACE, or the file PLACE.

    PLACE is a URL, as http://HOST/files/models/, or NAME:models/ after `chunkstore remote add`.
    Without one it is the root folder of the server in CHUNKSTORE_URL.
    """
    from chunkstore.client.names import list_place, on_server
    from chunkstore.client.session import Session

    with Session(use_cache=False) as session:
        for entry in list_place(session, on_server(session.place(place)), recursive=recursive):
            click.echo(_to_json(entry) if as_json else _to_line(entry, long=long))


def _target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--replace",
            "replace_folder",
            cls=Option,
            is_flag=True,
            help="Let a folder replace the folder TARGET, which loses all it has.",
        ),
        click.option(
            "--no-clobber", "-n", cls=Option, is_flag=True, help="Keep a file TARGET that is there."
        ),
    ):
        command = option(command)
    return command


@click.command(
    "cp",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Copy files and folders within a server.",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@_target_options
@ended_by
def cp_command(
    sources: Sequence[str], target: str, *, no_clobber: bool, replace_folder: bool
) -> None:
    """Copy files and folders of a server, within it and at once: no content travels.

    A TARGET that ends in / is a folder, into which files go. A folder SOURCE becomes TARGET. To get
    files to a server and from it, use `push` and `pull`; to copy a whole store into another
    database, without a server, `copy`.
    """
    _transfer(sources, target, move=False, no_clobber=no_clobber, replace_folder=replace_folder)


@click.command(
    "mv",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Move or rename files and folders within a server.",
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@_target_options
@ended_by
def mv_command(
    sources: Sequence[str], target: str, *, no_clobber: bool, replace_folder: bool
) -> None:
    """Move or rename files and folders of a server, within it and at once.

    A TARGET that ends in / is a folder, into which files go. A folder SOURCE becomes TARGET.
    """
    _transfer(sources, target, move=True, no_clobber=no_clobber, replace_folder=replace_folder)


@click.command(
    "rm",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Delete files, or folders, of a server.",
)
@click.argument("places", nargs=-1, required=True, metavar="PLACE...")
@click.option(
    "--recursive", "-r", cls=Option, is_flag=True, help="Delete folders, with all that is in them."
)
@click.option("--force", "-f", cls=Option, is_flag=True, help="Take what is missing as deleted.")
@ended_by
def rm_command(places: Sequence[str], *, recursive: bool, force: bool) -> None:
    """Delete files of a server; with -r folders, too, each whole and at once."""
    from chunkstore.client.names import delete_place, on_server
    from chunkstore.client.session import Session

    with Session(use_cache=False) as session:
        for place in [on_server(session.place(text)) for text in places]:
            try:
                delete_place(session, place, recursive=recursive)
            except Missing:
                if not force:
                    raise


def _transfer(
    sources: Sequence[str], target: str, *, move: bool, no_clobber: bool, replace_folder: bool
) -> None:
    from chunkstore.client.names import copy_place, on_server
    from chunkstore.client.session import Session

    with Session(use_cache=False) as session:
        parsed = [on_server(session.place(text)) for text in sources]
        into = on_server(session.place(target))
        if len(parsed) > 1 and not into.is_folder:
            raise click.UsageError("With more than one SOURCE, TARGET is a folder and ends in /.")
        for source in parsed:
            copy_place(
                session,
                source,
                _within(source, into) if len(parsed) > 1 else into,
                move=move,
                overwrite_file=not no_clobber,
                replace_folder=replace_folder,
            )


def _within(source: RemotePlace, folder: RemotePlace) -> RemotePlace:
    """Return the place in a folder to which one of several sources goes."""
    last = source.name.removesuffix("/").rpartition("/")[2]
    return replace(folder.joined(f"{last}/" if source.is_folder else last), shown="")


def _to_line(entry: Entry, *, long: bool) -> str:
    name = printable(entry.name)
    if not long:
        return name
    file = entry.file
    size = "" if file is None or file.size is None else format_size(file.size)
    modified = (
        ""
        if file is None or file.modified is None
        else f"{file.modified.astimezone():%Y-%m-%d %H:%M}"
    )
    return f"{size:>11}  {modified:16}  {name}"


def _to_json(entry: Entry) -> str:
    file = entry.file
    members: dict[str, Any] = {"type": "folder" if file is None else "file", "name": entry.name}
    if file is not None:
        members |= {
            "size": file.size,
            "digest": None if file.digest is None else str(file.digest),
            "media_type": file.media_type,
            "modified": None if file.modified is None else file.modified.isoformat(),
        }
    return json.dumps(members, ensure_ascii=False)
