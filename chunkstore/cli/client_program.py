"""What the commands of the client have in common: their report, their end, their options."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any, Final, NoReturn, ParamSpec

import click

from chunkstore.cli.program import Option
from chunkstore.cli.reporting import Report, printable
from chunkstore.cli.values import Parsed
from chunkstore.client.bandwidth import Bandwidth
from chunkstore.client.errors import ClientError
from chunkstore.client.settings import DEFAULT_CONNECTIONS, DEFAULT_TRANSFERS, Settings
from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.malloc import configure_malloc

FAILED: Final = 1
DEFAULT_RETRIES: Final = 5
_INTERRUPTED: Final = 130

_Given = ParamSpec("_Given")


def run_reported(report: Report, action: Callable[[], object]) -> NoReturn:
    """Run what a command does, show how far it is, and end the program with its status.

    The status is that of the error that ended it; else of the files that failed, if all failed in
    one way, and 1 if not.
    """
    # Or the pages of each buffer of a transfer would be taken from the system anew.
    configure_malloc()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    status, message = _outcome(report, action)
    with suppress(OSError):
        # Where standard output is full or closed, the status is all that can be told.
        report.end(status, message)
    if status == _INTERRUPTED:
        # Threads may wait for the network still. What they have done is there for the next time.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    sys.exit(status)


def _interrupt(*_: object) -> NoReturn:
    """End the program in order; by a second Ctrl-C at once, which would break into that."""
    signal.signal(signal.SIGINT, _exit_at_once)
    raise KeyboardInterrupt


def _exit_at_once(*_: object) -> NoReturn:
    # Nothing that may hold a lock is asked: the next run goes on as if this one was killed.
    os._exit(_INTERRUPTED)


def ended_by(command: Callable[_Given, None]) -> Callable[_Given, None]:
    """Have errors of the client end the program with their status, where there is no report."""

    @wraps(command)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ChunkstoreError as error:
            click.echo(f"chunkstore: {printable(str(error))}", err=True)
            sys.exit(status_of(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            click.echo(f"chunkstore: {error}.", err=True)
            sys.exit(FAILED)

    return run


def _outcome(report: Report, action: Callable[[], object]) -> tuple[int, str | None]:
    try:
        with report.showing():
            action()
        report.summarize()
    except KeyboardInterrupt:
        return _INTERRUPTED, "Interrupted; the same command goes on from here."
    except ChunkstoreError as error:
        return status_of(error), str(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        # Of standard input or output: what has a name is a ClientError.
        return FAILED, f"{error}."
    statuses = {status_of(error) for _, error in report.failures}
    if not statuses:
        return 0, None
    return statuses.pop() if len(statuses) == 1 else FAILED, None


def status_of(error: Exception) -> int:
    """Return the exit status that an error stands for."""
    return error.exit_status if isinstance(error, ClientError) else FAILED


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--quiet`, which become `as_json` and `quiet`."""
    return _with(
        command,
        click.option(
            "--json",
            "as_json",
            cls=Option,
            section="Output",
            is_flag=True,
            help="Show progress and results as JSON lines.",
        ),
        click.option(
            "--quiet",
            "-q",
            cls=Option,
            section="Output",
            is_flag=True,
            help="Show only what went wrong.",
        ),
    )


def transfer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add those that say how to transfer, for `make_settings`, and `--cache`."""
    return _with(
        command,
        click.option(
            "--transfers",
            cls=Option,
            section="Network",
            type=click.IntRange(1, 64),
            default=DEFAULT_TRANSFERS,
            help="How many files are transferred at once.",
        ),
        click.option(
            "--connections",
            cls=Option,
            section="Network",
            type=click.IntRange(1, 64),
            default=DEFAULT_CONNECTIONS,
            help="How many connections there are at most.",
        ),
        click.option(
            "--bwlimit",
            cls=Option,
            section="Network",
            type=Parsed("rate", Bandwidth.parse),
            metavar="RATE",
            help="Bytes a second, as 10M, or up and down, as 1M:10M.",
        ),
        click.option(
            "--retries",
            cls=Option,
            section="Network",
            type=click.IntRange(0, 100),
            default=DEFAULT_RETRIES,
            help="How often a request is repeated that got no answer.",
        ),
        click.option(
            "--cache/--no-cache",
            "use_cache",
            cls=Option,
            section="Network",
            default=True,
            help="Know files by their times instead of reading them again.",
        ),
    )


def make_settings(
    *, transfers: int, connections: int, bwlimit: Bandwidth | None, retries: int
) -> Settings:
    """Return the settings that options and the environment give."""
    return replace(
        Settings.from_environment(),
        transfers=transfers,
        connections=connections,
        bandwidth=bwlimit or Bandwidth(),
        retries=retries,
    )


def _with(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    # The last that is added is the first that is listed.
    for option in reversed(options):
        command = option(command)
    return command
