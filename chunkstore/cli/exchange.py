"""`chunkstore push`, `pull`, `cat` and `verify`: their options.

The client itself is imported when a command runs, which is longer than `--help` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from chunkstore.cli.client_program import (
    make_settings,
    report_options,
    run_reported,
    transfer_options,
)
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.reporting import CHECKING, PULLING, PUSHING, make_report
from chunkstore.cli.values import CHUNKING, PATH
from chunkstore.core.chunkers import Chunking

_PIPE: Final = "-"


@click.command(
    "push",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Send files to a server, but only what it lacks.",
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("target")
@click.option(
    "--force", cls=Option, is_flag=True, help="Replace what others have changed meanwhile, too."
)
@click.option(
    "--base",
    "bases",
    cls=Option,
    multiple=True,
    metavar="PLACE",
    help="Another file of the server that SOURCE is made from; can be given several times.",
)
@click.option("--type", "media_type", cls=Option, metavar="TYPE", help="The media type.")
@click.option(
    "--chunking",
    cls=Option,
    type=CHUNKING,
    metavar="fixed|cdc|auto",
    show_default="as TARGET is, or the server's",
    help="How to cut SOURCE. cdc finds again what was shifted; auto is cdc for archives and dumps.",
)
@transfer_options
@report_options
def push_command(
    *,
    sources: Sequence[str],
    target: str,
    force: bool,
    bases: Sequence[str],
    media_type: str | None,
    chunking: Chunking | None,
    use_cache: bool,
    as_json: bool,
    quiet: bool,
    **network: Any,  # noqa: ANN401 - as `make_settings` takes it
) -> None:
    """Send SOURCE to TARGET, which is on a server: what is known there is not sent.

    TARGET is a URL as curl takes it, http://HOST/files/models/model.bin, or NAME:models/model.bin
    after `chunkstore remote add`. One that ends in / is a folder. SOURCE is a file, a folder, whose
    contents go into the folder TARGET, or - for standard input. Only what was found is replaced,
    and nothing that somebody else has put there meanwhile. A push that was interrupted goes on when
    it is run again.
    """
    settings = make_settings(**network)
    report = make_report(PUSHING, as_json=as_json, quiet=quiet)

    def run() -> None:
        from chunkstore.cli import exchange_steps as steps
        from chunkstore.client.options import PushOptions
        from chunkstore.client.server.conditions import ANYTHING

        options = PushOptions(ANYTHING if force else None, media_type, bases, chunking)
        with steps.Session(settings, reporter=report, use_cache=use_cache) as session:
            steps.push(session, report, sources, target, options)

    run_reported(report, run)


@click.command(
    "pull",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Fetch files from a server, but only what is not here.",
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("target")
@click.option(
    "--seed",
    "seeds",
    cls=Option,
    multiple=True,
    type=PATH,
    metavar="PATH",
    help="A file or folder here that may have parts of it; can be given several times.",
)
@transfer_options
@report_options
def pull_command(
    *,
    sources: Sequence[str],
    target: str,
    seeds: Sequence[Path],
    use_cache: bool,
    as_json: bool,
    quiet: bool,
    **network: Any,  # noqa: ANN401 - as `make_settings` takes it
) -> None:
    """Fetch SOURCE, which is on a server, to TARGET: what is here already is not fetched.

    SOURCE is a URL as curl takes it, http://HOST/files/models/model.bin, or NAME:models/model.bin
    after `chunkstore remote add`. One that ends in / is a folder, whose contents go into the folder
    TARGET. TARGET is a path, or - for standard output; one that ends in / is a folder. It is
    replaced at one moment, once all is there and has been checked. A pull that was interrupted goes
    on when it is run again.
    """
    settings = make_settings(**network)
    report = make_report(PULLING, as_json=as_json, quiet=quiet, to_pipe=target == _PIPE)

    def run() -> None:
        from chunkstore.cli import exchange_steps as steps
        from chunkstore.client.options import PullOptions

        with steps.Session(settings, reporter=report, use_cache=use_cache) as session:
            steps.pull(session, report, sources, target, PullOptions(seeds))

    run_reported(report, run)


@click.command(
    "cat",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Print files of a server.",
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@transfer_options
def cat_command(*, sources: Sequence[str], use_cache: bool, **network: Any) -> None:  # noqa: ANN401 - as `make_settings` takes it
    """Print SOURCE, which is on a server, on standard output.

    The content is checked while it passes. If it does not have the digest that the server tells,
    that is known only at the end: the exit status is 6 then.
    """
    settings = make_settings(**network)
    report = make_report(PULLING, quiet=True, to_pipe=True)

    def run() -> None:
        from chunkstore.cli import exchange_steps as steps

        with steps.Session(settings, reporter=report, use_cache=use_cache) as session:
            steps.cat(session, sources)

    run_reported(report, run)


@click.command(
    "verify",
    cls=Command,
    context_settings=SETTINGS,
    short_help="Compare files with those of a server.",
)
@click.argument("local", type=PATH)
@click.argument("remote")
@transfer_options
@report_options
def verify_command(
    *,
    local: Path,
    remote: str,
    use_cache: bool,
    as_json: bool,
    quiet: bool,
    **network: Any,  # noqa: ANN401 - as `make_settings` takes it
) -> None:
    """Compare LOCAL, a file or a folder, with REMOTE, which is on a server, by their digests.

    LOCAL is read, and of REMOTE only the digests are fetched. Each file that differs, or that only
    one side has, is named, and the exit status is 6 then.
    """
    settings = make_settings(**network)
    report = make_report(CHECKING, as_json=as_json, quiet=quiet)

    def run() -> None:
        from chunkstore.cli import exchange_steps as steps

        with steps.Session(settings, reporter=report, use_cache=use_cache) as session:
            steps.verify(session, report, local, remote)

    run_reported(report, run)
