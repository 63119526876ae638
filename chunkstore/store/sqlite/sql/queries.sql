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
SELECT id, size, damaged FROM chunk WHERE digest = :digest;

-- name: find_chunks
-- Those whose digests, of 32 bytes each, stand end to end in `:digests`, of which there is one.
WITH RECURSIVE wanted (at) AS (
    SELECT 1 UNION ALL SELECT at + 32 FROM wanted WHERE at + 32 < length(:digests)
)
SELECT chunk.digest, chunk.id, chunk.size, chunk.damaged
FROM wanted CROSS JOIN chunk ON chunk.digest = substr(:digests, at, 32);

-- name: add_chunk
INSERT INTO chunk (digest, size, stored_size, codec, created, segment, segment_row)
VALUES (:digest, :size, :stored_size, :codec, :now, :segment, :segment_row);

-- name: repair_chunk
-- Note the new bytes of a damaged chunk.
UPDATE chunk SET size = :size, stored_size = :stored_size, codec = :codec, damaged = 0,
    segment = :segment, segment_row = :segment_row
WHERE id = :id;

-- name: put_chunk_data
INSERT INTO chunk_data (id, bytes) VALUES (:id, :bytes)
ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes;

-- name: delete_chunk_data
-- The bytes of a chunk that is in a segment now.
DELETE FROM chunk_data WHERE id = :id;

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
-- Add the manifest of content that comes in one piece, unless an equal list has one. Its upload may
-- have begun already.
INSERT INTO manifest (id, digest, size, chunk_size, chunks, list, proof, created)
VALUES (:id, :digest, :size, :chunk_size, :chunks, :list, :proof, :now)
ON CONFLICT (list) DO NOTHING
ON CONFLICT (id) DO UPDATE SET
    digest = excluded.digest, size = excluded.size, chunk_size = excluded.chunk_size,
    chunks = excluded.chunks, list = excluded.list, proof = excluded.proof;

-- name: add_place
INSERT INTO place (manifest, start, chunk, tie) VALUES (:manifest, :start, :chunk, :tie);

-- name: set_chunk_size
-- What is joined to an open manifest, or was known, may have larger chunks.
UPDATE manifest SET chunk_size = :chunk_size WHERE id = :id;

-- name: find_manifest
SELECT id, digest, size, chunk_size, chunks, list, proof, damaged FROM manifest WHERE list = :list;

-- name: damaged_manifests
-- Those of this content.
SELECT id, proof FROM manifest WHERE digest = :digest AND damaged;

-- name: mark_manifest
-- Mark a manifest as damaged, or as whole again.
UPDATE manifest SET damaged = :damaged WHERE id = :id;

-- name: manifest_mark
SELECT damaged FROM manifest WHERE id = :id;

-- name: chunk_mark
SELECT damaged FROM chunk WHERE digest = :digest;

-- name: repoint_files
-- Have the files of one manifest, which had `:old_proof`, point at another.
UPDATE file SET manifest = :manifest, proof = :proof WHERE manifest = :old AND proof = :old_proof;

-- name: give_up_manifest
-- A damaged manifest becomes an open one, whose list nobody finds.
UPDATE manifest SET digest = NULL, size = NULL, chunks = NULL, list = NULL, proof = NULL
WHERE id = :id;

-- name: delete_open_manifest
-- Delete the manifest of an upload that was aborted, unless it was sealed or held by then.
DELETE FROM manifest
WHERE id = :id AND digest IS NULL
  AND NOT EXISTS (SELECT 1 FROM upload_pack WHERE upload_pack.manifest = manifest.id);

-- name: delete_open_manifests
-- Delete those that a crashed process has left, but for those of resumable uploads.
DELETE FROM manifest
WHERE digest IS NULL
  AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.manifest = manifest.id)
  AND NOT EXISTS (SELECT 1 FROM upload_pack WHERE upload_pack.manifest = manifest.id)
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id);

