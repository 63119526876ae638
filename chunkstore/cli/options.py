"""What options of several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from chunkstore.cli.program import Option
from chunkstore.core.chunkers import Chunking
from chunkstore.core.units import parse_duration_seconds
from chunkstore.store.open import is_shared


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


def _parse_location(text: str) -> str:
    if not text:
        raise ValueError("it is empty; give a path or a postgresql:// URL")
    try:
        urlsplit(text)
    except ValueError as error:
        if is_shared(text):
            # Without the URL, which may have a password.
            raise ValueError("it is not a URL like postgresql://USER@HOST/DATABASE") from error
    return text


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
LOCATION: Final = Parsed("store", _parse_location)


def db_option(*, section: str = "Options") -> Callable[[Any], Any]:
    """Return the option that says where the store is."""
    return click.option(
        "--db",
        cls=Option,
        section=section,
        default="chunkstore.db",
        type=LOCATION,
        metavar="PATH|URL",
        help="The store: the path of an SQLite database, or postgresql://USER@HOST/DATABASE.",
    )


def chunking_option(*, section: str = "Options") -> Callable[[Any], Any]:
    """Return the option that says how new files are cut into chunks."""
    return click.option(
        "--chunking",
        cls=Option,
        section=section,
        type=CHUNKING,
        default="fixed",
        metavar="|".join(_CHUNKINGS),
        help="How to cut new files into chunks. fixed suits what is changed in place; cdc finds"
        " again what was shifted; auto is cdc for tar, stored zip and SQL dumps, and for what"
        " replaces a file that was cut so.",
    )


def grace_option(*, section: str = "Options") -> Callable[[Any], Any]:
    """Return the option that says what is too young to be collected."""
    return click.option(
        "--grace",
        "grace_seconds",
        cls=Option,
        section=section,
        type=DURATION,
        default="1h",
        help="Minimum age before unused data is removed.",
    )
