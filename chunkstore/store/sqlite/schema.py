"""Creating, recognising and migrating the database."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from chunkstore.core.errors import NewerSchema, NotAStore, StoreUnusable
from chunkstore.store.shared.queries import load_script
from chunkstore.store.sqlite.engine.connection import prepare_new_database, translated_errors
from chunkstore.store.sqlite.list_conversion import convert_lists

_logger = logging.getLogger(__name__)

PACKAGE: Final = "chunkstore.store.sqlite"
APPLICATION_ID: Final = 0x43686E6B  # "Chnk", in the database's header
SCHEMA_VERSION: Final = 9
# For each version, the statements that migrate it to the next one.
MIGRATIONS: Final[Mapping[int, str]] = {
    version: load_script(PACKAGE, f"migration-{version}.sql")
    for version in range(1, SCHEMA_VERSION)
}
# What goes before these statements, in transactions of its own; interrupted, it goes on.
_PREPARATIONS: Final[Mapping[int, Callable[[sqlite3.Connection], None]]] = {3: convert_lists}


def check(db: sqlite3.Connection) -> int:
    """Return the schema version of the database, 0 for an empty one.

    Raises:
        NotAStore: it belongs to another program.
        NewerSchema: a newer program has written it.
    """
    application_id = _pragma(db, "application_id")
    version = _pragma(db, "user_version")
    if application_id == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise NewerSchema(
                f"Its schema has version {version} and this program knows {SCHEMA_VERSION};"
                " a newer chunkstore is needed to open it."
            )
        return version
    if application_id or version or _pragma(db, "schema_version"):
        raise NotAStore("It is an SQLite database of another program.")
    return 0


def check_access(path: Path, mode: int) -> None:
    """Check that this process may access the database at `path`, if there is one.

    `mode` is os.R_OK or os.R_OK | os.W_OK.

    Raises:
        StoreUnusable: it may not.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise StoreUnusable(f"Its folder cannot be entered ({error.strerror}).") from error
    except OSError:
        return
    if not os.access(path, mode):
        verb = "written" if os.access(path, os.R_OK) else "read"
        raise StoreUnusable(
            f"It cannot be {verb} by this user (Permission denied); be the one that the server"
            " runs as."
        )


def recognise(path: Path) -> None:
    """Check the database at `path`, if there is one, without leaving a file beside it.

    One with a log is not checked, because it cannot be read without that.

    Raises:
        NotAStore, NewerSchema: as `check`.
    """
    if path.is_dir():
        raise NotAStore("It is a folder.")
    if not path.exists() or path.with_name(f"{path.name}-wal").exists():
        return
    with translated_errors():
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            check(db)


def prepare(
    db: sqlite3.Connection,
    *,
    target: int = SCHEMA_VERSION,
    migrations: Mapping[int, str] = MIGRATIONS,
) -> None:
    """Migrate the database to schema `target`, version by version, and switch it to WAL mode.

    Raises:
        NotAStore, NewerSchema: as `check`.
    """
    version = check(db)
    if version == 0:
        prepare_new_database(db)
    db.execute("PRAGMA journal_mode = WAL")
    if version == target:
        return
    if version == 0:
        _run(db, load_script(PACKAGE, "schema.sql"), target)
        return
    with _relaxed(db):
        for step in range(version, target):
            if step in _PREPARATIONS:
                _PREPARATIONS[step](db)
            _run(db, migrations[step], step + 1)
    path = db.execute("PRAGMA database_list").fetchone()[2]
    _logger.warning("%s was migrated from schema version %d to %d.", path, version, target)


def _run(db: sqlite3.Connection, script: str, version: int) -> None:
    """Run a script in one transaction, after which the schema has this version."""
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}"
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{script};\n{pragmas};\nCOMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def _relaxed(db: sqlite3.Connection) -> Iterator[None]:
    """Allow within the context that a table takes another's place (https://sqlite.org/lang_altertable.html)."""
    pragmas = ("PRAGMA foreign_keys = {}", "PRAGMA legacy_alter_table = {}")
    for pragma, value in zip(pragmas, ("OFF", "ON"), strict=True):
        db.execute(pragma.format(value))
    try:
        yield
    finally:
        for pragma, value in zip(pragmas, ("ON", "OFF"), strict=True):
            db.execute(pragma.format(value))


def _pragma(db: sqlite3.Connection, name: str) -> int:
    row = db.execute(f"PRAGMA {name}").fetchone()
    return int(row[0])
