"""`chunkstore sync`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chunkstore.cli.client_program import (
    make_settings,
    report_options,
    run_reported,
    transfer_options,
)
from chunkstore.cli.filters import FilteringCommand, filter_of, filter_options
from chunkstore.cli.program import SETTINGS, Option
from chunkstore.cli.reporting import FETCHING, SENDING, Report, make_report
from chunkstore.cli.values import PATH
from chunkstore.client.credentials import without_credentials
from chunkstore.client.places import LocalPlace, Place, RemotePlace
from chunkstore.client.session import Session
from chunkstore.client.sync.filters import EVERYTHING
from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PlanRules,
    PutFile,
    Step,
)
from chunkstore.client.sync.plan_lines import WrittenPlan, format_plan, parse_plan, step_to_json
from chunkstore.client.sync.sync import Sync, SyncOptions
from chunkstore.core.errors import LocalFileError
from chunkstore.core.units import format_count, format_size


def _option(*names: str, section: str, **settings: Any) -> Callable[..., Callable[..., Any]]:  # noqa: ANN401 - as click's own
    return click.option(*names, cls=Option, section=section, **settings)


@click.command(
    "sync",
    cls=FilteringCommand,
    context_settings=SETTINGS,
    short_help="Make a folder like another, of which one is on a server.",
)
@click.argument("source", required=False)
@click.argument("target", required=False)
@_option("--delete", section="What", is_flag=True, help="Delete what SOURCE does not have.")
@_option(
    "--max-delete",
    section="What",
    type=click.IntRange(0),
    help="Do nothing if it would delete more.",
)
@_option("--existing", section="What", is_flag=True, help="Put no files that TARGET lacks.")
@_option("--ignore-existing", section="What", is_flag=True, help="Replace no files of TARGET.")
@_option("--size-only", section="What", is_flag=True, help="Take files of one size as equal.")
@_option("--empty-folders", section="What", is_flag=True, help="Sync empty folders, too.")
@_option("--follow-links", "-L", section="What", is_flag=True, help="Follow symbolic links.")
@filter_options
@_option("--dry-run", "-n", section="How", is_flag=True, help="Only tell what would be done.")
@_option(
    "--plan", "plan_file", section="How", type=PATH, metavar="FILE",
    help="Only write what would be done to FILE.",
)  # fmt: skip
@_option(
    "--apply", "apply_file", section="How", type=PATH, metavar="FILE",
    help="Do what FILE says, written by --plan.",
)  # fmt: skip
@_option("--atomic", section="How", is_flag=True, help="Show TARGET as it was until all is there.")
@transfer_options
@report_options
@click.pass_context
def sync_command(
    ctx: click.Context,
    /,
    source: str | None,
    target: str | None,
    *,
    delete: bool,
    max_delete: int | None,
    existing: bool,
    ignore_existing: bool,
    size_only: bool,
    empty_folders: bool,
    follow_links: bool,
    include: Sequence[str],
    exclude: Sequence[str],
    exclude_from: Sequence[Path],
    dry_run: bool,
    plan_file: Path | None,
    apply_file: Path | None,
    atomic: bool,
    use_cache: bool,
    as_json: bool,
    quiet: bool,
    **network: Any,  # noqa: ANN401 - as `make_settings` takes it
) -> None:
    """Make the folder TARGET like the folder SOURCE; one of them is on a server.

    A place on a server is a URL, as http://HOST/files/models/, or NAME:models/ after
    `chunkstore remote add`. The contents of SOURCE go into TARGET, with or without a / at the end.
    Files are compared by content. The first of --include, --exclude and --exclude-from that matches
    decides; what none matches is taken, unless there are only --include.

    With --apply, SOURCE and TARGET are those of the plan unless others are given. The plan is
    refused if one of its files has changed.
    """
    if (source is None) is not (target is None) or (source is None and apply_file is None):
        raise click.UsageError("SOURCE and TARGET are missing.", ctx)
    written = None if apply_file is None else _read_plan(apply_file)
    options = SyncOptions(
        PlanRules(delete, existing, ignore_existing, size_only),
        filter_of(ctx, include, exclude, exclude_from),
        follow_links,
        empty_folders,
        max_delete,
        atomic,
    )
    settings = make_settings(**network)
    report = make_report(SENDING, as_json=as_json, quiet=quiet)

    def run() -> None:
        with Session(settings, reporter=report, use_cache=use_cache) as session:
            if written is None:
                assert source is not None
                assert target is not None
                _sync(session, report, (source, target), options, plan_file, dry_run=dry_run)
            else:
                places = (source or written.source, target or written.target)
                _apply(session, report, places, options, written, dry_run=dry_run)

    run_reported(report, run)


def _sync(
    session: Session,
    report: Report,
    places: tuple[str, str],
    options: SyncOptions,
    plan_file: Path | None,
    *,
    dry_run: bool,
) -> None:
    source, target = (session.place(text) for text in places)
    sync = _prepare(session, report, source, target, options)
    plan = sync.make_plan(complete=plan_file is not None)
    if plan_file is not None:
        _write_plan(
            plan_file, WrittenPlan(_told(source), _told(target), options.follow_links, plan)
        )
    if plan_file is not None or dry_run:
        _show(report, plan, steps=dry_run)
    else:
        _carry_out(report, sync, plan)


def _apply(
    session: Session,
    report: Report,
    places: tuple[str, str],
    options: SyncOptions,
    written: WrittenPlan,
    *,
    dry_run: bool,
) -> None:
    source, target = (session.place(text) for text in places)
    options = replace(
        options, chosen=EVERYTHING, follow_links=written.follow_links, empty_folders=False
    )
    sync = _prepare(session, report, source, target, options)
    sync.check(written.plan)
    if dry_run:
        _show(report, written.plan, steps=True)
    else:
        _carry_out(report, sync, written.plan)


def _prepare(
    session: Session, report: Report, source: Place, target: Place, options: SyncOptions
) -> Sync:
    report.verb = SENDING if isinstance(target, RemotePlace) else FETCHING
    return Sync(session, source, target, options)


def _carry_out(report: Report, sync: Sync, plan: Plan) -> None:
    synced = sync.carry_out(plan)
    report.add_to_summary(deleted=synced.deleted, unchanged=plan.unchanged)


def _show(report: Report, plan: Plan, *, steps: bool) -> None:
    """Show what would be done."""
    if steps:
        for step in plan.steps:
            report.step(step_to_json(step), _format_step(step))
    puts = sum(isinstance(step, PutFile) for step in plan.steps)
    copies = sum(isinstance(step, CopyFile) for step in plan.steps)
    size = sum(step.size for step in plan.transfers)
    report.conclude(
        f"Would put {format_count(puts, 'file')} ({format_size(size)}), copy {copies:,}, "
        f"delete {plan.deletions:,}; {plan.unchanged:,} unchanged.",
        puts=puts,
        put_size=size,
        copies=copies,
        deletions=plan.deletions,
        unchanged=plan.unchanged,
    )


def _format_step(step: Step) -> str:
    match step:
        case PutFile():
            return f"{'put' if step.is_new else 'replace'} {step.name} ({format_size(step.size)})"
        case CopyFile():
            return f"copy {step.source} to {step.name}"
        case MakeEmptyFolder():
            return f"make folder {step.name}/"
        case DeleteFile():
            return f"delete {step.name} ({format_size(step.size)})"
        case DeleteEmptyFolder():
            return f"delete folder {step.name}/"


def _told(place: Place) -> str:
    """Return a place as another process finds it, without a password."""
    if isinstance(place, RemotePlace):
        shown = str(place)
        return without_credentials(shown) if "://" in shown else shown
    assert isinstance(place, LocalPlace)
    return str(place.path.absolute())


def _write_plan(path: Path, written: WrittenPlan) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(format_plan(written))
    except OSError as error:
        raise LocalFileError(f"{path}: {error.strerror or error}.") from error


def _read_plan(path: Path) -> WrittenPlan:
    try:
        with path.open(encoding="utf-8") as file:
            return parse_plan(file)
    except ValueError as error:
        raise click.UsageError(f"{path} is no plan: {error}.") from error
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror or error}.") from error
