-- The queries of a backup: `source` is the database that is copied, attached read-only.

-- name: source_setting
SELECT value FROM source.setting WHERE name = :name;

-- name: any_name
SELECT 1 FROM file UNION ALL SELECT 1 FROM folder LIMIT 1;

-- name: last_source_chunk
SELECT coalesce(max(id), 0) FROM source.chunk;

-- name: missing_chunks
-- Chunks that a file of the source needs and that are missing here, or damaged here and whole there.
-- Others would be collected here at once, and copied again by the next backup.
SELECT id, stored_size FROM source.chunk AS theirs
WHERE id > :after AND id <= :stop
  AND NOT EXISTS (
    SELECT 1 FROM main.chunk AS ours
    WHERE ours.digest = theirs.digest AND ours.damaged <= theirs.damaged)
  AND EXISTS (
    SELECT 1 FROM source.manifest_chunk JOIN source.file
      ON file.manifest = manifest_chunk.manifest
    WHERE manifest_chunk.chunk = theirs.id)
ORDER BY id;

-- name: source_chunk
SELECT chunk.digest, chunk.size, chunk.codec, chunk_data.bytes, chunk.stored_size, chunk.created
FROM source.chunk LEFT JOIN source.chunk_data ON chunk_data.id = chunk.id
WHERE chunk.id = :id;

-- name: source_files_with_chunk
SELECT DISTINCT file.name
FROM source.manifest_chunk JOIN source.file ON file.manifest = manifest_chunk.manifest
WHERE manifest_chunk.chunk = :id
  AND NOT EXISTS (SELECT 1 FROM source.folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: put_copied_chunk
INSERT INTO chunk (digest, size, stored_size, codec, damaged, created)
VALUES (:digest, :size, :stored_size, :codec, :damaged, :created)
ON CONFLICT (digest) DO UPDATE SET
    stored_size = excluded.stored_size, codec = excluded.codec, damaged = excluded.damaged
RETURNING id;

-- name: lacking_chunk
-- A chunk that a file of the source needs and that is missing here.
SELECT 1 FROM source.chunk AS theirs
WHERE NOT EXISTS (SELECT 1 FROM main.chunk AS ours WHERE ours.digest = theirs.digest)
  AND EXISTS (
    SELECT 1 FROM source.manifest_chunk JOIN source.file
      ON file.manifest = manifest_chunk.manifest
    WHERE manifest_chunk.chunk = theirs.id)
LIMIT 1;

-- name: delete_unlike_files
DELETE FROM main.file WHERE NOT EXISTS (
    SELECT 1
    FROM source.file AS theirs
    JOIN source.manifest AS their_content ON their_content.id = theirs.manifest
    JOIN main.manifest AS ours
      ON ours.digest = their_content.digest AND ours.chunk_size = their_content.chunk_size
    WHERE theirs.name = main.file.name AND ours.id = main.file.manifest
      AND theirs.media_type = main.file.media_type
      AND theirs.created = main.file.created AND theirs.modified = main.file.modified);

-- name: delete_unlike_folders
DELETE FROM main.folder
WHERE NOT EXISTS (SELECT 1 FROM source.folder AS theirs WHERE theirs.name = main.folder.name);

-- name: copy_manifests
-- With ids after `:last`, by which copy_manifest_chunks finds them.
INSERT INTO main.manifest (digest, size, chunk_size, created)
SELECT digest, size, chunk_size, created FROM source.manifest AS theirs
WHERE digest IS NOT NULL
  AND EXISTS (SELECT 1 FROM source.file WHERE file.manifest = theirs.id)
  AND NOT EXISTS (
    SELECT 1 FROM main.manifest AS ours
    WHERE ours.digest = theirs.digest AND ours.chunk_size = theirs.chunk_size);

-- name: copy_manifest_chunks
INSERT INTO main.manifest_chunk (manifest, seq, chunk)
SELECT ours.id, places.seq, our_chunk.id
FROM main.manifest AS ours
JOIN source.manifest AS theirs
  ON theirs.digest = ours.digest AND theirs.chunk_size = ours.chunk_size
JOIN source.manifest_chunk AS places ON places.manifest = theirs.id
JOIN source.chunk AS their_chunk ON their_chunk.id = places.chunk
JOIN main.chunk AS our_chunk ON our_chunk.digest = their_chunk.digest
WHERE ours.id > :last;

-- name: delete_folder_changes
DELETE FROM main.folder_change;

-- name: copy_folder_changes
-- The copy has changes of large folders as a crash leaves them, and the next start ends them.
INSERT INTO main.folder_change (prefix, stop, hidden)
SELECT prefix, stop, hidden FROM source.folder_change;

-- name: copy_source_files
INSERT INTO main.file (name, manifest, media_type, created, modified)
SELECT theirs.name, ours.id, theirs.media_type, theirs.created, theirs.modified
FROM source.file AS theirs
JOIN source.manifest AS their_content ON their_content.id = theirs.manifest
JOIN main.manifest AS ours
  ON ours.digest = their_content.digest AND ours.chunk_size = their_content.chunk_size
WHERE NOT EXISTS (SELECT 1 FROM main.file AS ours WHERE ours.name = theirs.name);

-- name: copy_source_folders
INSERT INTO main.folder (name, created)
SELECT name, created FROM source.folder AS theirs
WHERE NOT EXISTS (SELECT 1 FROM main.folder AS ours WHERE ours.name = theirs.name);
