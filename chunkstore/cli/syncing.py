"""What `chunkstore sync` does, once it is known what is to be synced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from chunkstore.cli.reporting import FETCHING, SENDING, Report
from chunkstore.client.credentials import without_credentials
from chunkstore.client.errors import InvalidPlace
from chunkstore.client.places import LocalPlace, Place, RemotePlace
from chunkstore.client.session import Session
from chunkstore.client.settings import Settings
from chunkstore.client.sync.filters import EVERYTHING
from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PutFile,
    Step,
)
from chunkstore.client.sync.plan_lines import WrittenPlan, format_plan, parse_plan, step_to_json
from chunkstore.client.sync.sync import Sync, SyncOptions
from chunkstore.core.errors import LocalFileError
from chunkstore.core.units import format_count, format_size


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for; a plan to apply has places of its own."""

    source: str | None
    target: str | None
    options: SyncOptions
    dry_run: bool
    plan_file: Path | None
    apply_file: Path | None


def run_sync(request: Request, report: Report, settings: Settings, *, use_cache: bool) -> None:
    """Sync, or tell what would be done.

    Raises:
        InvalidPlace: the places, or the plan, are none.
        ClientError: see `Sync`.
    """
    written = None if request.apply_file is None else _read_plan(request.apply_file)
    with Session(settings, reporter=report, use_cache=use_cache) as session:
        if written is None:
            _sync(session, report, request)
        else:
            _apply(session, report, request, written)


def _sync(session: Session, report: Report, request: Request) -> None:
    assert request.source is not None
    assert request.target is not None
    source, target = session.place(request.source), session.place(request.target)
    sync = _prepare(session, report, source, target, request.options)
    plan = sync.make_plan(complete=request.plan_file is not None)
    if request.plan_file is not None:
        follow_links = request.options.follow_links
        written = WrittenPlan(_told(source), _told(target), follow_links, plan)
        _write_plan(request.plan_file, written)
    if request.plan_file is not None or request.dry_run:
        _show(report, plan, steps=request.dry_run)
    else:
        _carry_out(report, sync, plan)


def _apply(session: Session, report: Report, request: Request, written: WrittenPlan) -> None:
    source = session.place(request.source or written.source)
    target = session.place(request.target or written.target)
    options = replace(
        request.options, chosen=EVERYTHING, follow_links=written.follow_links, empty_folders=False
    )
    sync = _prepare(session, report, source, target, options)
    sync.check(written.plan)
    if request.dry_run:
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
        with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(format_plan(written))
    except OSError as error:
        raise LocalFileError(f"{path}: {error.strerror or error}.") from error


def _read_plan(path: Path) -> WrittenPlan:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            return parse_plan(file)
    except ValueError as error:
        raise InvalidPlace(f"{path} is no plan: {error}.") from error
    except OSError as error:
        raise InvalidPlace(f"{path}: {error.strerror or error}.") from error