-- name: read_chunks
-- The chunks that hold the bytes `:start` to `:stop` of a manifest, in order. All but the first end
-- at `:limit` at the latest. They are at most `:count`.
SELECT place.start, place.tie, chunk.digest, chunk.size, chunk.codec, chunk.segment,
       chunk.segment_row, chunk_data.bytes
FROM place
CROSS JOIN chunk ON chunk.id = place.chunk
LEFT JOIN chunk_data ON chunk_data.id = place.chunk
WHERE place.manifest = :manifest AND place.start < :stop
  AND place.start >= (SELECT max(start) FROM place WHERE manifest = :manifest AND start <= :start)
  AND (place.start <= :start OR place.start + chunk.size <= :limit)
ORDER BY place.start LIMIT :count;

-- name: places_at
-- At most `:count` places from the one on that holds the offset `:start`, in order.
SELECT place.start, place.tie, chunk.digest, chunk.size
FROM place CROSS JOIN chunk ON chunk.id = place.chunk
WHERE place.manifest = :manifest
  AND place.start >= (SELECT max(start) FROM place WHERE manifest = :manifest AND start <= :start)
ORDER BY place.start LIMIT :count;

-- name: read_places
-- At most `:count` places from the offset `:start` on, in order.
SELECT place.start, place.chunk, place.tie, chunk.digest, chunk.size
FROM place LEFT JOIN chunk ON chunk.id = place.chunk
WHERE place.manifest = :manifest AND place.start >= :start
ORDER BY place.start LIMIT :count;

-- name: find_file
SELECT file.name, file.manifest, manifest.digest, manifest.size, manifest.chunk_size,
       manifest.chunks, manifest.list, file.proof, file.media_type, file.created, file.modified
FROM file LEFT JOIN manifest ON manifest.id = file.manifest
WHERE file.name = :name
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop);

-- name: find_file_with_chunk
-- With the chunk, if the content is a single one of at most `:inline` bytes; otherwise NULL.
SELECT file.name, file.manifest, manifest.digest, manifest.size, manifest.chunk_size,
       manifest.chunks, manifest.list, file.proof, file.media_type, file.created, file.modified,
       chunk.digest AS chunk_digest, chunk.codec, chunk_data.bytes
FROM file
LEFT JOIN manifest ON manifest.id = file.manifest
LEFT JOIN place ON place.manifest = manifest.id AND place.start = 0
    AND manifest.chunks = 1 AND manifest.size <= :inline
LEFT JOIN chunk ON chunk.id = place.chunk
LEFT JOIN chunk_data ON chunk_data.id = chunk.id
WHERE file.name = :name
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop);

-- name: put_file
-- Create the name, or point it at another manifest.
INSERT INTO file (name, manifest, proof, media_type, created, modified, properties)
VALUES (:name, :manifest, :proof, :media_type, :created, :modified, NULL)
ON CONFLICT (name) DO UPDATE SET
    manifest = excluded.manifest, proof = excluded.proof, media_type = excluded.media_type,
    created = excluded.created, modified = excluded.modified, properties = file.properties;

-- name: delete_file
DELETE FROM file WHERE name = :name;

-- name: copy_file
INSERT INTO file (name, manifest, proof, media_type, created, modified, properties)
SELECT :target, manifest, proof, media_type, :now, coalesce(:modified, :now), properties
FROM file WHERE name = :source;

-- name: move_file
UPDATE file SET name = :target, modified = coalesce(:modified, modified) WHERE name = :source;

-- name: folder_exists
SELECT EXISTS (SELECT 1 FROM file WHERE name >= :start AND name < :stop)
    OR EXISTS (SELECT 1 FROM folder WHERE name >= :start AND name < :stop);

-- name: make_folder
INSERT INTO folder (name, created) VALUES (:name, :now);

-- name: keep_folder
-- Have a folder last that exists, also when nothing is in it any more.
INSERT INTO folder (name, created) VALUES (:name, :now) ON CONFLICT (name) DO NOTHING;

