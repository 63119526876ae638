-- From schema version 3 to 4, once `list_conversion` has filled `place` and `proved_manifest`.

-- Chunk lists say at which offset a chunk begins, and prove themselves.
UPDATE file SET manifest = (
    SELECT min(proved_manifest.id)
    FROM manifest AS own
    JOIN manifest AS equal ON equal.digest = own.digest
    JOIN proved_manifest ON proved_manifest.id = equal.id
    WHERE own.id = file.manifest)
WHERE manifest IN (
    SELECT id FROM manifest WHERE id NOT IN (SELECT id FROM proved_manifest));
ALTER TABLE file ADD COLUMN proof INTEGER NOT NULL DEFAULT 0;
UPDATE file SET proof =
    coalesce((SELECT proof FROM proved_manifest WHERE proved_manifest.id = file.manifest), 0);
DROP TABLE manifest_chunk;
DROP TABLE manifest;
ALTER TABLE proved_manifest RENAME TO manifest;
CREATE INDEX manifest_damaged ON manifest (digest) WHERE damaged;

-- Concatenations join their parts at any offset now; those under way begin anew.
UPDATE upload SET received = 0, tail = x''
WHERE kind = 'concatenation' AND digest IS NULL AND failure IS NULL AND NOT whole;

-- Segments: files beside the database, each with the bytes of many chunks. The bytes that are in the
-- database stay there.
CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    condemned INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;
ALTER TABLE chunk ADD COLUMN segment INTEGER REFERENCES segment (id);
ALTER TABLE chunk ADD COLUMN segment_row INTEGER CHECK ((segment IS NULL) = (segment_row IS NULL));
CREATE INDEX chunk_by_segment ON chunk (segment, segment_row, stored_size) WHERE segment IS NOT NULL;
