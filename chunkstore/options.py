"""What options of the command line have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from chunkstore.chunking import check_chunk_size
from chunkstore.compression import Compression
from chunkstore.hosts import parse_host
from chunkstore.names import parse_folder_name
from chunkstore.units import parse_duration_seconds, parse_size


class Parsed(click.ParamType[Any]):
    """An option whose text a function turns into a value, or refuses by ValueError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click passes what it has
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _positive(number: int) -> int:
    if number <= 0:
        raise ValueError("it must be more than nothing")
    return number


def _parse_base_path(text: str) -> str:
    segments = text.strip("/").split("/") if text.strip("/") else []
    if any(segment in ("", ".", "..") or quote(segment) != segment for segment in segments):
        raise ValueError(f"{text!r} is not a path like /store/ of letters, digits and - . _ ~")
    return "/".join(["", *segments, ""])


SIZE = Parsed("size", parse_size)
BASE_PATH = Parsed("path", _parse_base_path)
CHUNK_SIZE = Parsed("size", lambda text: check_chunk_size(parse_size(text)))
RATE = Parsed("size", lambda text: _positive(parse_size(text)))
COMPRESSION = Parsed("compression", Compression.parse)
DURATION = Parsed("duration", parse_duration_seconds)
HOST = Parsed("host", parse_host)
FOLDER = Parsed("folder", parse_folder_name)

db_option = click.option(
    "--db",
    default="chunkstore.db",
    show_default=True,
    metavar="PATH|URL",
    help="Where the store is: an SQLite file, or postgresql://USER@HOST/DATABASE.",
)

grace_option = click.option(
    "--grace",
    "grace_seconds",
    type=DURATION,
    default=3600.0,
    show_default="1h",
    help="Keep what is unused but younger.",
)

# Each option is also an environment variable, --db being CHUNKSTORE_DB for every command.
SETTINGS = {"auto_envvar_prefix": "CHUNKSTORE", "help_option_names": ["-h", "--help"]}
