"""What the commands of the client have in common: their report, their end, their options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click

from chunkstore.cli.program import Option
from chunkstore.cli.reporting import Report
from chunkstore.client.errors import ClientError
from chunkstore.core.errors import ChunkstoreError

FAILED: Final = 1
_INTERRUPTED: Final = 130


def run_reported(report: Report, action: Callable[[], object]) -> NoReturn:
    """Run what a command does, show how far it is, and end the program with its status.

    The status is that of the error that ended it; else of the files that failed, if all failed in
    one way, and 1 if not.
    """
    status, message = _outcome(report, action)
    report.end(status, message)
    if status == _INTERRUPTED:
        # Threads may wait for the network still. What they have done is there for the next time.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    sys.exit(status)


def _outcome(report: Report, action: Callable[[], object]) -> tuple[int, str | None]:
    try:
        with report.showing():
            action()
    except KeyboardInterrupt:
        return _INTERRUPTED, "Interrupted; the same command goes on from here."
    except ChunkstoreError as error:
        return status_of(error), str(error)
    report.summarize()
    statuses = {status_of(error) for _, error in report.failures}
    if not statuses:
        return 0, None
    return statuses.pop() if len(statuses) == 1 else FAILED, None


def status_of(error: Exception) -> int:
    """Return the exit status that an error stands for."""
    return error.exit_status if isinstance(error, ClientError) else FAILED


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` and `--quiet`, which become `as_json` and `quiet`."""
    for option in (
        click.option(
            "--quiet",
            "-q",
            cls=Option,
            section="Output",
            is_flag=True,
            help="Show only what went wrong.",
        ),
        click.option(
            "--json",
            "as_json",
            cls=Option,
            section="Output",
            is_flag=True,
            help="Show progress and results as JSON lines.",
        ),
    ):
        command = option(command)
    return command
