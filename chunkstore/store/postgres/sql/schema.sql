-- The schema, version 9, with setting.sql, partitions.sql (or distribution.sql), references.sql and
-- functions.sql.
-- Times are microseconds since 1970 in UTC, sizes are bytes.
--
-- It also fits databases that spread tables over machines, as Citus does: every table has one
-- column that says where its rows lie (`digest`, a manifest's id, `path`, an upload's id), and
-- foreign keys and joins only lead to rows with the same value of it. So an entry repeats what its
-- manifest says, which never changes, and `chunk_ref` says on the chunks' side what `place` says on
-- the manifests'.

-- What is known of each chunk. `size` is that of the chunk, `stored_size` that of its bytes as
-- `codec` (0: as they are) keeps them. `damaged` until bytes come that fit the digest again.
CREATE TABLE chunk (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    size integer NOT NULL CHECK (size > 0),
    stored_size integer NOT NULL,
    codec smallint NOT NULL,
    damaged boolean NOT NULL DEFAULT false,
    created bigint NOT NULL
) PARTITION BY HASH (digest);

-- The bytes of each chunk, which PostgreSQL is not to compress.
CREATE TABLE chunk_data (
    digest bytea PRIMARY KEY,
    bytes bytea NOT NULL
) PARTITION BY HASH (digest);
ALTER TABLE chunk_data ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Which manifests need a chunk. While there is a row, the chunk stays.
CREATE TABLE chunk_ref (
    digest bytea NOT NULL,
    manifest bigint NOT NULL,
    PRIMARY KEY (digest, manifest)
) PARTITION BY HASH (digest);
CREATE INDEX chunk_ref_by_manifest ON chunk_ref (manifest);

-- One row for each file content that was put. Until it is whole only `chunk_size` is known, the most
-- bytes that a chunk has, and `server` is the one that receives it, NULL for a resumable upload and its packs. Then
-- `chunks` are in the list, `list` is the list's own digest, and `proof` binds all columns before it to
-- each other. `condemned` is when it was found that nothing needs it and nothing ever will. Ids are
-- random.
CREATE TABLE manifest (
    id bigint PRIMARY KEY,
    digest bytea CHECK (octet_length(digest) = 32),
    size bigint,
    chunk_size integer NOT NULL,
    chunks bigint,
    list bytea CHECK (octet_length(list) = 32),
    proof bigint,
    server text,
    created bigint NOT NULL,
    condemned bigint,
    CHECK ((digest IS NULL) = (list IS NULL))
);
CREATE INDEX manifest_by_condemnation ON manifest (condemned) WHERE condemned IS NOT NULL;
CREATE INDEX manifest_by_server ON manifest (server) WHERE server IS NOT NULL;

-- The places of chunks in a list: at which offset a chunk begins, and its size. `tie` binds both and
-- the chunk's digest to the manifest.
CREATE TABLE place (
    manifest bigint NOT NULL,
    start bigint NOT NULL,
    size integer NOT NULL,
    digest bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, start)
);

-- Manifests whose lists were found damaged, by the digest of the content, until that is put again.
-- `proof` is the manifest's, which the files have that point at it. A table of its own, because each
-- content that is put is looked for here.
CREATE TABLE damaged_list (
    digest bytea NOT NULL,
    manifest bigint NOT NULL,
    proof bigint NOT NULL,
    PRIMARY KEY (digest, manifest)
);

-- The tree of names: files, and folders by their path without a slash at its end. A folder has no
-- manifest. One that was not `made` exists only while a file or a made one lies below it; its row
-- is what those lock who need it to be a folder, and may outlast it. `name` is what lists show and
-- are ordered by. `properties` are those that clients keep with it, as JSON, NULL for none. `modified`
-- NULL of a folder is `created`.
CREATE TABLE entry (
    path text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        CASE WHEN manifest IS NULL THEN path || '/' ELSE path END
    ) STORED,
    made boolean NOT NULL DEFAULT false,
    manifest bigint,
    digest bytea CHECK (octet_length(digest) = 32),
    size bigint,
    chunk_size integer,
    chunks bigint,
    list bytea CHECK (octet_length(list) = 32),
    proof bigint,
    media_type text,
    created bigint,
    modified bigint,
    properties bytea
);
CREATE INDEX entry_by_name ON entry (name) WHERE manifest IS NOT NULL OR made;
CREATE INDEX entry_by_manifest ON entry (manifest) WHERE manifest IS NOT NULL;

-- Folders that may exist no more since a name under them went, so that collections look at these
-- only. A row for each time, so that nobody waits for another to have noted the same.
CREATE TABLE vacated (
    path text COLLATE "C" NOT NULL,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (path, mark)
);

