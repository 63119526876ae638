"""`chunkstore audit`: who did what."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
from collections.abc import Mapping
from typing import Any, Final

import click

from chunkstore.cli.control import asking
from chunkstore.cli.options import db_option
from chunkstore.cli.program import SETTINGS, Command, Option
from chunkstore.cli.showing import json_option
from chunkstore.server.run import run

_PAUSE_SECONDS: Final = 1.0
_STANDARD_OUTPUT: Final = 1


@click.command("audit", cls=Command, context_settings=SETTINGS)
@click.option("--since", cls=Option, default=None, metavar="TIME", help="From this time on.")
@click.option("--until", cls=Option, default=None, metavar="TIME", help="Before this time.")
@click.option("--actor", cls=Option, default=None, metavar="NAME", help="Only what it did.")
@click.option("--action", cls=Option, default=None, help="Only this, as `delete` or `sign-in`.")
@click.option(
    "--name", cls=Option, default=None, metavar="PREFIX", help="Only to names that begin so."
)
@click.option(
    "-f", "--follow", cls=Option, is_flag=True, help="Go on with what is done, until interrupted."
)
@db_option()
@json_option
def audit_command(db: str, *, follow: bool, as_json: bool, **wanted: str | None) -> None:
    """Tell who did what, when and from where, the oldest first.

    TIME is as 2026-11-28 or 2026-11-28T23:59:59Z. With --json each entry is a line of JSON.
    """
    if follow and wanted["until"] is not None:
        raise click.UsageError("--follow has no end, and --until has one.")
    run(_tell(db, wanted, follow=follow, as_json=as_json), db)


async def _tell(db: str, wanted: Mapping[str, str | None], *, follow: bool, as_json: bool) -> None:
    after = None
    async with asking(db, changes=False) as ask:
        while True:
            page = await ask("audit", {**wanted, "after": after})
            for entry in page["entries"]:
                click.echo(json.dumps(entry) if as_json else _line(entry))
                after = entry["place"]
            if page["after"] is None:
                if not follow:
                    return
                _require_reader()
                await asyncio.sleep(_PAUSE_SECONDS)


def _require_reader() -> None:
    """Notice that whoever reads the output has gone, though there is nothing to be written.

    Raises:
        BrokenPipeError: they have.
    """
    poll = select.poll()
    poll.register(_STANDARD_OUTPUT, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _line(entry: dict[str, Any]) -> str:
    who = entry["actor"] or "-"
    parts = [entry["time"], who, f"({entry['via']})", entry["action"]]
    parts += [f"/{entry['name']}"] if entry["name"] else []
    parts += [f"{key}={value}" for key, value in entry["detail"].items() if value != ""]
    parts += [f"from {entry['address']}"] if entry["address"] else []
    return " ".join(parts)
