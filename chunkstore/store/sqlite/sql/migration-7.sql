-- From schema version 7 to 8.

-- What clients keep with a name, and when a folder was changed.
ALTER TABLE file ADD COLUMN properties BLOB;
ALTER TABLE folder ADD COLUMN modified INTEGER;
ALTER TABLE folder ADD COLUMN properties BLOB;

-- Write locks.
CREATE TABLE lock (
    token TEXT PRIMARY KEY,
    root TEXT NOT NULL,
    is_folder INTEGER NOT NULL,
    is_deep INTEGER NOT NULL,
    is_exclusive INTEGER NOT NULL,
    owner TEXT NOT NULL,
    principal TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lock_by_root ON lock (root);
CREATE INDEX lock_by_expiry ON lock (expires);
