"""`chunkstore push`, `pull`, `cat` and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click

from chunkstore.cli.client_program import (
    make_settings,
    report_options,
    run_reported,
    transfer_options,
)
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.reporting import CHECKING, PULLING, PUSHING, Report, make_report
from chunkstore.cli.values import PATH
from chunkstore.client import verify
from chunkstore.client.api import local_within, within
from chunkstore.client.errors import InvalidPlace, ServerAway, Stopped
from chunkstore.client.options import PullOptions, PushOptions
from chunkstore.client.places import PIPE, LocalPlace, Pipe, Place, RemotePlace
from chunkstore.client.pull import pull_file
from chunkstore.client.pull_many import pull_folder
from chunkstore.client.push import push_file, push_pipe
from chunkstore.client.push_many import push_folder
from chunkstore.client.server.conditions import ANYTHING
from chunkstore.client.session import Session
from chunkstore.core.errors import ChunkstoreError


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
    metavar="NAME",
    help="How to cut: fixed, or the name that the server has for another way.",
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
    chunking: str | None,
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
        with Session(settings, reporter=report, use_cache=use_cache) as session:
            place = _remote(session, target)
            names = [_base(session, place, base) for base in bases]
            options = PushOptions(ANYTHING if force else None, media_type, names, chunking)
            found = [session.place(source) for source in sources]
            folders = [one for one in found if isinstance(one, LocalPlace) and one.path.is_dir()]
            if len(found) > 1 and not place.is_folder:
                place = replace(place, name=f"{place.name}/", shown=f"{place.shown}/")
            alone = [one for one in found if one not in folders]
            report.planned(len(alone), sum(_size(one) for one in alone))
            for one in found:
                push = partial(_push, session, one, place, options)
                _run(report, str(one), push, alone=len(found) == 1)

    run_reported(report, run)


def _push(session: Session, source: Place, target: RemotePlace, options: PushOptions) -> None:
    match source:
        case Pipe():
            if target.is_folder:
                raise InvalidPlace(f"{target} is a folder; what comes by a pipe needs a name.")
            push_pipe(session, sys.stdin.buffer, target, options)
        case LocalPlace(path, is_folder) if is_folder or path.is_dir():
            push_folder(session, path, target, options)
        case LocalPlace(path):
            push_file(session, path, within(target, path.name), options)
        case RemotePlace():
            raise InvalidPlace(f"{source} is on a server; `chunkstore cp` copies within one.")


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
    report = make_report(PULLING, as_json=as_json, quiet=quiet, to_pipe=target == PIPE)

    def run() -> None:
        with Session(settings, reporter=report, use_cache=use_cache) as session:
            places = [_remote(session, source) for source in sources]
            into = session.place(target)
            if isinstance(into, RemotePlace):
                raise InvalidPlace(f"{into} is on a server; push sends there.")
            single = [place for place in places if not place.is_folder]
            report.planned(len(single), 0)
            options = PullOptions(seeds)
            several = len(places) > 1
            for place in places:
                pull = partial(_pull, session, place, into, options, several=several)
                _run(report, str(place), pull, alone=not several)

    run_reported(report, run)


def _pull(
    session: Session,
    source: RemotePlace,
    target: LocalPlace | Pipe,
    options: PullOptions,
    *,
    several: bool,
) -> None:
    if isinstance(target, Pipe):
        verify.cat(session, source, _stdout())
    elif source.is_folder:
        pull_folder(session, source, target.path, options)
    else:
        is_folder = several or target.is_folder
        path = local_within(f"{target.path}{'/' if is_folder else ''}", source)
        pull_file(session, source, path, options)


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
        with Session(settings, reporter=report, use_cache=use_cache) as session:
            for source in sources:
                verify.cat(session, _remote(session, source), _stdout())

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
        with Session(settings, reporter=report, use_cache=use_cache) as session:
            place = _remote(session, remote)
            if local.is_dir():
                verify.verify_folder(session, local, place)
            else:
                report.planned(1, local.stat().st_size if local.is_file() else 0)
                verify.verify_file(session, local, within(place, local.name))

    run_reported(report, run)


def _run(report: Report, name: str, transfer: Callable[[], None], *, alone: bool) -> None:
    """Transfer one source; if it fails and is not `alone`, tell so and go on with the others."""
    try:
        transfer()
    except (ServerAway, Stopped):
        raise
    except ChunkstoreError as error:
        if alone:
            raise
        report.failed(name, error)


def _remote(session: Session, text: str) -> RemotePlace:
    place = session.place(text)
    if not isinstance(place, RemotePlace):
        raise InvalidPlace(f"{text!r} is here; a place on a server is a URL or NAME:PATH.")
    return place


def _base(session: Session, target: RemotePlace, text: str) -> str:
    base = _remote(session, text)
    if (base.base, base.folder) != (target.base, target.folder) or base.is_folder:
        raise InvalidPlace(f"{text!r} is no file of the server that {target} is on.")
    return base.name


def _size(place: Place) -> int:
    if isinstance(place, LocalPlace) and place.path.is_file():
        return place.path.stat().st_size
    return 0


def _stdout() -> BinaryIO:
    return sys.stdout.buffer
