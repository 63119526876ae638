"""What options of several commands that open a store have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import click

from chunkstore.cli.program import Option
from chunkstore.cli.values import CHUNKING, DURATION, Parsed
from chunkstore.store.open import is_shared


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
        metavar="fixed|cdc|auto",
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
