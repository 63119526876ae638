-- From schema version 4 to 5.

-- Uploads may be sent chunks in packs, and refer to chunks that the store has.
ALTER TABLE upload ADD COLUMN spared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN bases TEXT NOT NULL DEFAULT '[]';
ALTER TABLE upload ADD COLUMN chunking TEXT NOT NULL DEFAULT 'fixed';
CREATE TABLE upload_pack (
    manifest INTEGER PRIMARY KEY REFERENCES manifest (id),
    upload TEXT NOT NULL REFERENCES upload (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX upload_pack_by_upload ON upload_pack (upload, manifest);

-- Chunk lists have chaining values, from which the digest of content is computed.
CREATE TABLE subtree (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    chaining_values BLOB NOT NULL,
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, start)
) STRICT, WITHOUT ROWID;
