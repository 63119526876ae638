"""Promotion: a backup in which a name is changed becomes a store of its own.

Otherwise the next backup to it would undo that change. Triggers promote it in the transaction of
the change, whatever makes the change. They exist only on the writing connection of a store that is
a backup. A backup to the store, which changes names too, drops them on its own connection.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Final

from chunkstore.store.shared.queries import load_queries
from chunkstore.store.sqlite.rows import fetch_value
from chunkstore.store.sqlite.schema import PACKAGE

_TEMPLATES: Final = load_queries(PACKAGE, "promotion.sql")
# The statement that creates each trigger, by its name.
_TRIGGERS: Final = {
    **{
        f"promote_on_{event}_{table}": _TEMPLATES["changed_name"].format(
            event=event, table=table, row=row
        )
        for table in ("file", "folder")
        for event, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD"))
    },
    **{
        f"promote_on_{event}_{table}": _TEMPLATES[template].format(event=event)
        for table, template in (("setting", "changed_root"), ("folder_change", "hidden_folder"))
        for event in ("insert", "update")
    },
}

_logger = logging.getLogger(__name__)


class Promotion:
    """Promotes the store at `path` at the first change of a name, if it is a backup."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name_changed = False

    def create_triggers(self, db: sqlite3.Connection) -> None:
        """Have the first change that `db` makes to a name promote the store."""
        if _is_backup(db):
            db.create_function("note_name_change", 0, self._note_name_change)
            for statement in _TRIGGERS.values():
                db.execute(statement)

    def _note_name_change(self) -> None:
        self._name_changed = True

    def after_transaction(self, db: sqlite3.Connection) -> None:
        """Log it if the transaction that has just ended promoted the store."""
        if not self._name_changed:
            return
        self._name_changed = False
        # The change may have been rolled back.
        if not _is_backup(db):
            forbid_promotion(db)
            _logger.warning(
                "%s is a store of its own from now on: a name was changed in it, so backups to it"
                " are refused. Let the store that it was a backup of have another place for them.",
                self._path,
            )


def forbid_promotion(db: sqlite3.Connection) -> None:
    """Drop the triggers, so that changes that `db` makes to names promote nothing."""
    for trigger in _TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS temp.{trigger}")


def _is_backup(db: sqlite3.Connection) -> bool:
    return fetch_value(db, "find_setting", name="backup_of") is not None
