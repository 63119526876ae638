"""The commands that look after a store, each on the database itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chunkstore.cli.options import FOLDER, SETTINGS, db_option, grace_option
from chunkstore.core.errors import (
    ChunkstoreError,
    Forbidden,
    InvalidRequest,
    StoreError,
    StoreInUse,
    StoreMissing,
    StoreUnusable,
)
from chunkstore.core.names import ROOT, FolderName
from chunkstore.core.units import format_count, format_size
from chunkstore.server.run import run
from chunkstore.service.maintenance.collect import collect_all, format_collected
from chunkstore.service.maintenance.scrub import format_damage, format_report, scrub_all
from chunkstore.service.memory import DEFAULT_MEMORY, MemoryBudget
from chunkstore.service.representations import stats_to_json
from chunkstore.service.service import Service
from chunkstore.service.transfer.copy_store import CopiedFile, NotCopied, copy_files
from chunkstore.service.transfer.export_tree import export_tree
from chunkstore.service.transfer.import_tree import import_tree, scan_tree
from chunkstore.store.contract.reports import (
    Collected,
    Copied,
    Reclaimable,
    Scrubbed,
    ScrubReport,
    Stats,
)
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Committed, File
from chunkstore.store.open import (
    create_distributed_store,
    describe_location,
    open_store,
    restoring_store,
)

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

PATH: Final = click.Path(path_type=Path)
_STEPS: Final = 1000
_SERVER_COLLECTS: Final = (
    "A server collects by itself, every --collect-every, and --dry-run works beside it."
)
_SERVER_TAKES_FILES: Final = "Or upload to the server, by its page or PUT."


@click.command(context_settings=SETTINGS)
@db_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(db: str, *, as_json: bool) -> None:
    """Tell what the store holds."""
    found = run(_read_stats(db), db)
    if as_json:
        click.echo(json.dumps(stats_to_json(found), indent=2))
    else:
        click.echo(_format_stats(found))


@click.command(context_settings=SETTINGS, short_help="Remove what no file needs any more.")
@db_option
@grace_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def collect(db: str, grace_seconds: float, *, dry_run: bool) -> None:
    """Remove what no file needs any more, and give its space back.

    A server that runs does so by itself; while it has the store open, this can be a --dry-run only.
    """
    removed = run(_collect(db, grace_seconds, dry_run=dry_run), db)
    click.echo(f"{'Would remove' if dry_run else 'Removed'} {format_collected(removed)}.")


@click.command(
    context_settings=SETTINGS, short_help="Check all that is stored, and name what is damaged."
)
@db_option
def scrub(db: str) -> None:
    """Check all that is stored against its digests; the exit status is 1 if something is damaged.

    A server does so by itself. While one has the store open, this only tells of what is damaged;
    otherwise it is noted too, and the next upload that brings it repairs it.
    """
    report = run(_scrub(db), db)
    click.echo(f"Checked {format_report(report)}.")
    sys.exit(1 if report.damaged else 0)


async def _scrub(db: str) -> ScrubReport:
    try:
        async with _opened(db, create=False) as store:
            report = await _show_scrub(store)
            await store.maintenance.put_scrub_report(report)
            return report
    except StoreInUse:
        click.echo("A server has the store open: damage is told of, not noted.", err=True)
    async with _opened(db, read_only=True) as store:
        return await _show_scrub(store)


async def _show_scrub(store: Store) -> ScrubReport:
    total = (await store.maintenance.stats()).stored_size
    with _progress("Scrubbing", total) as bar:

        def show(step: Scrubbed) -> None:
            bar.update(step.size)
            for damage in step.damage:
                click.echo(format_damage(damage))

        return await scrub_all(store.maintenance, show)


@click.command(
    context_settings=SETTINGS, short_help="Copy the store to another database, while it is served."
)
@db_option
@click.argument("destination")
def backup(db: str, destination: str) -> None:
    """Copy the store, as it is at one moment, to the database DESTINATION, also while it is served.

    The next backup to the same place copies only chunks that it lacks. A backup is a store, which
    `serve --db` opens. The exit status is 1 if something is damaged.
    """
    copied, damaged = run(_backup(db, destination), db)
    click.echo(f"Copied {format_count(copied.chunks, 'new chunk')}, {format_size(copied.size)}.")
    if damaged:
        verb = "is" if damaged == 1 else "are"
        sys.exit(f"chunkstore: {format_count(damaged, 'chunk')} {verb} damaged.")


async def _backup(db: str, destination: str) -> tuple[Copied, int]:
    async with _opened(db, read_only=True) as store:
        if store.backups is None:
            raise Forbidden(
                "A PostgreSQL database is backed up by its own means, as pg_basebackup;"
                " `chunkstore copy` copies the files to another store."
            )
        return await _show_copied(store.backups.make(destination))


async def _show_copied(steps: AsyncIterator[Copied]) -> tuple[Copied, int]:
    """Show how copying goes on, and what of it is damaged; return what it came to."""
    damaged = 0
    total = Copied(0, 0, 0.0)
    with _progress("Copying", _STEPS) as bar:
        async for step in steps:
            bar.update(max(0, int(step.part * _STEPS) - bar.pos))
            total = Copied(total.chunks + step.chunks, total.size + step.size, step.part)
            for damage in step.damage:
                click.echo(format_damage(damage))
                damaged += 1
    return total, damaged


@click.command(context_settings=SETTINGS, short_help="Put a backup in the place of the store.")
@db_option
@click.option("--accept-damage", is_flag=True, help="Restore also what is damaged in the backup.")
@click.argument("backup")
def restore(db: str, backup: str, *, accept_damage: bool) -> None:
    """Put a BACKUP in the place of the store, which no server has open meanwhile.

    All that is stored in the backup is checked. The database that was there is kept beside under
    another name. The next backup to BACKUP goes on with it. BACKUP itself is only read.
    """
    copied, kept = run(_restore(db, backup, accept_damage=accept_damage), db)
    click.echo(f"Restored {copied.chunks:,} chunks, {format_size(copied.size)}, all checked.")
    if kept is not None:
        click.echo(f"What was there is kept as {kept}; remove it when you need it no more.")


async def _restore(db: str, backup: str, *, accept_damage: bool) -> tuple[Copied, Path | None]:
    async with restoring_store(db, backup) as restoration:
        copied, damaged = await _show_copied(restoration.copy())
        if damaged and not accept_damage:
            raise StoreError("The backup is damaged. --accept-damage restores it nevertheless.")
        return copied, await restoration.finish()


@click.command(
    "export",
    context_settings=SETTINGS,
    short_help="Write all files into a folder, while the store is served.",
)
@db_option
@click.option("--from", "source", type=FOLDER, default=ROOT, help="Only what is in this folder.")
@click.option("--overwrite", is_flag=True, help="Replace files that have another content.")
@click.argument("folder", type=PATH)
def export_command(db: str, source: FolderName, folder: Path, *, overwrite: bool) -> None:
    """Write all files into FOLDER, also while the store is served.

    What is there with the same content already stays as it is.
    """
    count, size = run(_export(db, source, folder, overwrite=overwrite), db)
    click.echo(f"Exported {format_count(count, 'file')}, {format_size(size)}.")


async def _export(db: str, source: FolderName, folder: Path, *, overwrite: bool) -> tuple[int, int]:
    count = size = 0
    async with _opened(db, read_only=True) as store:
        with _progress("Exporting", (await store.maintenance.stats()).logical_size) as bar:

            def show(file: File) -> None:
                nonlocal count, size
                bar.update(file.manifest.size)
                count += 1
                size += file.manifest.size

            await export_tree(_service(store), folder, show, source=source, overwrite=overwrite)
    return count, size


@click.command(
    "import", context_settings=SETTINGS, short_help="Put all files of a folder into the store."
)
@db_option
@click.option("--into", "target", type=FOLDER, default=ROOT, help="The folder to put them in.")
@click.option("--overwrite", is_flag=True, help="Replace files that have another content.")
@click.option("--skip", is_flag=True, help="Leave out what cannot be in a store, and go on.")
@click.argument("folder", type=PATH)
def import_command(
    db: str, target: FolderName, folder: Path, *, overwrite: bool, skip: bool
) -> None:
    """Put all files of FOLDER into the store, which no server has open meanwhile.

    Nothing is imported if FOLDER holds what cannot be in a store: symbolic links, devices, names
    with control characters.
    """
    count, size, new = run(_import(db, target, folder, overwrite=overwrite, skip=skip), db)
    click.echo(
        f"Imported {format_count(count, 'file')}, {format_size(size)},"
        f" of which {format_size(new)} were new."
    )


async def _import(
    db: str, target: FolderName, folder: Path, *, overwrite: bool, skip: bool
) -> tuple[int, int, int]:
    count = size = new = 0
    tree = await asyncio.to_thread(scan_tree, folder, target)
    for refusal in tree.refused:
        click.echo(refusal, err=True)
    if tree.refused and not skip:
        raise InvalidRequest("Nothing was imported; --skip leaves these out.")
    async with _opened(db, in_use=_SERVER_TAKES_FILES) as store:
        with _progress("Importing", tree.size) as bar:

            def show(committed: Committed) -> None:
                nonlocal count, size, new
                bar.update(committed.file.manifest.size)
                count += 1
                size += committed.file.manifest.size
                new += committed.new_size

            await import_tree(_service(store), tree, show, overwrite=overwrite)
    return count, size, new


@click.command(
    "copy", context_settings=SETTINGS, short_help="Copy all files from one store to another."
)
@click.argument("source")
@click.argument("destination")
def copy_command(source: str, destination: str) -> None:
    """Copy all files from the store SOURCE to the store DESTINATION: paths or postgresql:// URLs.

    What DESTINATION has already is not sent again, so a copy that was interrupted goes on. Other
    files of it stay, those of the same names are replaced. SOURCE may be served meanwhile. A file
    that is damaged, or whose name is a folder's in DESTINATION, is named and left out; then the
    exit status is 1.
    """
    files, size, new_chunks, new_size, failed = run(_copy(source, destination), destination)
    click.echo(
        f"Copied {format_count(files, 'file')}, {format_size(size)}:"
        f" {format_count(new_chunks, 'new chunk')},"
        f" {format_size(new_size)}."
    )
    if failed:
        sys.exit(f"chunkstore: {failed:,} names were not copied.")


async def _copy(source: str, destination: str) -> tuple[int, int, int, int, int]:
    files = size = new_chunks = new_size = failed = 0
    async with _opened_source(source) as one, _opened(destination) as other:
        with _progress("Copying", (await one.maintenance.stats()).logical_size) as bar:

            def show(copied: CopiedFile) -> None:
                nonlocal files, size, new_chunks, new_size
                bar.update(copied.file.manifest.size)
                files += 1
                size += copied.file.manifest.size
                new_chunks += copied.new_chunks
                new_size += copied.new_size

            def tell(failure: NotCopied) -> None:
                nonlocal failed
                failed += 1
                click.echo(f"{failure.name!r} was not copied: {failure.error}", err=True)

            await copy_files(_service(one), _service(other), show, tell)
    return files, size, new_chunks, new_size, failed


@asynccontextmanager
async def _opened_source(db: str) -> AsyncIterator[Store]:
    """Open a store that is not the one which `run` names when it cannot be opened."""
    try:
        store = await open_store(db, read_only=True)
    except StoreUnusable as error:
        raise ChunkstoreError(f"cannot open {describe_location(db)}: {error}") from error
    try:
        yield store
    finally:
        await store.close()


@click.command(
    context_settings=SETTINGS, short_help="Create or migrate the store, without serving it."
)
@db_option
@click.option(
    "--distributed", is_flag=True, help="Spread the tables over the machines of a Citus cluster."
)
def init(db: str, *, distributed: bool) -> None:
    """Create the store, or migrate it, which `serve` does by itself but for --distributed."""
    run(_init(db, distributed=distributed), db)
    click.echo("The store is ready.")


async def _init(db: str, *, distributed: bool) -> None:
    if distributed:
        await create_distributed_store(db)
    async with _opened(db):
        pass


async def _collect(db: str, grace_seconds: float, *, dry_run: bool) -> Collected:
    async with _opened(db, read_only=dry_run, create=False, in_use=_SERVER_COLLECTS) as store:
        return await collect_all(store.maintenance, grace_seconds, dry_run=dry_run)


async def _read_stats(db: str) -> Stats:
    async with _opened(db, read_only=True) as store:
        return await store.maintenance.stats()


def _service(store: Store) -> Service:
    return Service(store, MemoryBudget(DEFAULT_MEMORY))


def _progress(label: str, total: int) -> ProgressBar[int]:
    """Return a bar on the terminal, if there is one."""
    hidden = not sys.stderr.isatty()
    return click.progressbar(length=total, label=label, file=sys.stderr, hidden=hidden)


@asynccontextmanager
async def _opened(
    db: str, *, read_only: bool = False, create: bool = True, in_use: str = ""
) -> AsyncIterator[Store]:
    """Open the store; `in_use` says what to do where another process has it open for writing."""
    try:
        # A command that ends at once would stop it time and again, and be refused meanwhile.
        store = await open_store(db, read_only=read_only, create=create, recover=True)
    except StoreInUse as error:
        raise StoreInUse(f"{error} {in_use}".rstrip()) from error
    except StoreMissing as error:
        raise StoreMissing(f"{error} --db says where the store is.") from error
    try:
        yield store
    finally:
        await store.close()


def _format_stats(found: Stats) -> str:
    scrubbed = found.scrub
    rows = {
        "files": f"{found.files:,}",
        "contents": f"{found.contents:,}",
        "chunks": f"{found.chunks:,} of {format_size(found.chunk_size)}",
        "logical size": format_size(found.logical_size),
        "unique size": format_size(found.unique_size),
        "stored size": format_size(found.stored_size),
        "reclaimable": _format_reclaimable(found.reclaimable),
        "ratio": _format_ratio(found.ratio),
        "deduplication": _format_ratio(found.deduplication),
        "compression": _format_ratio(found.compression),
        "database size": format_size(found.database_size),
        "damaged chunks": f"{found.damaged:,}",
        "last scrub": "-" if scrubbed is None else _format_scrub(scrubbed),
        **found.versions,
    }
    return "\n".join(f"{label:14} {value}" for label, value in rows.items())


def _format_reclaimable(found: Reclaimable | None) -> str:
    return "-" if found is None else format_size(found.stored_size + found.free_size)


def _format_scrub(report: ScrubReport) -> str:
    return f"{report.finished:%Y-%m-%d %H:%M} UTC: {format_report(report)}"


def _format_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


COMMANDS: Final = (
    init,
    stats,
    collect,
    scrub,
    backup,
    restore,
    copy_command,
    export_command,
    import_command,
)
