-- The queries of the SQLite store. Parameters are named; `:start` to `:stop` is a half-open range of
-- names.

-- name: find_setting
SELECT value FROM setting WHERE name = :name;

-- name: put_setting
INSERT INTO setting (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: add_setting
INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING;

-- name: setting_page
-- The first page of the table of settings.
SELECT rootpage FROM sqlite_schema WHERE name = 'setting';

-- name: find_chunk
SELECT id, damaged FROM chunk WHERE digest = :digest;

-- name: add_chunk
INSERT INTO chunk (digest, size, stored_size, codec, created)
VALUES (:digest, :size, :stored_size, :codec, :now);

-- name: repair_chunk
-- Note the new bytes of a damaged chunk.
UPDATE chunk SET stored_size = :stored_size, codec = :codec, damaged = 0 WHERE id = :id;

-- name: put_chunk_data
INSERT INTO chunk_data (id, bytes) VALUES (:id, :bytes)
ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes;

-- name: mark_chunk
-- Mark a chunk as damaged, or as whole again.
UPDATE chunk SET damaged = :damaged WHERE digest = :digest;

-- name: record_last_manifest
-- Record the greatest id that any manifest has had. To be done before one is removed.
INSERT INTO setting (name, value) SELECT 'last_manifest', coalesce(max(id), 0) FROM manifest
WHERE true
ON CONFLICT (name) DO UPDATE SET value = max(setting.value, excluded.value);

-- name: last_manifest
-- The greatest id.
SELECT coalesce(max(id), 0) FROM manifest;

-- name: add_manifest
-- Begin an upload. It may have begun already.
INSERT INTO manifest (id, chunk_size, created) VALUES (:id, :chunk_size, :now)
ON CONFLICT (id) DO NOTHING;

-- name: add_whole_manifest
-- Add the manifest of content that comes in one piece, unless equal content has one. Its upload may
-- have begun already.
INSERT INTO manifest (id, digest, size, chunk_size, created)
VALUES (:id, :digest, :size, :chunk_size, :now)
ON CONFLICT (digest, chunk_size) DO NOTHING
ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, size = excluded.size;

-- name: add_manifest_chunk
INSERT INTO manifest_chunk (manifest, seq, chunk) VALUES (:manifest, :seq, :chunk);

-- name: find_manifest
SELECT id FROM manifest WHERE digest = :digest AND chunk_size = :chunk_size;

-- name: seal_manifest
-- Seal the manifest of a complete upload, unless equal content has one. It never changes again.
UPDATE OR IGNORE manifest SET digest = :digest, size = :size WHERE id = :id;

-- name: delete_open_manifest
-- Delete the manifest of an upload that was aborted, unless it was sealed by then.
DELETE FROM manifest WHERE id = :id AND digest IS NULL;

-- name: delete_open_manifests
-- Delete those that a crashed process has left, but for those of resumable uploads.
DELETE FROM manifest
WHERE digest IS NULL
  AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.manifest = manifest.id);

-- name: read_chunks
-- The chunks at the places `:first` to `:stop` of a manifest, in order.
SELECT chunk.digest, chunk.size, chunk.codec, chunk_data.bytes
FROM manifest_chunk
JOIN chunk ON chunk.id = manifest_chunk.chunk
LEFT JOIN chunk_data ON chunk_data.id = manifest_chunk.chunk
WHERE manifest_chunk.manifest = :manifest
  AND manifest_chunk.seq >= :first AND manifest_chunk.seq < :stop
ORDER BY manifest_chunk.seq;

-- name: find_file
SELECT file.name, manifest.id AS manifest, manifest.digest, manifest.size, manifest.chunk_size,
       file.media_type, file.created, file.modified
FROM file JOIN manifest ON manifest.id = file.manifest
WHERE file.name = :name
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop);

-- name: find_file_with_chunk
-- With the chunk, if the content is a single one of at most `:inline` bytes; otherwise NULL.
SELECT file.name, manifest.id AS manifest, manifest.digest, manifest.size, manifest.chunk_size,
       file.media_type, file.created, file.modified,
       chunk.digest AS chunk_digest, chunk.codec, chunk_data.bytes
FROM file
JOIN manifest ON manifest.id = file.manifest
LEFT JOIN manifest_chunk ON manifest_chunk.manifest = manifest.id AND manifest_chunk.seq = 0
    AND manifest.size <= min(:inline, manifest.chunk_size)
LEFT JOIN chunk ON chunk.id = manifest_chunk.chunk
LEFT JOIN chunk_data ON chunk_data.id = chunk.id
WHERE file.name = :name
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop);

