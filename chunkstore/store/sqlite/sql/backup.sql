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
    SELECT 1 FROM source.place JOIN source.file ON file.manifest = place.manifest
    WHERE place.chunk = theirs.id)
ORDER BY id;

-- name: source_chunk
SELECT chunk.digest, chunk.size, chunk.codec, chunk.segment, chunk.segment_row, chunk_data.bytes,
       chunk.stored_size, chunk.created
FROM source.chunk LEFT JOIN source.chunk_data ON chunk_data.id = chunk.id
WHERE chunk.id = :id;

-- name: source_files_with_chunk
SELECT DISTINCT file.name
FROM source.place JOIN source.file ON file.manifest = place.manifest
WHERE place.chunk = :id
  AND NOT EXISTS (SELECT 1 FROM source.folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: put_copied_chunk
INSERT INTO chunk (digest, size, stored_size, codec, damaged, created, segment, segment_row)
VALUES (:digest, :size, :stored_size, :codec, :damaged, :created, :segment, :segment_row)
ON CONFLICT (digest) DO UPDATE SET
    stored_size = excluded.stored_size, codec = excluded.codec, damaged = excluded.damaged,
    segment = excluded.segment, segment_row = excluded.segment_row
RETURNING id;

-- name: lacking_chunk
-- A chunk that a file of the source needs and that is missing here.
SELECT 1 FROM source.chunk AS theirs
WHERE NOT EXISTS (SELECT 1 FROM main.chunk AS ours WHERE ours.digest = theirs.digest)
  AND EXISTS (
    SELECT 1 FROM source.place JOIN source.file ON file.manifest = place.manifest
    WHERE place.chunk = theirs.id)
LIMIT 1;

-- name: delete_unlike_files
DELETE FROM main.file WHERE NOT EXISTS (
    SELECT 1
    FROM source.file AS theirs
    JOIN source.manifest AS their_content
      ON their_content.id = theirs.manifest AND their_content.proof = theirs.proof
    JOIN main.manifest AS ours
      ON ours.list = their_content.list AND ours.digest = their_content.digest
    WHERE theirs.name = main.file.name
      AND ours.id = main.file.manifest AND ours.proof = main.file.proof AND NOT ours.damaged
      AND theirs.media_type = main.file.media_type
      AND theirs.created = main.file.created AND theirs.modified = main.file.modified
      AND theirs.properties IS main.file.properties);

-- name: delete_unlike_folders
DELETE FROM main.folder
WHERE NOT EXISTS (
    SELECT 1 FROM source.folder AS theirs
    WHERE theirs.name = main.folder.name AND theirs.created = main.folder.created
      AND theirs.modified IS main.folder.modified
      AND theirs.properties IS main.folder.properties);

-- name: lacking_manifests
-- Manifests of the source's files that are missing here, or damaged.
SELECT id FROM source.manifest AS theirs
WHERE digest IS NOT NULL
  AND EXISTS (SELECT 1 FROM source.file WHERE file.manifest = theirs.id)
  AND NOT EXISTS (
    SELECT 1 FROM main.manifest AS ours
    WHERE ours.list = theirs.list AND ours.digest = theirs.digest AND NOT ours.damaged)
ORDER BY id;

-- name: source_manifest
SELECT id, digest, size, chunk_size, chunks, list, proof, created
FROM source.manifest WHERE id = :id AND digest IS NOT NULL;

-- name: give_up_list
-- No file points at it any more.
UPDATE main.manifest SET digest = NULL, size = NULL, chunks = NULL, list = NULL, proof = NULL
WHERE list = :list;

-- name: next_manifest
SELECT 1 + max(
    coalesce((SELECT max(id) FROM main.manifest), 0),
    coalesce((SELECT value FROM main.setting WHERE name = 'last_manifest'), 0));

-- name: put_copied_manifest
INSERT INTO main.manifest (id, digest, size, chunk_size, chunks, list, proof, created)
VALUES (:id, :digest, :size, :chunk_size, :chunks, :list, :proof, :created);

-- name: delete_manifest
DELETE FROM main.manifest WHERE id = :id;

-- name: source_places
-- As read_places, with the ids that the chunks have here.
SELECT place.start, ours.id AS chunk, place.tie, theirs.digest, theirs.size
FROM source.place
LEFT JOIN source.chunk AS theirs ON theirs.id = place.chunk
LEFT JOIN main.chunk AS ours ON ours.digest = theirs.digest
WHERE place.manifest = :manifest AND place.start >= :start
ORDER BY place.start LIMIT :count;

-- name: source_files_of_manifest
SELECT file.name FROM source.file
WHERE file.manifest = :id
  AND NOT EXISTS (SELECT 1 FROM source.folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: damaged_source_names
SELECT file.name FROM source.file LEFT JOIN source.manifest ON manifest.id = file.manifest
WHERE manifest.proof IS NOT file.proof;

-- name: delete_folder_changes
DELETE FROM main.folder_change;

-- name: copy_folder_changes
-- The copy has changes of large folders as a crash leaves them, and the next start ends them.
INSERT INTO main.folder_change (prefix, stop, hidden)
SELECT prefix, stop, hidden FROM source.folder_change;

-- name: copy_source_files
-- The proof of one that is damaged there fits nothing here either.
INSERT INTO main.file (name, manifest, proof, media_type, created, modified, properties)
SELECT theirs.name, ours.id,
       CASE WHEN theirs.proof = their_content.proof THEN ours.proof ELSE 0 END,
       theirs.media_type, theirs.created, theirs.modified, theirs.properties
FROM source.file AS theirs
JOIN source.manifest AS their_content ON their_content.id = theirs.manifest
JOIN main.manifest AS ours
  ON ours.list = their_content.list AND ours.digest = their_content.digest
WHERE NOT EXISTS (SELECT 1 FROM main.file AS ours WHERE ours.name = theirs.name);

-- name: copy_source_folders
INSERT INTO main.folder (name, created, modified, properties)
SELECT name, created, modified, properties FROM source.folder AS theirs
WHERE NOT EXISTS (SELECT 1 FROM main.folder AS ours WHERE ours.name = theirs.name);

-- name: delete_root
DELETE FROM main.setting WHERE name = 'root';

-- name: copy_source_root
INSERT INTO main.setting (name, value) SELECT name, value FROM source.setting WHERE name = 'root';

-- name: delete_records
DELETE FROM main.record;

-- name: copy_source_records
INSERT INTO main.record (kind, key, owner, value, revision, expires)
SELECT kind, key, owner, value, revision, expires FROM source.record;

-- name: delete_quotas
DELETE FROM main.quota;

-- name: copy_source_quotas
-- What is used is what the names come to that are copied with them.
INSERT INTO main.quota (folder, max_size, max_files, size, files, counted)
SELECT folder, max_size, max_files, size, files, counted FROM source.quota;

-- name: delete_old_audit
-- Entries that are kept no more there either.
DELETE FROM main.audit WHERE time < (SELECT coalesce(min(time), 0) FROM source.audit);

-- name: copy_source_audit
INSERT INTO main.audit (id, time, actor, via, action, name, address, request, detail)
SELECT id, time, actor, via, action, name, address, request, detail FROM source.audit WHERE true
ON CONFLICT (time, id) DO NOTHING;
