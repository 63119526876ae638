-- The schema, version 1. Times are microseconds since 1970 in UTC, sizes are bytes.
-- References are foreign keys and nothing counts them: what can be derived is not stored.

-- How the store is set up: `chunk_size` of new contents.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- What is known of each chunk; a small row, so that counting and collecting read little.
-- `size` is that of the chunk, `stored_size` that of its bytes as `codec` (0: as they are) keeps
-- them. `damaged` is 1 once its bytes were found not to fit the digest, until they come again.
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    size INTEGER NOT NULL CHECK (size > 0),
    stored_size INTEGER NOT NULL,
    codec INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;

-- The bytes of each chunk. A rowid table: WITHOUT ROWID keeps large rows badly.
CREATE TABLE chunk_data (
    id INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

-- One row a content. `digest` and `size` are unknown (NULL) while the upload runs.
CREATE TABLE manifest (
    id INTEGER PRIMARY KEY,
    digest BLOB CHECK (length(digest) = 32),
    size INTEGER,
    chunk_size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (digest, chunk_size),
    CHECK ((digest IS NULL) = (size IS NULL))
) STRICT;

-- The chunks of a content, in order.
CREATE TABLE manifest_chunk (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    chunk INTEGER NOT NULL REFERENCES chunk (id),
    PRIMARY KEY (manifest, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_chunk_by_chunk ON manifest_chunk (chunk);

-- Names. TEXT compares by its UTF-8 bytes, which is the order of every list.
CREATE TABLE file (
    name TEXT PRIMARY KEY,
    manifest INTEGER NOT NULL REFERENCES manifest (id),
    media_type TEXT NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX file_by_manifest ON file (manifest);

-- Folders that were made, which exist also when empty; `name` ends in a slash.
CREATE TABLE folder (
    name TEXT PRIMARY KEY CHECK (name LIKE '%_/'),
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
