"""`chunkstore backup` and `chunkstore restore`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import click

from chunkstore.cli.options import LOCATION, db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.stores import opened, progress
from chunkstore.core.errors import Forbidden, StoreError
from chunkstore.core.units import format_count, format_size
from chunkstore.server.run import run
from chunkstore.service.maintenance.scrub import format_damage
from chunkstore.store.contract.reports import Copied
from chunkstore.store.open import restoring_store

_STEPS: Final = 1000


@click.command(
    "backup",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Copy the store to another database, also while it is served.",
)
@db_option()
@click.argument("destination", type=LOCATION)
def backup_command(db: str, destination: str) -> None:
    """Copy the store, as it is at one moment, to the SQLite database DESTINATION.

    A server may have the store open. The next backup to the same DESTINATION copies only chunks
    that it lacks. A backup is a store, which `serve --db` opens. The exit status is 1 if anything
    is damaged.
    """
    copied, damaged = run(_backup(db, destination), db)
    click.echo(f"Copied {format_count(copied.chunks, 'new chunk')}, {format_size(copied.size)}.")
    if damaged:
        verb = "is" if damaged == 1 else "are"
        sys.exit(f"chunkstore: {format_count(damaged, 'chunk')} {verb} damaged.")


async def _backup(db: str, destination: str) -> tuple[Copied, int]:
    async with opened(db, read_only=True) as store:
        if store.backups is None:
            raise Forbidden(
                "A PostgreSQL database is backed up by its own means, as pg_basebackup;"
                " `chunkstore copy` copies the files to another store."
            )
        return await _show_copied(store.backups.make(destination))


@click.command(
    "restore",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Replace the store by a backup.",
)
@db_option()
@click.option(
    "--accept-damage", cls=Option, is_flag=True, help="Restore a backup that is damaged, too."
)
@click.argument("backup", type=LOCATION)
def restore_command(db: str, backup: str, *, accept_damage: bool) -> None:
    """Replace the store by BACKUP. No server may have the store open.

    All that is stored in BACKUP is verified first, and BACKUP is only read. The old database is
    kept beside the new one under another name. The next backup to BACKUP copies only what is new.
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


async def _show_copied(steps: AsyncIterator[Copied]) -> tuple[Copied, int]:
    """Show the progress of a copy and the damage in it; return its sum, and how much is damaged."""
    damaged = 0
    total = Copied(0, 0, 0.0)
    with progress("Copying", _STEPS) as bar:
        async for step in steps:
            bar.update(max(0, int(step.part * _STEPS) - bar.pos))
            total = Copied(total.chunks + step.chunks, total.size + step.size, step.part)
            for damage in step.damage:
                click.echo(format_damage(damage))
                damaged += 1
    return total, damaged
