-- The schema, version 9. Times are microseconds since 1970 in UTC, sizes are bytes.
-- References are foreign keys and are not counted: what can be derived is not stored.

-- The settings: `id`, random; `chunk_size` of new content; `backup_of`, the id of the store that this
-- one is a backup of, until a name is changed in it; `scrub`, the report of the last scrub, as JSON;
-- `opening`, the random id of the last session of writing; `records`, the revision of the records; and
-- `root`, what is kept with the root folder.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- What is known of each chunk; a small row, so that counting and collecting read little.
-- `size` is that of the chunk, `stored_size` that of its bytes as encoded by `codec` (0: as they
-- are). `damaged` is 1 from when its bytes were found not to have the digest until they come again.
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    size INTEGER NOT NULL CHECK (size > 0),
    stored_size INTEGER NOT NULL,
    codec INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
, segment INTEGER REFERENCES segment (id), segment_row INTEGER CHECK ((segment IS NULL) = (segment_row IS NULL))) STRICT;

-- The bytes of each chunk that is in no segment. A rowid table, because WITHOUT ROWID tables are slow
-- with large rows.
CREATE TABLE chunk_data (
    id INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

-- The segments: files beside the database, each with the bytes of many chunks. `size` is that of all
-- that were written to it, as stored. `condemned` is 1 from when no chunk is in it any more until its
-- file is removed.
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    condemned INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX chunk_by_segment ON chunk (segment, segment_row, stored_size) WHERE segment IS NOT NULL;

-- The manifest of each file content. While it is open, because its upload runs or it is condemned,
-- only `chunk_size` is known, the most bytes that a chunk has. Of a sealed one `chunks` are in the
-- list, `list` is the list's own digest, by which equal ones are found, and `proof` binds all
-- columns before it to each other. `damaged` is 1 from when the list was found not to have its digest.
CREATE TABLE "manifest" (
    id INTEGER PRIMARY KEY,
    digest BLOB CHECK (length(digest) = 32),
    size INTEGER,
    chunk_size INTEGER NOT NULL,
    chunks INTEGER,
    list BLOB UNIQUE CHECK (length(list) = 32),
    proof INTEGER,
    damaged INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    CHECK ((digest IS NULL) = (list IS NULL))
) STRICT;
CREATE INDEX manifest_damaged ON manifest (digest) WHERE damaged;

-- The places of chunks in a list: at which offset a chunk begins. `tie` binds the chunk's digest and
-- size to the manifest and the offset.
CREATE TABLE place (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    chunk INTEGER NOT NULL REFERENCES chunk (id),
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, start)
) STRICT, WITHOUT ROWID;
CREATE INDEX place_by_chunk ON place (chunk);

-- Names. TEXT compares by its UTF-8 bytes, which is the order of every list. `proof` is that of the
-- manifest, `properties` are those that clients keep with the name, as JSON, NULL for none.
CREATE TABLE file (
    name TEXT PRIMARY KEY,
    manifest INTEGER NOT NULL REFERENCES manifest (id),
    media_type TEXT NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
, proof INTEGER NOT NULL DEFAULT 0, properties BLOB) STRICT, WITHOUT ROWID;
CREATE INDEX file_by_manifest ON file (manifest);

-- Folders that were made, which exist also if empty; `name` ends in a slash. `modified` NULL is
-- `created`; `properties` are as those of a file.
CREATE TABLE folder (
    name TEXT PRIMARY KEY CHECK (name LIKE '%_/'),
    created INTEGER NOT NULL
, modified INTEGER, properties BLOB) STRICT, WITHOUT ROWID;

