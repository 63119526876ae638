-- The queries on uploads that outlive their request. Parameters are given by place.

-- name: add_upload
-- id, manifest, chunk size, length, now, expires, kind, target, media type, conditions, checks,
-- metadata.
INSERT INTO upload (id, manifest, chunk_size, length, created, expires, kind, target, media_type,
                    conditions, checks, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: add_upload_part
-- upload, place, part.
INSERT INTO upload_part (upload, seq, part) VALUES ($1, $2, $3);

-- name: find_upload
-- id.
SELECT id, kind, target, media_type, conditions, checks, metadata, received, length, whole, epoch,
       created, expires, tail, manifest, chunk_size, digest, new_chunks, new_size
FROM upload WHERE id = $1;

-- name: lock_upload
-- id. Until the transaction ends nobody else changes it.
SELECT 1 FROM upload WHERE id = $1 FOR UPDATE;

-- name: keep_upload
-- id. Until the transaction ends nobody removes it.
SELECT 1 FROM upload WHERE id = $1 FOR SHARE;

-- name: upload_parts
-- id.
SELECT part FROM upload_part WHERE upload = $1 ORDER BY seq;

-- name: acquire_upload
-- id.
UPDATE upload SET epoch = epoch + 1, extent = received WHERE id = $1;

-- name: extend_upload
-- id, extent, new chunks, new size. Note what an append has put into the store.
UPDATE upload SET extent = $2, new_chunks = new_chunks + $3, new_size = new_size + $4
WHERE id = $1;

-- name: confirm_upload
-- id, received, tail, length, whole, expires. What is confirmed never gets less.
UPDATE upload
SET received = greatest(received, $2), extent = greatest(extent, $2), tail = $3,
    length = coalesce($4, length), whole = $5, expires = $6
WHERE id = $1;

-- name: unfinished_extent
-- id, the least that each counts for. What the others have in the store that are not finished. The
-- bytes of a concatenation are those of its parts.
SELECT coalesce(sum(greatest(extent, $2)), 0)::bigint FROM upload
WHERE digest IS NULL AND NOT used AND kind <> 'concatenation' AND id <> $1;

-- name: copy_references
-- manifest, the one whose references are copied.
INSERT INTO chunk_ref (digest, manifest)
SELECT digest, $1::bigint FROM chunk_ref WHERE manifest = $2
ON CONFLICT (digest, manifest) DO NOTHING;

-- name: copy_places
-- manifest, how many places it has, the one whose places are copied, how many of them.
INSERT INTO manifest_chunk (manifest, seq, digest)
SELECT $1::bigint, seq + $2::bigint, digest FROM manifest_chunk WHERE manifest = $3 AND seq < $4
ON CONFLICT (manifest, seq) DO NOTHING;

-- name: parents_of_part
-- part.
SELECT DISTINCT upload FROM upload_part WHERE part = $1;

-- name: unfinished_uploads
-- ids. Which of them are not complete.
SELECT id FROM upload WHERE id = ANY ($1::text[]) AND digest IS NULL ORDER BY id;

-- name: complete_upload
-- id, digest, expires.
UPDATE upload SET digest = $2, manifest = NULL, tail = '', expires = $3 WHERE id = $1;

-- name: use_parts
-- ids.
UPDATE upload SET used = true WHERE id = ANY ($1::text[]);

-- name: delete_upload
-- id.
DELETE FROM upload WHERE id = $1;

-- name: expired_uploads
-- now.
SELECT id, manifest FROM upload WHERE expires <= $1 ORDER BY expires;

-- name: delete_expired_upload
-- id, now. It may have got more time, or be gone, since it was found.
DELETE FROM upload WHERE id = $1 AND expires <= $2 RETURNING manifest;
