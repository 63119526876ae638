"""`chunkstore sync`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from chunkstore.cli.reporting import SENDING, make_report
from chunkstore.cli.values import PATH


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
    # Loaded here, so that no other command waits for it.
    from chunkstore.cli.syncing import Request, run_sync
    from chunkstore.client.sync.plan import PlanRules
    from chunkstore.client.sync.sync import SyncOptions

    options = SyncOptions(
        PlanRules(delete, existing, ignore_existing, size_only),
        filter_of(ctx, include, exclude, exclude_from),
        follow_links,
        empty_folders,
        max_delete,
        atomic,
    )
    request = Request(source, target, options, dry_run, plan_file, apply_file)
    report = make_report(SENDING, as_json=as_json, quiet=quiet)
    settings = make_settings(**network)
    run_reported(report, lambda: run_sync(request, report, settings, use_cache=use_cache))
