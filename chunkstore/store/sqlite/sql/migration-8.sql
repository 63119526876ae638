-- From schema version 8 to 9.

-- Contents have checksums for clients that know files by these.
CREATE TABLE checksum (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    algorithm TEXT NOT NULL,
    value BLOB NOT NULL,
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, algorithm)
) STRICT, WITHOUT ROWID;
