-- The queries of `list_conversion`.

-- name: create_place
CREATE TABLE IF NOT EXISTS place (
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    chunk INTEGER NOT NULL REFERENCES chunk (id),
    tie INTEGER NOT NULL,
    PRIMARY KEY (manifest, start)
) STRICT, WITHOUT ROWID;

-- name: create_place_by_chunk
CREATE INDEX IF NOT EXISTS place_by_chunk ON place (chunk);

-- name: create_manifest
CREATE TABLE IF NOT EXISTS proved_manifest (
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

-- name: drop_unsealed
-- What was converted, and is not sealed, or gone meanwhile: an older program may have run.
DELETE FROM proved_manifest
WHERE id NOT IN (SELECT id FROM manifest WHERE digest IS NOT NULL);

-- name: drop_unfinished
DELETE FROM place WHERE manifest NOT IN (SELECT id FROM proved_manifest);

-- name: manifests_to_convert
-- After `:after`; the sealed ones, or the open ones.
SELECT id, digest, size, chunk_size, created FROM manifest
WHERE id > :after AND (digest IS NOT NULL) = :sealed
  AND id NOT IN (SELECT id FROM proved_manifest)
ORDER BY id LIMIT :count;

-- name: count_manifests
SELECT count(*) FROM manifest;

-- name: old_places
SELECT manifest_chunk.seq, manifest_chunk.chunk, chunk.digest, chunk.size
FROM manifest_chunk LEFT JOIN chunk ON chunk.id = manifest_chunk.chunk
WHERE manifest_chunk.manifest = :manifest AND manifest_chunk.seq >= :seq
ORDER BY manifest_chunk.seq LIMIT :count;

-- name: add_place
INSERT INTO place (manifest, start, chunk, tie) VALUES (:manifest, :start, :chunk, :tie);

-- name: delete_places
DELETE FROM place WHERE manifest = :manifest;

-- name: add_manifest
-- Not if an equal list is there, which had another chunk size.
INSERT INTO proved_manifest
    (id, digest, size, chunk_size, chunks, list, proof, damaged, created)
VALUES (:id, :digest, :size, :chunk_size, :chunks, :list, :proof, :damaged, :created)
ON CONFLICT (list) DO NOTHING;
