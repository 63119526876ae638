"""Running a command on a store: by the server that has it open, or on the store itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chunkstore.cli.stores import opened
from chunkstore.server.control import NobodyControls, ask
from chunkstore.server.run import run
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.store.open import is_shared


def control(
    db: str,
    command: str,
    arguments: Mapping[str, Any],
    *,
    create: bool = False,
    changes: bool = True,
) -> Any:  # noqa: ANN401 - JSON
    """Run a command on the store at `db` and return its result; an error ends the program.

    With `create` the store need not exist. Without `changes` the command only reads.
    """
    return run(_control(db, command, arguments, create=create, changes=changes), db)


async def _control(
    db: str, command: str, arguments: Mapping[str, Any], *, create: bool, changes: bool
) -> Any:  # noqa: ANN401 - likewise
    if not is_shared(db):
        try:
            return await ask(Path(db), command, arguments)
        except NobodyControls:
            pass
    async with opened(db, create=create, read_only=not changes) as store:
        people = People.of(store)
        try:
            return await run_command(people, command, arguments)
        finally:
            people.close()