-- name: describe_file
SELECT created, modified, properties FROM file WHERE name = :name;

-- name: describe_files
-- Those of the names, an array in JSON, that files have; if not `bare`, files with properties.
SELECT file.name, file.created, file.modified, file.properties
FROM json_each(:names) AS wanted JOIN file ON file.name = wanted.value
WHERE :bare OR file.properties IS NOT NULL;

-- name: describe_folder
-- A made folder; of one that is not, the times of the first name in it.
SELECT created, coalesce(modified, created) AS modified, properties FROM folder WHERE name = :name
UNION ALL
SELECT * FROM (
    SELECT created, modified, NULL FROM file WHERE name >= :start AND name < :stop
    ORDER BY name LIMIT 1
)
UNION ALL
SELECT * FROM (
    SELECT created, coalesce(modified, created), NULL FROM folder
    WHERE name >= :start AND name < :stop ORDER BY name LIMIT 1
)
LIMIT 1;

-- name: describe_again
-- Change the times of a file, where they are not NULL, and its properties.
UPDATE file SET created = coalesce(:created, created), modified = coalesce(:modified, modified),
    properties = :properties
WHERE name = :name;

-- name: describe_folder_again
-- Do likewise for a made folder.
UPDATE folder SET created = coalesce(:created, created),
    modified = coalesce(:modified, modified, created), properties = :properties
WHERE name = :name;

-- name: copy_folder_itself
-- A made folder, with nothing that is in it.
INSERT INTO folder (name, created, modified, properties)
SELECT :target, :now, NULL, properties FROM folder WHERE name = :source;

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
INSERT INTO file (name, manifest, proof, media_type, created, modified, properties)
SELECT :target || substr(name, :skip), manifest, proof, media_type,
       coalesce(:now, created), coalesce(:now, modified), properties
FROM file WHERE name >= :start AND name < :stop;

-- name: copy_folders
INSERT INTO folder (name, created, modified, properties)
SELECT :target || substr(name, :skip), coalesce(:now, created), iif(:now IS NULL, modified, NULL),
       properties
FROM folder WHERE name >= :start AND name < :stop;

-- name: move_files
UPDATE file SET name = :target || substr(name, :skip) WHERE name >= :start AND name < :stop;

-- name: move_folders
UPDATE folder SET name = :target || substr(name, :skip) WHERE name >= :start AND name < :stop;

-- name: list_names
-- Files and folders in one order; a folder has no manifest. As find_file, and whether the file has
-- properties. The caller stops when it has enough, so only rows that are read cost.
SELECT file.name AS name, file.manifest, manifest.digest, manifest.size, manifest.chunk_size,
       manifest.chunks, manifest.list, file.proof, file.media_type, file.created, file.modified,
       file.properties IS NOT NULL
FROM file LEFT JOIN manifest ON manifest.id = file.manifest
WHERE file.name >= :start AND file.name < :stop
UNION ALL
SELECT folder.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
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
UPDATE manifest SET digest = NULL, size = NULL, chunks = NULL, list = NULL, proof = NULL
WHERE id = :id AND NOT EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id);

-- name: open_manifests
-- Those of uploads, running or abandoned, that are not resumable, packs that no upload holds, and
-- condemned ones. One may still have a name that was damaged.
SELECT id FROM manifest
WHERE digest IS NULL
  AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.manifest = manifest.id)
  AND NOT EXISTS (SELECT 1 FROM upload_pack WHERE upload_pack.manifest = manifest.id)
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id);

-- name: shorten_open_manifest
-- Remove the last places, at most `:most`, of an open manifest that no upload holds as a pack.
DELETE FROM place
WHERE manifest = (
    SELECT id FROM manifest
    WHERE id = :id AND digest IS NULL
      AND NOT EXISTS (SELECT 1 FROM upload_pack WHERE upload_pack.manifest = manifest.id))
  AND start >= (SELECT min(start) FROM (
      SELECT start FROM place WHERE manifest = :id ORDER BY start DESC LIMIT :most));

