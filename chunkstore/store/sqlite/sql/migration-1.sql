-- From schema version 1 to 2: uploads that outlive their request.

-- Uploads that outlive their request. `received` bytes are confirmed; the last of them, too few
-- for a chunk, are `tail`. `extent` bytes are in the store, also such as are not confirmed.
-- `length` is NULL until it is known, `target` for a part. A complete upload has no manifest any
-- more, but the `digest` of its content. `used` is 1 for a part that a file was made of.
-- Conditions and checks are JSON.
CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('file', 'part', 'concatenation')),
    manifest INTEGER REFERENCES manifest (id),
    epoch INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    extent INTEGER NOT NULL DEFAULT 0,
    length INTEGER,
    whole INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0,
    digest BLOB CHECK (length(digest) = 32),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    new_chunks INTEGER NOT NULL DEFAULT 0,
    new_size INTEGER NOT NULL DEFAULT 0,
    target TEXT,
    media_type TEXT NOT NULL,
    conditions TEXT NOT NULL,
    checks TEXT NOT NULL,
    metadata TEXT NOT NULL,
    tail BLOB NOT NULL DEFAULT x'',
    CHECK ((digest IS NULL) = (manifest IS NOT NULL))
) STRICT;
CREATE INDEX upload_by_manifest ON upload (manifest);
CREATE INDEX upload_by_expiry ON upload (expires);

-- The parts that a concatenation is made of, in order.
CREATE TABLE upload_part (
    upload TEXT NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    part TEXT NOT NULL,
    PRIMARY KEY (upload, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_part_by_part ON upload_part (part);
