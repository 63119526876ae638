-- From schema version 2 to 3.

-- Folders that are being copied, moved or removed in steps, for more names lie under them than one
-- transaction should touch. Those from `prefix` up to `stop` cannot change meanwhile; where `hidden`
-- is 1, nobody sees them: they are not there yet, or not any more.
CREATE TABLE folder_change (
    prefix TEXT PRIMARY KEY,
    stop ANY NOT NULL,
    hidden INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
