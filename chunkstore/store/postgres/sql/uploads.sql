-- The queries on uploads that outlive their request. Parameters are given by place.

-- name: add_upload
-- id, manifest, chunk size, extent, length, created, expires, kind, target, media type, conditions,
-- checks, metadata, bases, chunking, owner.
INSERT INTO upload (id, manifest, chunk_size, extent, length, created, expires, kind, target,
                    media_type, conditions, checks, metadata, bases, chunking, owner)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: add_upload_part
-- upload, place, part.
INSERT INTO upload_part (upload, seq, part) VALUES ($1, $2, $3);

-- name: find_upload
-- id. `lock` is none, FOR UPDATE, so that nobody else changes it until the transaction ends, or FOR
-- SHARE, so that nobody changes it but others may ask for the same.
SELECT id, kind, target, media_type, conditions, checks, metadata, received, length, whole, epoch,
       created, expires, tail, manifest, chunk_size, digest, known_digest, failure, new_chunks,
       new_size, extent, spared, bases, chunking, owner, used
FROM upload WHERE id = $1 {lock};

-- name: lock_upload
-- id. Until the transaction ends nobody else changes it.
SELECT 1 FROM upload WHERE id = $1 FOR UPDATE;

-- name: upload_parts
-- id.
SELECT part FROM upload_part WHERE upload = $1 ORDER BY seq;

-- name: save_upload
-- id, manifest, epoch, received, extent, length, whole, digest, expires, new chunks, new size, tail,
-- known digest, failure, chunk size, spared. All that can change of an upload.
UPDATE upload
SET manifest = $2, epoch = $3, received = $4, extent = $5, length = $6, whole = $7, digest = $8,
    expires = $9, new_chunks = $10, new_size = $11, tail = $12, known_digest = $13, failure = $14,
    chunk_size = coalesce($15, chunk_size), spared = $16
WHERE id = $1;

-- name: add_pack
-- upload, manifest.
INSERT INTO upload_pack (upload, manifest) VALUES ($1, $2);

-- name: has_pack
-- upload, manifest.
SELECT 1 FROM upload_pack WHERE upload = $1 AND manifest = $2;

-- name: packs_from
-- upload, manifest, how many at most. Its packs from that manifest on, in order.
SELECT manifest FROM upload_pack WHERE upload = $1 AND manifest >= $2 ORDER BY manifest LIMIT $3;

-- name: packs_of_uploads
-- ids.
SELECT manifest FROM upload_pack WHERE upload = ANY ($1::text[]);

-- name: forget_packs
-- upload.
DELETE FROM upload_pack WHERE upload = $1 RETURNING manifest;

-- name: unfinished
-- What all unfinished uploads come to.
SELECT coalesce(sum(size), 0)::bigint AS size, coalesce(sum(empty), 0)::bigint AS empty,
       coalesce(sum(concatenations), 0)::bigint AS concatenations
FROM unfinished;

-- name: add_unfinished
-- slot, bytes more, empty uploads more, concatenations more.
INSERT INTO unfinished (slot, size, empty, concatenations) VALUES ($1, $2, $3, $4)
ON CONFLICT (slot) DO UPDATE SET
    size = unfinished.size + excluded.size,
    empty = unfinished.empty + excluded.empty,
    concatenations = unfinished.concatenations + excluded.concatenations;

-- name: copy_references
-- manifest, the one whose references are copied: in the order in which chunks are locked.
INSERT INTO chunk_ref (digest, manifest)
SELECT digest, $1::bigint FROM chunk_ref WHERE manifest = $2 ORDER BY digest
ON CONFLICT (digest, manifest) DO NOTHING;

-- name: parents_of_part
-- part.
SELECT DISTINCT upload FROM upload_part WHERE part = $1;

-- name: unfinished_uploads
-- ids. Which of them are not complete.
SELECT id FROM upload WHERE id = ANY ($1::text[]) AND digest IS NULL ORDER BY id;

-- name: use_parts
-- ids. Returns those that counted until now.
UPDATE upload SET used = true
WHERE id = ANY ($1::text[]) AND NOT used AND digest IS NULL AND failure IS NULL
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
RETURNING manifest, kind, extent, received,
          NOT used AND digest IS NULL AND failure IS NULL AS unfinished;
