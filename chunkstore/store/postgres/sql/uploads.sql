-- The queries on uploads that outlive their request. Parameters are given by place.

-- name: add_upload
-- id, manifest, chunk size, length, now, expires, kind, target, media type, conditions, checks,
-- metadata.
INSERT INTO upload (id, manifest, chunk_size, extent, length, created, expires, kind, target,
                    media_type, conditions, checks, metadata)
VALUES ($1, $2, $3::integer, $3::integer, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: add_upload_part
-- upload, place, part.
INSERT INTO upload_part (upload, seq, part) VALUES ($1, $2, $3);

-- name: find_upload
-- id.
SELECT id, kind, target, media_type, conditions, checks, metadata, received, length, whole, epoch,
       created, expires, tail, manifest, chunk_size, digest, known_digest, failure, new_chunks,
       new_size, extent, used
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
-- id. What was not confirmed is to be removed.
UPDATE upload SET epoch = epoch + 1, extent = greatest(received, chunk_size) WHERE id = $1;

-- name: renew_upload
-- id, epoch, expires.
UPDATE upload SET expires = greatest(expires, $3) WHERE id = $1 AND epoch = $2;

-- name: extend_upload
-- id, extent, new chunks, new size. Note what an append has put into the store.
UPDATE upload SET extent = $2, new_chunks = new_chunks + $3, new_size = new_size + $4
WHERE id = $1;

-- name: confirm_upload
-- id, received, tail, length, whole, expires. What is confirmed never gets less.
UPDATE upload
SET received = greatest(received, $2), extent = greatest(extent, $2), tail = $3,
    length = coalesce($4, length), whole = $5, expires = greatest(expires, $6)
WHERE id = $1;

-- name: unfinished
-- What all unfinished uploads come to.
SELECT coalesce(sum(size), 0)::bigint, coalesce(sum(empty), 0)::bigint,
       coalesce(sum(concatenations), 0)::bigint
FROM unfinished;

-- name: add_unfinished
-- slot, bytes more, empty uploads more, concatenations more.
INSERT INTO unfinished (slot, size, empty, concatenations) VALUES ($1, $2, $3, $4)
ON CONFLICT (slot) DO UPDATE SET
    size = unfinished.size + excluded.size,
    empty = unfinished.empty + excluded.empty,
    concatenations = unfinished.concatenations + excluded.concatenations;

-- name: note_digest
-- id, digest.
UPDATE upload SET known_digest = $2 WHERE id = $1 AND whole AND digest IS NULL;

-- name: fail_upload
-- id, failure, empty manifest. Its bytes are given up.
UPDATE upload SET failure = $2, manifest = $3, tail = '', extent = 0 WHERE id = $1;

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
-- ids. What they counted for until now.
UPDATE upload SET used = true
WHERE id = ANY ($1::text[]) AND NOT used AND failure IS NULL
RETURNING kind, extent, received;

-- name: delete_upload
-- id.
DELETE FROM upload WHERE id = $1;

-- name: expired_uploads
-- now.
SELECT id, manifest FROM upload WHERE expires <= $1 ORDER BY expires;

-- name: delete_expired_upload
-- id, now. It may have got more time, or be gone, since it was found.
DELETE FROM upload WHERE id = $1 AND expires <= $2
RETURNING manifest, kind, extent, received, used, digest, failure;