-- Uploads that outlive their request. `received` bytes are confirmed; the last of them, too few
-- for a chunk, are `tail`. `extent` bytes are in the store, also such as are not confirmed; less
-- than a chunk counts for one. `length` is NULL until it is known, `target` for a part. A complete
-- upload has no manifest any more, but the `digest` of the file. `used` for a part that a file
-- was made of. `known_digest` is that of a whole upload that has been read, `failure` why it can
-- never become a file; then its manifest is empty. By `spared` bytes less is in the store than is
-- confirmed: chunks that were only referred to count for their places, packs for what they brought.
-- `chunking` names how the content is cut, `owner` whose the upload is. Conditions, checks, failure and bases are JSON.
CREATE TABLE upload (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('file', 'part', 'concatenation')),
    manifest bigint,
    chunk_size integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    received bigint NOT NULL DEFAULT 0,
    extent bigint NOT NULL DEFAULT 0,
    length bigint,
    whole boolean NOT NULL DEFAULT false,
    used boolean NOT NULL DEFAULT false,
    digest bytea CHECK (octet_length(digest) = 32),
    created bigint NOT NULL,
    expires bigint NOT NULL,
    new_chunks bigint NOT NULL DEFAULT 0,
    new_size bigint NOT NULL DEFAULT 0,
    target text,
    media_type text NOT NULL,
    conditions text NOT NULL,
    checks text NOT NULL,
    metadata text NOT NULL,
    tail bytea NOT NULL DEFAULT '',
    known_digest bytea CHECK (octet_length(known_digest) = 32),
    failure text,
    spared bigint NOT NULL DEFAULT 0,
    bases text NOT NULL DEFAULT '[]',
    chunking text NOT NULL DEFAULT 'fixed',
    owner text NOT NULL DEFAULT '',
    CHECK ((digest IS NULL) = (manifest IS NOT NULL))
);
ALTER TABLE upload ALTER COLUMN tail SET STORAGE EXTERNAL;
CREATE INDEX upload_by_expiry ON upload (expires);

-- The parts that a concatenation is made of, in order.
CREATE TABLE upload_part (
    upload text NOT NULL,
    seq integer NOT NULL,
    part text NOT NULL,
    PRIMARY KEY (upload, seq)
);
CREATE INDEX upload_part_by_part ON upload_part (part);

-- The packs of an upload: open manifests that keep the chunks which it was sent, to be referred to by
-- its list, until it is complete or failed.
CREATE TABLE upload_pack (
    upload text NOT NULL,
    manifest bigint NOT NULL,
    PRIMARY KEY (upload, manifest)
);

-- BLAKE3 chaining values of chunks of a list, 32 bytes each, in pages from the chunk on that begins at
-- `start`. `tie` binds a page to the manifest and the offset.
CREATE TABLE subtree (
    manifest bigint NOT NULL,
    start bigint NOT NULL,
    chaining_values bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, start)
);
ALTER TABLE subtree ALTER COLUMN chaining_values SET STORAGE EXTERNAL;

-- Checksums of contents by other algorithms than the store's own, named as in Python's hashlib. `tie` binds
-- one to the manifest and the algorithm.
CREATE TABLE checksum (
    manifest bigint NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, algorithm)
);

-- Records: accounts, groups, rules, tokens and the like. `owner` is what those of a kind are listed by,
-- `value` is JSON, `revision` is random and another one after each change.
CREATE TABLE record (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    value text NOT NULL,
    revision bigint NOT NULL,
    expires bigint,
    PRIMARY KEY (kind, key)
);
CREATE INDEX record_by_owner ON record (kind, owner, key);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

-- Quotas: what the files under a folder may come to, NULL for without bound, and what they do. Each
-- transaction that changes names adds what it changes, and `counted` says how often all was counted: until
-- the first time, `size` and `files` are only what has changed meanwhile. The root folder's name is empty.
CREATE TABLE quota (
    folder text COLLATE "C" PRIMARY KEY CHECK (folder = '' OR folder LIKE '%_/'),
    max_size bigint,
    max_files bigint,
    size bigint NOT NULL DEFAULT 0,
    files bigint NOT NULL DEFAULT 0,
    counted bigint NOT NULL DEFAULT 0
);

-- The audit log: what was done, who did it and how they signed in, the name that it was done to, and the
-- address and the id of the request. `detail` is JSON. Ids are random.
CREATE TABLE audit (
    id bigint PRIMARY KEY,
    time bigint NOT NULL,
    actor text NOT NULL,
    via text NOT NULL,
    action text NOT NULL,
    name text COLLATE "C" NOT NULL,
    address text NOT NULL,
    request text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX audit_by_time ON audit (time, id);

-- Write locks. `root` is a path without a slash at its end. One that `is_deep` covers all below it too.
-- `owner` is XML, `principal` is who took it, `seconds` what it is given each time. One that has expired
-- is none.
CREATE TABLE lock (
    token text COLLATE "C" PRIMARY KEY,
    root text COLLATE "C" NOT NULL,
    is_folder boolean NOT NULL,
    is_deep boolean NOT NULL,
    is_exclusive boolean NOT NULL,
    owner text NOT NULL,
    principal text NOT NULL,
    seconds integer NOT NULL,
    expires bigint NOT NULL
);
CREATE INDEX lock_by_root ON lock (root);
CREATE INDEX lock_by_expiry ON lock (expires);

-- What all unfinished uploads come to, as the sum of all rows. Each transaction that changes it adds
-- to a row that it picks at random, so that they seldom wait for each other.
CREATE TABLE unfinished (
    slot smallint PRIMARY KEY,
    size bigint NOT NULL,
    empty bigint NOT NULL,
    concatenations bigint NOT NULL
);

-- The servers that have the store open. `beat` is when one last said that it lives. Of the manifests
-- that were condemned before `seen` its downloads have pinned no others than `held`.
CREATE TABLE server (
    id text PRIMARY KEY,
    beat bigint NOT NULL,
    seen bigint NOT NULL,
    held bigint[] NOT NULL
);

-- Writes that took effect, or never will, so that one whose answer was lost is not made twice. Of a
-- file that was put at once: whether it replaced one, when it was created, and its new chunks.
CREATE TABLE receipt (
    id uuid PRIMARY KEY,
    created bigint NOT NULL,
    replaced boolean,
    file_created bigint,
    stored bytea[]
);
CREATE INDEX receipt_by_creation ON receipt (created);
