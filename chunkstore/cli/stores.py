"""Opening stores for a command, and telling how far it is."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chunkstore.core.errors import ChunkstoreError, StoreInUse, StoreMissing, StoreUnusable
from chunkstore.store.contract.store import Store
from chunkstore.store.open import is_shared, open_store, redact_password

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


@asynccontextmanager
async def opened(
    db: str, *, read_only: bool = False, create: bool = True, in_use: str = ""
) -> AsyncIterator[Store]:
    """Open the store at `db` for the time of the context.

    `in_use` says what to do where another process has it open for writing.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    try:
        # Recovery first: a short command would only begin it, and be refused meanwhile.
        store = await open_store(db, read_only=read_only, create=create, recover=True)
    except StoreInUse as error:
        raise StoreInUse(f"{error} {in_use}".rstrip()) from error
    except StoreMissing as error:
        raise StoreMissing(f"{error} --db says where the store is.") from error
    try:
        yield store
    finally:
        await store.close()


def is_missing(db: str) -> bool:
    """Whether the store is a file that does not exist yet."""
    return not is_shared(db) and not Path(db).exists()


def is_same_store(one: str, other: str) -> bool:
    """Whether two locations are the same, or lead to the same file."""
    if is_shared(one) or is_shared(other):
        return one == other
    return Path(one).resolve() == Path(other).resolve()


@asynccontextmanager
async def opened_source(db: str) -> AsyncIterator[Store]:
    """Open a second store, to be read only, beside the one that the command is about.

    Raises:
        ChunkstoreError: it cannot be opened; the message says which store that is.
    """
    try:
        store = await open_store(db, read_only=True)
    except StoreUnusable as error:
        raise ChunkstoreError(f"cannot open {redact_password(db)}: {error}") from error
    try:
        yield store
    finally:
        await store.close()


def progress(label: str, total: int) -> ProgressBar[int]:
    """Return a progress bar for the terminal on standard error, hidden where that is none."""
    hidden = sys.stderr is None or not sys.stderr.isatty()
    return click.progressbar(length=total, label=label, file=sys.stderr, hidden=hidden)


@contextmanager
def reporting_failures() -> Iterator[list[str]]:
    """Yield a list, and print its lines on standard error when the context ends, however it does.

    They are what a command could not do while it went on. Printed at once, they would break up the
    progress bar.
    """
    failures: list[str] = []
    try:
        yield failures
    finally:
        for failure in failures:
            click.echo(failure, err=True)