-- Folders that are being copied, moved or removed in steps, for more names lie under them than one
-- transaction should touch. Those from `prefix` up to `stop` cannot change meanwhile; where `hidden`
-- is 1, nobody sees them: they are not there yet, or not any more.
CREATE TABLE folder_change (
    prefix TEXT PRIMARY KEY,
    stop ANY NOT NULL,
    hidden INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Uploads that outlive their request. `received` bytes are confirmed; the last of them, too few
-- for a chunk, are `tail`. `extent` bytes are in the store, also such as are not confirmed; less
-- than a chunk counts for one. `length` is NULL until it is known, `target` for a part. A complete
-- upload has no manifest any more, but the `digest` of its content. `used` is 1 for a part that a
-- file was made of. `known_digest` is that of a whole content that has been read, `failure` why it
-- can never become a file; then its manifest is empty. By `spared` bytes less is in the store than is
-- confirmed: chunks that were only referred to count for their places, packs for what they brought.
-- `chunking` names how the content is cut, `owner` whose the upload is. Conditions, checks, failure and bases are JSON.
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
    tail BLOB NOT NULL DEFAULT x'', known_digest BLOB CHECK (length(known_digest) = 32), failure TEXT, unfinished INTEGER AS (digest IS NULL AND failure IS NULL AND NOT used), spared INTEGER NOT NULL DEFAULT 0, bases TEXT NOT NULL DEFAULT '[]', chunking TEXT NOT NULL DEFAULT 'fixed', owner TEXT NOT NULL DEFAULT '',
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

-- The packs of an upload: open manifests that keep the chunks which it was sent, to be referred to by
-- its list, until it is complete or failed.
CREATE TABLE upload_pack (
    manifest INTEGER PRIMARY KEY REFERENCES manifest (id),
    upload TEXT NOT NULL REFERENCES upload (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX upload_pack_by_upload ON upload_pack (upload, manifest);

-- BLAKE3 chaining values of chunks of a list, 32 bytes each, in pages from the chunk on that begins at
-- `start`. `tie` binds a page to the manifest and the offset.
CREATE TABLE subtree (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    chaining_values BLOB NOT NULL,
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, start)
) STRICT, WITHOUT ROWID;

-- Checksums of contents by other algorithms than the store's own, named as in Python's hashlib. `tie` binds
-- one to the manifest and the algorithm.
CREATE TABLE checksum (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    algorithm TEXT NOT NULL,
    value BLOB NOT NULL,
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, algorithm)
) STRICT, WITHOUT ROWID;

-- Records: accounts, groups, rules, tokens and the like. `owner` is what those of a kind are listed by,
-- `value` is JSON, `revision` is random and another one after each change.
CREATE TABLE record (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_owner ON record (kind, owner, key);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

-- Quotas: what the files under a folder may come to, NULL for without bound, and what they do. Each
-- transaction that changes names adds what it changes, and `counted` says how often all was counted: until
-- the first time, `size` and `files` are only what has changed meanwhile. The root folder's name is empty.
CREATE TABLE quota (
    folder TEXT PRIMARY KEY CHECK (folder = '' OR folder LIKE '%_/'),
    max_size INTEGER,
    max_files INTEGER,
    size INTEGER NOT NULL DEFAULT 0,
    files INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The audit log: what was done, who did it and how they signed in, the name that it was done to, and the
-- address and the id of the request. `detail` is JSON. Ids are random.
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

-- Write locks. `root` is a path without a slash at its end. One that `is_deep` covers all below it too.
-- `owner` is XML, `principal` is who took it, `seconds` what it is given each time. One that has expired
-- is none.
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

-- What all unfinished uploads come to: one row, which the triggers below keep.
CREATE TABLE unfinished (
    size INTEGER NOT NULL,
    empty INTEGER NOT NULL,
    concatenations INTEGER NOT NULL
) STRICT;
INSERT INTO unfinished VALUES (0, 0, 0);
CREATE TRIGGER unfinished_more AFTER INSERT ON upload WHEN NEW.unfinished BEGIN
    UPDATE unfinished SET
        size = size + (NEW.kind != 'concatenation') * NEW.extent,
        empty = empty + (NEW.kind != 'concatenation' AND NEW.received = 0),
        concatenations = concatenations + (NEW.kind = 'concatenation');
END;
CREATE TRIGGER unfinished_less AFTER DELETE ON upload WHEN OLD.unfinished BEGIN
    UPDATE unfinished SET
        size = size - (OLD.kind != 'concatenation') * OLD.extent,
        empty = empty - (OLD.kind != 'concatenation' AND OLD.received = 0),
        concatenations = concatenations - (OLD.kind = 'concatenation');
END;
CREATE TRIGGER unfinished_changed AFTER UPDATE ON upload
WHEN (OLD.unfinished, OLD.extent, OLD.received) != (NEW.unfinished, NEW.extent, NEW.received) BEGIN
    UPDATE unfinished SET
        size = size + (NEW.kind != 'concatenation')
            * (NEW.unfinished * NEW.extent - OLD.unfinished * OLD.extent),
        empty = empty + (NEW.kind != 'concatenation')
            * (NEW.unfinished * (NEW.received = 0) - OLD.unfinished * (OLD.received = 0)),
        concatenations = concatenations
            + (NEW.kind = 'concatenation') * (NEW.unfinished - OLD.unfinished);
END;
