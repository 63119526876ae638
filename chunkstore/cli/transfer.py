"""`chunkstore copy`, `export` and `import`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from chunkstore.cli.options import LOCATION, chunking_option, db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.stores import (
    is_missing,
    is_same_store,
    opened,
    opened_source,
    progress,
    reporting_failures,
)
from chunkstore.cli.values import PATH, Parsed
from chunkstore.core.chunkers import Chunking
from chunkstore.core.errors import InvalidName, InvalidRequest
from chunkstore.core.names import ROOT, FolderName, parse_folder_name
from chunkstore.core.units import format_count, format_size
from chunkstore.server.control import is_controlled
from chunkstore.server.importing import IntoServer
from chunkstore.server.run import run
from chunkstore.service.access.audit import COMMAND_LINE
from chunkstore.service.access.directory import read_snapshot
from chunkstore.service.memory import DEFAULT_MEMORY, MemoryBudget
from chunkstore.service.service import Service
from chunkstore.service.transfer.copy_store import CopiedFile, NotCopied, copy_files
from chunkstore.service.transfer.export_tree import NotExported, export_tree
from chunkstore.service.transfer.import_tree import (
    Imported,
    IntoStore,
    NotImported,
    Target,
    import_tree,
    scan_tree,
)
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import File
from chunkstore.store.open import is_shared

_SERVER_TAKES_FILES: Final = "Or upload to the server, by its page or PUT."


def _parse_folder(text: str) -> FolderName:
    try:
        return parse_folder_name(text)
    except InvalidName as error:
        raise ValueError(str(error).removesuffix(".")) from error


_FOLDER: Final = Parsed("folder", _parse_folder)


@dataclass(slots=True)
class _Transferred:
    """The sum of the files transferred so far; sizes are bytes."""

    files: int = 0
    size: int = 0
    new_chunks: int = 0
    new_size: int = 0

    def add(self, size: int, new_chunks: int = 0, new_size: int = 0) -> int:
        """Add a file, and return its size."""
        self.files += 1
        self.size += size
        self.new_chunks += new_chunks
        self.new_size += new_size
        return size

    def __str__(self) -> str:
        return f"{format_count(self.files, 'file')}, {format_size(self.size)}"


def _service(store: Store, chunking: Chunking = Chunking.FIXED) -> Service:
    return Service(store, MemoryBudget(DEFAULT_MEMORY), chunking=chunking)


def _exit_if(failures: int, done: str) -> None:
    """End with status 1, and say how many names were not `done`, if there are any."""
    if failures:
        verb = "was" if failures == 1 else "were"
        sys.exit(f"chunkstore: {format_count(failures, 'name')} {verb} not {done}.")


@click.command(
    "copy",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Copy all files from one store to another.",
)
@click.argument("source", type=LOCATION)
@click.argument("destination", type=LOCATION)
def copy_command(source: str, destination: str) -> None:
    """Copy all files from the store SOURCE to the store DESTINATION.

    Both are paths or postgresql:// URLs. A server may have SOURCE open. A copy that was interrupted
    goes on: what DESTINATION has is not sent again. Types, times and properties go along. Files in
    DESTINATION are replaced by those of the same name; its other files stay. A file that is
    damaged, or whose name is a folder's or locked in DESTINATION, is left out and named, and the
    exit status is 1.
    """
    if is_same_store(source, destination):
        raise click.UsageError("SOURCE and DESTINATION are the same store.")
    copied, failed = run(_copy(source, destination), destination)
    new = f"{format_count(copied.new_chunks, 'new chunk')}, {format_size(copied.new_size)}"
    click.echo(f"Copied {copied}: {new}.")
    _exit_if(failed, "copied")


async def _copy(source: str, destination: str) -> tuple[_Transferred, int]:
    total = _Transferred()
    with reporting_failures() as failures:
        async with opened_source(source) as one, opened(destination) as other:
            with progress("Copying", (await one.maintenance.stats()).logical_size) as bar:

                def show(copied: CopiedFile) -> None:
                    bar.update(total.add(copied.file.size, copied.new_chunks, copied.new_size))

                def note(failure: NotCopied) -> None:
                    failures.append(f"{failure.name!r} was not copied: {failure.error}")

                await copy_files(_service(one), _service(other), show, note)
    return total, len(failures)


@click.command(
    "export",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Write all files into a folder, also while the store is served.",
)
@db_option()
@click.option(
    "--from",
    "source",
    cls=Option,
    type=_FOLDER,
    default=ROOT,
    show_default="all of them",
    help="Write only the files in this folder of the store.",
)
@click.option(
    "--overwrite", cls=Option, is_flag=True, help="Replace files whose content is different."
)
@click.argument("folder", type=PATH)
def export_command(db: str, source: FolderName, folder: Path, *, overwrite: bool) -> None:
    """Write all files of the store into FOLDER of the file system.

    A server may have the store open. A file that is there with the same content stays as it is.
    Files have the times when they were last modified; types, properties and all other times stay
    behind, which `chunkstore copy` and `chunkstore backup` keep. What cannot be written, because it
    is damaged, in the way of another file, or of a name that the file system does not take, is left
    out and named, and the exit status is 1.
    """
    exported, failed = run(_export(db, source, folder, overwrite=overwrite), db)
    click.echo(f"Exported {exported}.")
    _exit_if(failed, "exported")


async def _export(
    db: str, source: FolderName, folder: Path, *, overwrite: bool
) -> tuple[_Transferred, int]:
    total = _Transferred()
    with reporting_failures() as failures:
        async with opened(db, read_only=True) as store:
            with progress("Exporting", (await store.maintenance.stats()).logical_size) as bar:

                def show(file: File) -> None:
                    bar.update(total.add(file.size))

                def note(failure: NotExported) -> None:
                    failures.append(f"{failure.name!r} was not exported: {failure.error}")

                await export_tree(
                    _service(store), folder, show, note, source=source, overwrite=overwrite
                )
    return total, len(failures)


@click.command(
    "import",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Put all files of a folder into the store.",
)
@db_option()
@click.option(
    "--into",
    "target",
    cls=Option,
    type=_FOLDER,
    default=ROOT,
    show_default="the root folder",
    help="Folder of the store to put the files in.",
)
@click.option(
    "--overwrite", cls=Option, is_flag=True, help="Replace files whose content is different."
)
@click.option(
    "--skip", cls=Option, is_flag=True, help="Import the rest if a store cannot hold everything."
)
@chunking_option()
@click.argument("folder", type=PATH)
def import_command(
    db: str,
    target: FolderName,
    folder: Path,
    *,
    overwrite: bool,
    skip: bool,
    chunking: Chunking,
) -> None:
    """Put all files of FOLDER into the store, also while the store is served.

    The files are read by this command; a server that has the store open is sent them.

    Nothing is imported if FOLDER holds what a store cannot: symbolic links, devices, names with
    control characters. A file that cannot be read, that would replace another in the store, or that
    is locked there, is left out and named, and the exit status is 1. Files keep the times when they
    were last modified.
    """
    importing = _import(db, target, folder, overwrite=overwrite, skip=skip, chunking=chunking)
    imported, failed = run(importing, db)
    click.echo(f"Imported {imported}, of which {format_size(imported.new_size)} were new.")
    _exit_if(failed, "imported")


async def _import(
    db: str,
    target: FolderName,
    folder: Path,
    *,
    overwrite: bool,
    skip: bool,
    chunking: Chunking,
) -> tuple[_Transferred, int]:
    tree = await asyncio.to_thread(scan_tree, folder, target)
    for refusal in tree.refused:
        click.echo(refusal, err=True)
    if tree.refused and not skip:
        raise InvalidRequest("Nothing was imported; --skip leaves these out.")
    imported = _Transferred()
    with reporting_failures() as failures:
        async with _target(db, chunking) as goal:
            with progress("Importing", tree.size) as bar:

                def show(file: Imported) -> None:
                    bar.update(imported.add(file.size, new_size=file.new_size))

                def note(failure: NotImported) -> None:
                    failures.append(f"{str(failure.path)!r} was not imported: {failure.error}")

                await import_tree(goal, tree, show, note, overwrite=overwrite)
    return imported, len(failures)


@asynccontextmanager
async def _target(db: str, chunking: Chunking) -> AsyncIterator[Target]:
    """Yield where an import goes: the server that has the store open, or else the store."""
    if not is_shared(db) and await is_controlled(Path(db)):
        yield IntoServer(Path(db), chunking)
        return
    is_new = await asyncio.to_thread(is_missing, db)
    async with opened(db, in_use=_SERVER_TAKES_FILES) as store:
        if is_new:
            click.echo(f"{db} is a new store, made now.", err=True)
        is_open = (await read_snapshot(store.records)).is_open
        yield IntoStore(_service(store, chunking), None if is_open else COMMAND_LINE)
