"""What options of the command line have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import click
from click.core import ParameterSource

from chunkstore.core.chunking import MAX_CHUNK_SIZE, check_chunk_size
from chunkstore.core.compression import Compression
from chunkstore.core.hosts import parse_host
from chunkstore.core.names import parse_folder_name
from chunkstore.core.units import format_size, parse_duration_seconds, parse_size

_ENVIRONMENT: Final = "CHUNKSTORE"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Program(click.Group):
    """Commands whose options can also be set in the environment, each by its name there.

    That is the option's own name, as CHUNKSTORE_MAX_FILE_SIZE for --max-file-size. An error in a
    value from there names the variable.
    """

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        for param in cmd.params:
            if isinstance(param, click.Option) and param.envvar is None:
                longest = max(param.opts, key=len)
                param.envvar = f"{_ENVIRONMENT}_{longest.strip('-').replace('-', '_').upper()}"
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - what a command returns
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            if error.ctx is not None and error.param is not None and error.param.name is not None:
                source = error.ctx.get_parameter_source(error.param.name)
                if source is ParameterSource.ENVIRONMENT:
                    error.param_hint = str(error.param.envvar)
            raise


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


def _parse_memory(text: str) -> int:
    size = parse_size(text)
    if size < MAX_CHUNK_SIZE:
        raise ValueError(f"it must be at least {format_size(MAX_CHUNK_SIZE)}, for one chunk")
    return size


def _parse_base_path(text: str) -> str:
    segments = text.strip("/").split("/") if text.strip("/") else []
    if any(segment in ("", ".", "..") or quote(segment) != segment for segment in segments):
        raise ValueError(f"{text!r} is not a path like /store/ of letters, digits and - . _ ~")
    return "/".join(["", *segments, ""])


def _parse_origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454 §6.2); `*` is any."""
    origin = text.lower().removesuffix("/")
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is neither an origin like https://example.org nor *")
    return origin


SIZE = Parsed("size", parse_size)
MEMORY = Parsed("size", _parse_memory)
BASE_PATH = Parsed("path", _parse_base_path)
CHUNK_SIZE = Parsed("size", lambda text: check_chunk_size(parse_size(text)))
RATE = Parsed("size", lambda text: _positive(parse_size(text)))
COMPRESSION = Parsed("compression", Compression.parse)
DURATION = Parsed("duration", parse_duration_seconds)
HOST = Parsed("host", parse_host)
ORIGIN = Parsed("origin", _parse_origin)
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

SETTINGS = {"help_option_names": ["-h", "--help"]}
