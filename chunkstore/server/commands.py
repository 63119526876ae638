"""The commands that a server runs for the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chunkstore.core.errors import InvalidRequest
from chunkstore.server.control import controlled
from chunkstore.server.importing import COMMANDS, run_import
from chunkstore.service.access.audit import COMMAND_LINE
from chunkstore.service.access.commands import run_command
from chunkstore.service.access.people import People
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.service import Service
from chunkstore.store.open import is_shared


@asynccontextmanager
async def taking_commands(db: str, service: Service, people: People) -> AsyncIterator[None]:
    """Run commands for the time of the context, if no other process can write to the store."""
    if is_shared(db):
        yield
        return
    async with controlled(Path(db), _Commands(service, people).run):
        yield


@dataclass(frozen=True, slots=True)
class _Commands:
    service: Service
    people: People

    async def run(
        self, command: str, arguments: Mapping[str, Any], content: AsyncIterator[bytes]
    ) -> Any:  # noqa: ANN401 - JSON
        """Run a command and return its result.

        Raises:
            ChunkstoreError: it is not possible.
        """
        if command == "collect":
            return await self._collect(arguments)
        if command in COMMANDS:
            by = COMMAND_LINE if await self.people.audit.tells_now() else None
            return await run_import(self.service, command, arguments, content, by)
        return await run_command(self.people, command, arguments)

    async def _collect(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        grace_seconds = arguments.get("grace_seconds")
        if not isinstance(grace_seconds, int | float) or grace_seconds < 0:
            raise InvalidRequest("A collection has a grace.")
        removed = await collect_all(self.service.store.maintenance, grace_seconds)
        await self.service.store.maintenance.compact()
        return asdict(removed)
