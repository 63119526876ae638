-- The queries on uploads that outlive their request. Parameters are named.

-- name: add_upload
INSERT INTO upload (id, kind, manifest, length, created, expires,
                    target, media_type, conditions, checks, metadata)
VALUES (:id, :kind, :manifest, :length, :now, :expires,
        :target, :media_type, :conditions, :checks, :metadata);

-- name: add_upload_part
INSERT INTO upload_part (upload, seq, part) VALUES (:upload, :seq, :part);

-- name: find_upload
SELECT upload.id, upload.kind, upload.target, upload.media_type, upload.conditions,
       upload.checks, upload.metadata, upload.received, upload.length, upload.whole,
       upload.epoch, upload.created, upload.expires, upload.tail, upload.manifest,
       manifest.chunk_size, upload.digest, upload.new_chunks, upload.new_size
FROM upload LEFT JOIN manifest ON manifest.id = upload.manifest
WHERE upload.id = :id;

-- name: upload_parts
SELECT part FROM upload_part WHERE upload = :id ORDER BY seq;

-- name: acquire_upload
UPDATE upload SET epoch = epoch + 1, extent = received WHERE id = :id;

-- name: extend_upload
-- Note what an append has put into the store.
UPDATE upload
SET extent = :extent, new_chunks = new_chunks + :new_chunks, new_size = new_size + :new_size
WHERE id = :id;

-- name: confirm_upload
-- What is confirmed never gets less.
UPDATE upload
SET received = max(received, :received), extent = max(extent, :received), tail = :tail,
    length = coalesce(:length, length), whole = :whole, expires = :expires
WHERE id = :id;

-- name: unfinished_extent
-- What the unfinished uploads other than `:id` have in the store, each at least `:least` bytes.
-- The bytes of a concatenation are those of its parts.
SELECT coalesce(sum(max(extent, :least)), 0) FROM upload
WHERE digest IS NULL AND used = 0 AND kind != 'concatenation' AND id != :id;

-- name: copy_chunk_list
-- Append the first `:count` places of one chunk list to another that has `:length` places.
INSERT INTO manifest_chunk (manifest, seq, chunk)
SELECT :manifest, seq + :length, chunk FROM manifest_chunk
WHERE manifest = :source AND seq < :count;

-- name: uploads_awaiting
SELECT DISTINCT upload.id FROM upload_part JOIN upload ON upload.id = upload_part.upload
WHERE upload_part.part = :part AND upload.digest IS NULL;

-- name: complete_upload
UPDATE upload SET digest = :digest, manifest = NULL, tail = x'', expires = :expires
WHERE id = :id;

-- name: use_parts
UPDATE upload SET used = 1 WHERE id IN (SELECT part FROM upload_part WHERE upload = :id);

-- name: delete_upload
DELETE FROM upload WHERE id = :id;

-- name: expired_uploads
SELECT id, manifest FROM upload WHERE expires <= :now ORDER BY expires;

-- name: delete_expired_upload
-- It may have got more time, or be gone, since it was found.
DELETE FROM upload WHERE id = :id AND expires <= :now RETURNING manifest;
