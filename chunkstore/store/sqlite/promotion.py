"""A backup in which a name is changed becomes a store of its own.

Or the next backup to it would undo that change. Triggers see to it, so that it is in the change's
own transaction, whatever makes the change. They are of the writing connection of a store that is a
backup: in any other store they do not exist, and the backup itself, which changes names too,
removes them from its connection.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Final

from chunkstore.store.shared.queries import load_script
from chunkstore.store.sqlite.rows import QUERIES
from chunkstore.store.sqlite.schema import PACKAGE

_CREATE_TRIGGERS: Final = load_script(PACKAGE, "promotion.sql")
_TRIGGERS: Final = tuple(
    f"promote_by_{change}_{what}"
    for change in ("new", "changed", "deleted")
    for what in ("file", "folder", "folder_change")
)

_logger = logging.getLogger(__name__)


class Promotion:
    """Watches over the names of the store at `path`, if it is a backup."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False

    def prepare(self, db: sqlite3.Connection) -> None:
        """Have the first change of a name, made by `db`, make the store nobody's backup."""
        if _is_backup(db):
            db.create_function("note_name_change", 0, self._note)
            db.executescript(_CREATE_TRIGGERS)

    def _note(self) -> None:
        self._changed = True

    def settle(self, db: sqlite3.Connection) -> None:
        """Log what the transaction came to that has just ended."""
        if not self._changed:
            return
        self._changed = False
        # It may have been rolled back.
        if not _is_backup(db):
            forbid_promotion(db)
            _logger.warning(
                "%s is a store of its own from now on: a name was changed in it, so backups to it"
                " are refused. Let the store that it was a backup of have another place for them.",
                self._path,
            )


def forbid_promotion(db: sqlite3.Connection) -> None:
    """Let what `db` changes in the names make no difference."""
    for trigger in _TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS temp.{trigger}")


def _is_backup(db: sqlite3.Connection) -> bool:
    return db.execute(QUERIES["find_setting"], {"name": "backup_of"}).fetchone() is not None
