"""The arguments of commands, and the names and verbs in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from chunkstore.core.access import Verbs, parse_verbs
from chunkstore.core.errors import InvalidName, InvalidRequest
from chunkstore.core.names import FileName, FolderName, parse_file_name, parse_folder_name
from chunkstore.service.access.people import People

Arguments = Mapping[str, Any]
Json = Any
Command = Callable[[People, Arguments], Awaitable[Json]]

# In the place of verbs: the subject inherits what it has above.
INHERIT: Final = "inherit"


def parse_folder(text: str) -> FolderName:
    """Return the folder that a command names, which may begin with a slash: `/` is the root.

    Raises:
        InvalidName: it is none. So is "", which a script says by mistake: it is no way to mean all.
    """
    if not text:
        raise InvalidName("The folder is empty; the root is written /.")
    return parse_folder_name(text.removeprefix("/"))


def parse_name(text: str) -> FileName | FolderName:
    """Return the file that a command names, or the folder if it ends in a slash.

    Raises:
        InvalidName: it is none.
    """
    if text.endswith("/"):
        return parse_folder(text)
    return parse_file_name(text.removeprefix("/"))


def parse_command_verbs(text: str) -> Verbs:
    """Return the verbs that a command names, or those of a role.

    Raises:
        InvalidRequest: there is none of this name.
    """
    try:
        return parse_verbs(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.") from error
