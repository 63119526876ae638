-- From schema version 6 to 7.

-- What the files under a folder may come to.
CREATE TABLE quota (
    folder TEXT PRIMARY KEY CHECK (folder = '' OR folder LIKE '%_/'),
    max_size INTEGER,
    max_files INTEGER,
    size INTEGER NOT NULL DEFAULT 0,
    files INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What was done, and by whom.
CREATE TABLE audit (
    id INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    action TEXT NOT NULL,
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    request TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (time, id)
) STRICT, WITHOUT ROWID;
