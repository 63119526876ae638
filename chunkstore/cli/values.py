"""Types of values that options and arguments have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from chunkstore.core.chunkers import Chunking
from chunkstore.core.units import parse_duration_seconds


class Parsed(click.ParamType[Any]):
    """A type of option whose text `parse` turns into a value, or refuses by ValueError."""

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
            self.fail(f"{error}.", param, ctx)


def _parse_path(text: str) -> Path:
    if not text:
        raise ValueError("it is empty; give a path, such as . for the current folder")
    return Path(text)


# What the options say, and how stores and clients call it.
_CHUNKINGS: Final = {"fixed": Chunking.FIXED, "cdc": Chunking.FASTCDC, "auto": Chunking.AUTO}


def _parse_chunking(text: str) -> Chunking:
    if text not in _CHUNKINGS:
        raise ValueError(f"{text!r} is none of {', '.join(_CHUNKINGS)}")
    return _CHUNKINGS[text]


CHUNKING: Final = Parsed("chunking", _parse_chunking)
DURATION: Final = Parsed("duration", parse_duration_seconds)
PATH: Final = Parsed("path", _parse_path)
