"""Running a command on a store: by the server that has it open, or on the store itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from chunkstore.cli.stores import opened
from chunkstore.server.control import NobodyControls, ask
from chunkstore.server.run import run
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.store.open import is_shared

# Runs a command with its arguments and returns its result, JSON.
Ask: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


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
    async with asking(db, create=create, changes=changes) as ask_store:
        return await ask_store(command, arguments)


@asynccontextmanager
async def asking(db: str, *, create: bool = False, changes: bool = True) -> AsyncIterator[Ask]:
    """Return what runs commands on the store at `db`, which has another server each time perhaps.

    `create` and `changes` are as in `control`.
    """
    if is_shared(db):
        async with _people_of(db, create=create, changes=changes) as people:
            yield partial(run_command, people)
        return

    async def ask_server_or_store(command: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - likewise
        try:
            return await ask(Path(db), command, arguments)
        except NobodyControls:
            async with _people_of(db, create=create, changes=changes) as people:
                return await run_command(people, command, arguments)

    yield ask_server_or_store


@asynccontextmanager
async def _people_of(db: str, *, create: bool, changes: bool) -> AsyncIterator[People]:
    async with opened(db, create=create, read_only=not changes) as store:
        people = People.of(store)
        try:
            yield people
        finally:
            people.close()
