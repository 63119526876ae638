"""Importing files into a store that a server has open: by the control socket, file by file.

The command reads the files, with the rights of whoever runs it, and sends their contents. The
server, whose user may not be able to read them, puts them as it puts what comes by HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from chunkstore.core.chunkers import Chunking
from chunkstore.core.errors import InvalidRequest, StoreError
from chunkstore.core.names import FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.server.control import NobodyControls, ask
from chunkstore.service.service import Service
from chunkstore.service.transfer.import_tree import Imported, IntoStore
from chunkstore.store.contract.audit import Who

_PUT: Final = "import"
_MAKE_FOLDER: Final = "import folder"
COMMANDS: Final = frozenset({_PUT, _MAKE_FOLDER})
# On whose account the memory is.
_CLIENT: Final = "import"


@dataclass(frozen=True, slots=True)
class IntoServer:
    """The store of a database that a server has open, as the target of an import."""

    database: Path
    chunking: Chunking

    async def put(
        self,
        name: FileName,
        pieces: AsyncIterable[bytes],
        *,
        overwrite: bool,
        modified: datetime | None = None,
    ) -> Imported:
        """Put a file, as `Target` says; also if the server has ended (StoreError)."""
        arguments = {
            "name": name,
            "overwrite": overwrite,
            "chunking": self.chunking.value,
            "modified": None if modified is None else modified.isoformat(),
        }
        told = await self._ask(_PUT, arguments, pieces)
        return Imported(name, told["size"], told["new_size"])

    async def make_folder(self, name: FolderName) -> None:
        """Make a folder, as `Target` says."""
        await self._ask(_MAKE_FOLDER, {"name": name})

    async def _ask(
        self,
        command: str,
        arguments: Mapping[str, Any],
        content: AsyncIterable[bytes] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        try:
            return await ask(self.database, command, arguments, content)
        except NobodyControls as error:
            raise StoreError("The server has ended; what was imported before is kept.") from error


async def run_import(
    service: Service,
    command: str,
    arguments: Mapping[str, Any],
    content: AsyncIterator[bytes],
    by: Who | None = None,
) -> dict[str, int]:
    """Run one of `COMMANDS`, which the audit log tells `by` somebody; return its result.

    Raises:
        InvalidRequest: it cannot be understood.
        ChunkstoreError: as `Target` says.
    """
    try:
        chunking = Chunking(arguments.get("chunking", Chunking.FIXED))
        overwrite = bool(arguments.get("overwrite"))
        time = arguments.get("modified")
        modified = None if time is None else datetime.fromisoformat(time).astimezone(UTC)
        text = arguments["name"]
        name = parse_file_name(text) if command == _PUT else parse_folder_name(text)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidRequest(f"The command {command!r} cannot be understood.") from error
    receiving = Service(
        service.store,
        service.budget,
        client=_CLIENT,
        chunking=chunking,
        checksums=service.checksums,
    )
    target = IntoStore(receiving, by)
    if command == _MAKE_FOLDER:
        await target.make_folder(FolderName(name))
        return {}
    imported = await target.put(FileName(name), content, overwrite=overwrite, modified=modified)
    return {"size": imported.size, "new_size": imported.new_size}