-- name: shorten_manifest
-- Remove the places from the offset `:start` on.
DELETE FROM place WHERE manifest = :id AND start >= :start;

-- name: unused_chunks
-- Chunks that no manifest refers to; ids and ages as in unused_manifests.
SELECT id, stored_size FROM chunk
WHERE id > :after AND id <= :last AND abs(:now - created) >= :grace
  AND NOT EXISTS (SELECT 1 FROM place WHERE place.chunk = chunk.id);

-- name: unneeded_chunks
-- The sizes of chunks that neither a file nor an upload needs; ids as in unused_manifests.
SELECT coalesce(sum(size), 0) AS size, coalesce(sum(stored_size), 0) AS stored_size FROM chunk
WHERE id > :after AND id <= :last
  AND NOT EXISTS (
    SELECT 1 FROM place JOIN manifest ON manifest.id = place.manifest
    WHERE place.chunk = chunk.id
      AND (manifest.digest IS NULL
           OR EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id)));

-- name: collectable_chunks
-- As unused_chunks, with those that only manifests refer to which a collection would remove.
SELECT id, stored_size FROM chunk
WHERE id > :after AND id <= :last AND abs(:now - created) >= :grace
  AND NOT EXISTS (
    SELECT 1 FROM place JOIN manifest ON manifest.id = place.manifest
    WHERE place.chunk = chunk.id
      AND (manifest.digest IS NULL
             AND NOT EXISTS (SELECT 1 FROM upload
                             WHERE upload.manifest = manifest.id AND upload.expires <= :now)
             AND NOT EXISTS (SELECT 1 FROM upload_pack
                             JOIN upload ON upload.id = upload_pack.upload
                             WHERE upload_pack.manifest = manifest.id
                               AND upload.expires <= :now)
           OR manifest.digest IS NOT NULL AND abs(:now - manifest.created) < :grace
           OR EXISTS (SELECT 1 FROM file WHERE file.manifest = manifest.id)));

-- name: delete_unused_chunk
DELETE FROM chunk
WHERE id = :id
  AND NOT EXISTS (SELECT 1 FROM place WHERE place.chunk = chunk.id);

-- name: last_chunk
SELECT coalesce(max(id), 0) FROM chunk;

-- name: chunks_to_scrub
-- After `:after` in order of their ids; the caller stops when it has enough.
SELECT chunk.id, chunk.stored_size, chunk.damaged,
       chunk.digest, chunk.size, chunk.codec, chunk.segment, chunk.segment_row, chunk_data.bytes
FROM chunk LEFT JOIN chunk_data ON chunk_data.id = chunk.id
WHERE chunk.id > :after
ORDER BY chunk.id;

-- name: files_with_chunk
SELECT DISTINCT file.name
FROM place JOIN file ON file.manifest = place.manifest
WHERE place.chunk = :id
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: files_of_manifest
SELECT file.name FROM file
WHERE file.manifest = :id
  AND NOT EXISTS (SELECT 1 FROM folder_change
                  WHERE hidden = 1 AND file.name >= prefix AND file.name < stop)
ORDER BY file.name;

-- name: manifests_to_scrub
-- After `:after` in order of their ids; the caller stops when it has enough.
SELECT id, digest, size, chunk_size, chunks, list, proof, damaged FROM manifest
WHERE id > :after AND digest IS NOT NULL
ORDER BY id;

-- name: is_sealed
SELECT EXISTS (SELECT 1 FROM manifest WHERE id = :id AND digest IS NOT NULL);

-- name: names_to_scrub
-- After `:after`, at most `:count`. `file.proof` should be that of the manifest.
SELECT file.name, file.proof, manifest.digest, manifest.proof AS expected
FROM file LEFT JOIN manifest ON manifest.id = file.manifest
WHERE file.name > :after
ORDER BY file.name LIMIT :count;
