-- The queries on uploads that outlive their request. Parameters are named.

-- name: add_upload
INSERT INTO upload (id, kind, manifest, extent, length, created, expires,
                    target, media_type, conditions, checks, metadata, bases, chunking, owner)
VALUES (:id, :kind, :manifest, :extent, :length, :created, :expires,
        :target, :media_type, :conditions, :checks, :metadata, :bases, :chunking, :owner);

-- name: add_upload_part
INSERT INTO upload_part (upload, seq, part) VALUES (:upload, :seq, :part);

-- name: find_upload
SELECT upload.id, upload.kind, upload.target, upload.media_type, upload.conditions,
       upload.checks, upload.metadata, upload.received, upload.length, upload.whole,
       upload.epoch, upload.created, upload.expires, upload.tail, upload.manifest,
       manifest.chunk_size, upload.digest, upload.known_digest, upload.failure,
       upload.new_chunks, upload.new_size, upload.extent, upload.spared, upload.bases,
       upload.chunking, upload.owner, upload.used
FROM upload LEFT JOIN manifest ON manifest.id = upload.manifest
WHERE upload.id = :id;

-- name: upload_parts
SELECT part FROM upload_part WHERE upload = :id ORDER BY seq;

-- name: save_upload
-- All that can change of an upload.
UPDATE upload
SET manifest = :manifest, epoch = :epoch, received = :received, extent = :extent,
    spared = :spared, length = :length, whole = :whole, digest = :digest, expires = :expires,
    new_chunks = :new_chunks, new_size = :new_size, tail = :tail,
    known_digest = :known_digest, failure = :failure
WHERE id = :id;

-- name: unfinished
-- What all unfinished uploads come to.
SELECT size, empty, concatenations FROM unfinished;

-- name: add_pack
INSERT INTO upload_pack (manifest, upload) VALUES (:manifest, :upload);

-- name: forget_packs
-- Their manifests are as good as condemned.
DELETE FROM upload_pack WHERE upload = :upload;

-- name: packs_from
-- At most `:count` packs of an upload from the manifest `:manifest` on, in order.
SELECT manifest FROM upload_pack WHERE upload = :upload AND manifest >= :manifest
ORDER BY manifest LIMIT :count;

-- name: digests_of_pack
-- The chunks from the offset `:start` on, at most `:count`.
SELECT place.start, chunk.digest FROM place JOIN chunk ON chunk.id = place.chunk
WHERE place.manifest = :manifest AND place.start >= :start
ORDER BY place.start LIMIT :count;

-- name: uploads_awaiting
SELECT DISTINCT upload.id FROM upload_part JOIN upload ON upload.id = upload_part.upload
WHERE upload_part.part = :part AND upload.digest IS NULL;

-- name: use_parts
UPDATE upload SET used = 1 WHERE id IN (SELECT part FROM upload_part WHERE upload = :id);

-- name: delete_upload
DELETE FROM upload WHERE id = :id;

-- name: expired_uploads
SELECT id, manifest FROM upload WHERE expires <= :now ORDER BY expires;

-- name: expired_packs
SELECT upload_pack.manifest FROM upload_pack JOIN upload ON upload.id = upload_pack.upload
WHERE upload.expires <= :now;

-- name: delete_expired_upload
-- It may have got more time, or be gone, since it was found.
DELETE FROM upload WHERE id = :id AND expires <= :now;