-- name: put_file
-- Create the name, or point it at another manifest.
INSERT INTO file (name, manifest, media_type, created, modified)
VALUES (:name, :manifest, :media_type, :created, :modified)
ON CONFLICT (name) DO UPDATE SET
    manifest = excluded.manifest, media_type = excluded.media_type,
    created = excluded.created, modified = excluded.modified;

-- name: delete_file
DELETE FROM file WHERE name = :name;

-- name: copy_file
INSERT INTO file (name, manifest, media_type, created, modified)
SELECT :target, manifest, media_type, :now, :now FROM file WHERE name = :source;

-- name: move_file
UPDATE file SET name = :target WHERE name = :source;

-- name: folder_exists
SELECT EXISTS (SELECT 1 FROM file WHERE name >= :start AND name < :stop)
    OR EXISTS (SELECT 1 FROM folder WHERE name >= :start AND name < :stop);

-- name: make_folder
INSERT INTO folder (name, created) VALUES (:name, :now);

-- name: delete_files
DELETE FROM file WHERE name >= :start AND name < :stop;

-- name: delete_folders
DELETE FROM folder WHERE name >= :start AND name < :stop;

-- name: longest_name
-- The bytes of the longest name, of a file or a folder, in a range; NULL if there is none.
SELECT max(size) FROM (
    SELECT max(length(CAST(name AS BLOB))) AS size FROM file WHERE name >= :start AND name < :stop
    UNION ALL
    SELECT max(length(CAST(name AS BLOB))) FROM folder WHERE name >= :start AND name < :stop
);

-- name: has_names
-- Whether there are more than `:count` names, of files and folders, in a range.
SELECT count(*) > :count FROM (
    SELECT 1 FROM (SELECT 1 FROM file WHERE name >= :start AND name < :stop LIMIT :count + 1)
    UNION ALL
    SELECT 1 FROM (SELECT 1 FROM folder WHERE name >= :start AND name < :stop LIMIT :count + 1)
);

-- name: measure_names
-- How many names there are in a range, and their bytes.
SELECT count(*) AS count, coalesce(sum(length(CAST(name AS BLOB))), 0) AS size FROM (
    SELECT name FROM file WHERE name >= :start AND name < :stop
    UNION ALL
    SELECT name FROM folder WHERE name >= :start AND name < :stop
);

-- name: last_of_first_names
-- The last of the first `:count` names in a range, NULL if there is none.
SELECT max(name) FROM (
    SELECT name FROM file WHERE name >= :start AND name < :stop
    UNION ALL
    SELECT name FROM folder WHERE name >= :start AND name < :stop
    ORDER BY name LIMIT :count
);

-- name: folder_changes
SELECT prefix, stop, hidden FROM folder_change ORDER BY prefix;

-- name: is_hidden
SELECT EXISTS (SELECT 1 FROM folder_change WHERE prefix = :prefix AND hidden = 1);

-- name: put_folder_change
INSERT INTO folder_change (prefix, stop, hidden) VALUES (:start, :stop, :hidden)
ON CONFLICT (prefix) DO UPDATE SET hidden = excluded.hidden;

-- name: delete_folder_change
DELETE FROM folder_change WHERE prefix = :prefix;

-- name: copy_files
-- `:skip` is the place, counted from 1, of the first character after the old prefix. Times are kept
-- if `:now` is NULL.
INSERT INTO file (name, manifest, media_type, created, modified)
SELECT :target || substr(name, :skip), manifest, media_type,
       coalesce(:now, created), coalesce(:now, modified)
FROM file WHERE name >= :start AND name < :stop;

-- name: copy_folders
INSERT INTO folder (name, created)
SELECT :target || substr(name, :skip), coalesce(:now, created)
FROM folder WHERE name >= :start AND name < :stop;

-- name: move_files
UPDATE file SET name = :target || substr(name, :skip) WHERE name >= :start AND name < :stop;

-- name: move_folders
UPDATE folder SET name = :target || substr(name, :skip) WHERE name >= :start AND name < :stop;

-- name: list_names
-- Files and folders in one order; a folder has no manifest. The caller stops when it has enough, so
-- only rows that are read cost.
SELECT file.name AS name, manifest.id AS manifest, manifest.digest, manifest.size, manifest.chunk_size,
       file.media_type, file.created, file.modified
FROM file CROSS JOIN manifest ON manifest.id = file.manifest
WHERE file.name >= :start AND file.name < :stop
UNION ALL
SELECT folder.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM folder
WHERE folder.name >= :start AND folder.name < :stop
ORDER BY name;

-- name: count_files
-- Without hidden ones; `contents` counts different content.
SELECT count(*) AS files, coalesce(sum(manifest.size), 0) AS logical_size,
       count(DISTINCT manifest.id) AS contents
FROM file JOIN manifest ON manifest.id = file.manifest
WHERE NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop);

