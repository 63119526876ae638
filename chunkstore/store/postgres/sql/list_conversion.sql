-- The queries of `list_conversion`.

-- name: lock
-- Servers of the older version that still run write no list meanwhile.
LOCK TABLE manifest, manifest_chunk, entry IN EXCLUSIVE MODE;

-- name: create_place
CREATE TABLE place (
    manifest bigint NOT NULL,
    start bigint NOT NULL,
    size integer NOT NULL,
    digest bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, start)
);

-- name: create_damaged_list
CREATE TABLE damaged_list (
    digest bytea NOT NULL,
    manifest bigint NOT NULL,
    proof bigint NOT NULL,
    PRIMARY KEY (digest, manifest)
);

-- name: distribute_place
SELECT create_distributed_table('place', 'manifest', colocate_with => 'manifest');

-- name: distribute_damaged_list
SELECT create_distributed_table('damaged_list', 'digest', colocate_with => 'chunk');

-- name: extend_manifest
ALTER TABLE manifest
    ADD COLUMN chunks bigint,
    ADD COLUMN list bytea CHECK (octet_length(list) = 32),
    ADD COLUMN proof bigint;

-- name: extend_entry
ALTER TABLE entry
    ADD COLUMN chunks bigint,
    ADD COLUMN list bytea CHECK (octet_length(list) = 32),
    ADD COLUMN proof bigint;

-- name: count_manifests
SELECT count(*) FROM manifest;

-- name: manifests
-- Behind this id, how many at most.
SELECT id, digest, size, chunk_size FROM manifest WHERE id > $1 ORDER BY id LIMIT $2;

-- name: old_places
-- Behind this manifest and place, up to a manifest, how many at most.
SELECT manifest, seq, digest FROM manifest_chunk
WHERE (manifest, seq) > ($1, $2) AND manifest <= $3
ORDER BY manifest, seq LIMIT $4;

-- name: sizes_of_chunks
-- digests.
SELECT digest, size FROM chunk WHERE digest = ANY ($1::bytea[]);

-- name: add_places
-- manifests, starts, sizes, digests, ties.
INSERT INTO place (manifest, start, size, digest, tie)
SELECT new.manifest, new.start, new.size, new.digest, new.tie
FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bytea[], $5::bigint[])
    AS new (manifest, start, size, digest, tie);

-- name: prove_manifest
-- manifest, chunks, the list's digest, proof.
UPDATE manifest SET chunks = $2, list = $3, proof = $4 WHERE id = $1;

-- name: prove_files
-- As prove_manifest; those that point at it.
UPDATE entry SET chunks = $2, list = $3, proof = $4 WHERE manifest = $1;

-- name: mark_list
-- digest of the content, manifest, proof.
INSERT INTO damaged_list (digest, manifest, proof) VALUES ($1, $2, $3);
