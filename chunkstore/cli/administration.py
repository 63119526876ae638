"""`chunkstore init`, `stats`, `collect` and `scrub`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from chunkstore.cli.options import db_option, grace_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.stores import opened, progress
from chunkstore.core.errors import StoreInUse
from chunkstore.core.units import format_count, format_size
from chunkstore.server.control import NobodyControls, ask
from chunkstore.server.run import run
from chunkstore.service.maintenance.collect import collect_all, format_collected
from chunkstore.service.maintenance.scrub import format_damage, format_report, scrub_all
from chunkstore.service.representations import stats_to_json
from chunkstore.store.contract.quotas import Quota
from chunkstore.store.contract.reports import Collected, Reclaimable, Scrubbed, ScrubReport, Stats
from chunkstore.store.contract.store import Store
from chunkstore.store.open import create_distributed_store, is_shared

_SERVER_COLLECTS: Final = (
    "A server collects by itself, every --collect-every, and --dry-run works beside it."
)


@click.command("init", cls=Command, context_settings=SETTINGS)
@db_option()
@click.option(
    "--distributed",
    cls=Option,
    is_flag=True,
    help="Spread the tables over the machines of a Citus cluster.",
)
def init_command(db: str, *, distributed: bool) -> None:
    """Create or migrate the store, without serving it.

    `serve` creates and migrates it, too, but never with --distributed.
    """
    run(_init(db, distributed=distributed), db)
    click.echo("The store is ready.")


async def _init(db: str, *, distributed: bool) -> None:
    if distributed:
        await create_distributed_store(db)
    async with opened(db):
        pass


@click.command("stats", cls=Command, context_settings=SETTINGS)
@db_option()
@click.option("--json", "as_json", cls=Option, is_flag=True, help="Print JSON.")
def stats_command(db: str, *, as_json: bool) -> None:
    """Show what the store holds and how much space it takes."""
    found, quotas = run(_read_stats(db), db)
    if as_json:
        click.echo(json.dumps(stats_to_json(found, quotas), indent=2))
    else:
        click.echo("\n".join([_format_stats(found), *map(_format_quota, quotas)]))


async def _read_stats(db: str) -> tuple[Stats, Sequence[Quota]]:
    async with opened(db, read_only=True) as store:
        return await store.maintenance.stats(), await store.quotas.list()


def _format_quota(quota: Quota) -> str:
    size, files = format_size(quota.used.size), format_count(quota.used.files, "file")
    if quota.max_size is not None:
        size += f" of {format_size(quota.max_size)}"
    if quota.max_files is not None:
        files += f" of {quota.max_files:,}"
    return f"/{quota.folder}: {size}, {files}"


@click.command(
    "collect",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Remove data that no file uses any more.",
)
@db_option()
@grace_option()
@click.option("--dry-run", cls=Option, is_flag=True, help="Only tell what would be removed.")
def collect_command(db: str, grace_seconds: float, *, dry_run: bool) -> None:
    """Remove data that no file uses any more, and give its space back to the file system.

    A server does so by itself; one that has the store open is asked to do it now.
    """
    removed = run(_collect(db, grace_seconds, dry_run=dry_run), db)
    click.echo(f"{'Would remove' if dry_run else 'Removed'} {format_collected(removed)}.")


async def _collect(db: str, grace_seconds: float, *, dry_run: bool) -> Collected:
    if not dry_run and not is_shared(db):
        with suppress(NobodyControls):
            return Collected(**await ask(Path(db), "collect", {"grace_seconds": grace_seconds}))
    async with opened(db, read_only=dry_run, create=False, in_use=_SERVER_COLLECTS) as store:
        removed = await collect_all(store.maintenance, grace_seconds, dry_run=dry_run)
        if not dry_run:
            await store.maintenance.compact()
        return removed


@click.command(
    "scrub",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Verify all stored data and name what is damaged.",
)
@db_option()
def scrub_command(db: str) -> None:
    """Verify all stored data against its digests, and name each file that damage touches.

    The exit status is 1 if anything is damaged. A server scrubs by itself. While one has the store
    open, this command only reports damage; otherwise it also marks it, and the next upload that
    brings the same bytes repairs it.
    """
    report = run(_scrub(db), db)
    click.echo(f"Checked {format_report(report)}.")
    sys.exit(1 if report.damaged else 0)


async def _scrub(db: str) -> ScrubReport:
    try:
        async with opened(db, create=False) as store:
            report = await _show_scrub(store)
            await store.maintenance.put_scrub_report(report)
            return report
    except StoreInUse:
        click.echo("A server has the store open: damage is reported, not marked.", err=True)
    async with opened(db, read_only=True) as store:
        return await _show_scrub(store)


async def _show_scrub(store: Store) -> ScrubReport:
    total = (await store.maintenance.stats()).stored_size
    with progress("Scrubbing", total) as bar:

        def show(step: Scrubbed) -> None:
            bar.update(step.size)
            for damage in step.damage:
                click.echo(format_damage(damage))

        return await scrub_all(store.maintenance, show)


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