-- name: count_chunks
SELECT count(*) AS chunks, coalesce(sum(size), 0) AS unique_size,
       coalesce(sum(stored_size), 0) AS stored_size, coalesce(sum(damaged), 0) AS damaged
FROM chunk;

-- name: unused_manifests
-- Manifests that no file points at, of ids after `:after` up to `:last`, and older than `:grace`.
SELECT id FROM manifest
WHERE id > :after AND id <= :last AND digest IS NOT NULL AND abs(:now - created) >= :grace
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id);

-- name: condemn_manifest
-- From here on no upload of the same content finds it, so that it can be removed in several steps.
UPDATE manifest SET digest = NULL, size = NULL
WHERE id = :id AND NOT EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id);

-- name: open_manifests
-- Those of uploads, running or abandoned, that are not resumable, and condemned ones.
SELECT id FROM manifest
WHERE digest IS NULL
  AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.manifest = manifest.id);

-- name: shorten_open_manifest
-- Remove the last places, at most `:most`, of an open manifest.
DELETE FROM manifest_chunk
WHERE manifest = (SELECT id FROM manifest WHERE id = :id AND digest IS NULL)
  AND seq > (SELECT max(seq) FROM manifest_chunk WHERE manifest = :id) - :most;

-- name: shorten_manifest
-- Remove the places from `:first` on.
DELETE FROM manifest_chunk WHERE manifest = :id AND seq >= :first;

-- name: unused_chunks
-- Chunks that no manifest refers to; ids and ages as in unused_manifests.
SELECT id, stored_size FROM chunk
WHERE id > :after AND id <= :last AND abs(:now - created) >= :grace
  AND NOT EXISTS (SELECT 1 FROM manifest_chunk WHERE manifest_chunk.chunk = chunk.id);

-- name: unneeded_chunks
-- The sizes of chunks that neither a file nor an upload needs; ids as in unused_manifests.
SELECT coalesce(sum(size), 0) AS size, coalesce(sum(stored_size), 0) AS stored_size FROM chunk
WHERE id > :after AND id <= :last
  AND NOT EXISTS (
    SELECT 1 FROM manifest_chunk JOIN manifest ON manifest.id = manifest_chunk.manifest
    WHERE manifest_chunk.chunk = chunk.id
      AND (manifest.digest IS NULL
           OR EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id)));

-- name: collectable_chunks
-- As unused_chunks, with those that only manifests refer to which a collection would remove.
SELECT id, stored_size FROM chunk
WHERE id > :after AND id <= :last AND abs(:now - created) >= :grace
  AND NOT EXISTS (
    SELECT 1 FROM manifest_chunk JOIN manifest ON manifest.id = manifest_chunk.manifest
    WHERE manifest_chunk.chunk = chunk.id
      AND (manifest.digest IS NULL
             AND NOT EXISTS (SELECT 1 FROM upload
                             WHERE upload.manifest = manifest.id AND upload.expires <= :now)
           OR manifest.digest IS NOT NULL AND abs(:now - manifest.created) < :grace
           OR EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id)));

-- name: delete_unused_chunk
DELETE FROM chunk
WHERE id = :id
  AND NOT EXISTS (SELECT 1 FROM manifest_chunk WHERE manifest_chunk.chunk = chunk.id);

-- name: last_chunk
SELECT coalesce(max(id), 0) FROM chunk;

-- name: chunks_to_scrub
-- After `:after` in order of their ids; the caller stops when it has enough.
SELECT chunk.id, chunk.stored_size, chunk.damaged,
       chunk.digest, chunk.size, chunk.codec, chunk_data.bytes
FROM chunk LEFT JOIN chunk_data ON chunk_data.id = chunk.id
WHERE chunk.id > :after
ORDER BY chunk.id;

-- name: files_with_chunk
SELECT DISTINCT file.name
FROM manifest_chunk JOIN file ON file.manifest = manifest_chunk.manifest
WHERE manifest_chunk.chunk = :id
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: files_of_manifest
SELECT file.name FROM file
WHERE file.manifest = :id
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: broken_manifests
-- Manifests whose places or bytes are not as many as they should be.
SELECT id, digest FROM (
    SELECT manifest.id, manifest.digest, manifest.size, manifest.chunk_size,
           count(manifest_chunk.seq) AS places, coalesce(max(manifest_chunk.seq) + 1, 0) AS length,
           coalesce(sum(chunk.size), 0) AS bytes
    FROM manifest
    LEFT JOIN manifest_chunk ON manifest_chunk.manifest = manifest.id
    LEFT JOIN chunk ON chunk.id = manifest_chunk.chunk
    WHERE manifest.id > :after AND manifest.id <= :last AND manifest.digest IS NOT NULL
    GROUP BY manifest.id
)
WHERE bytes != size OR places != length OR places != (size + chunk_size - 1) / chunk_size;
