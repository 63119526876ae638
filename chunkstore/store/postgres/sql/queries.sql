-- Every query of the PostgreSQL store but those on resumable uploads. Parameters are given by place,
-- in the order in which each query's description names them. Each query reads or changes rows of
-- one distribution only: see schema.sql.

-- name: find_setting
-- name.
SELECT value FROM setting WHERE name = $1;

-- name: put_setting
-- name, value.
INSERT INTO setting (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: lock_setting
-- name. Nobody else changes it until the transaction ends.
SELECT value FROM setting WHERE name = $1 FOR UPDATE;

-- name: add_setting
-- name, value.
INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: begin_unsynced
-- Nobody is told that the transaction has been committed before a later commit has been synced.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL synchronous_commit = off;

-- name: begin_with_receipt
-- {id}, {now}: texts to be put in, because several statements at once take no parameters. Adds no
-- receipt if there is one, after waiting for who is writing it.
BEGIN ISOLATION LEVEL READ COMMITTED;
INSERT INTO receipt (id, created) VALUES ('{id}', {now}) ON CONFLICT (id) DO NOTHING;

-- name: add_receipt
-- id, now. The write that it is of takes no effect from here on. Adds none if there is one, after
-- waiting for who is writing it.
INSERT INTO receipt (id, created) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING;

-- name: find_puts
-- receipts. What put_at_once returned.
SELECT id, replaced, file_created, stored FROM receipt WHERE id = ANY ($1::uuid[]);

-- name: delete_receipts
-- before.
DELETE FROM receipt WHERE created < $1;

-- name: functions_named
-- names. The functions that have them, each with the types of what it takes.
SELECT oid::regprocedure::text FROM pg_proc
WHERE proname = ANY ($1::text[]) AND pronamespace = current_schema()::regnamespace;

-- name: clock
-- The database's time, which is the same for all servers.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: recovery_seconds
-- How often Citus ends what a machine's crash has left between its two phases; one minute unless it
-- says otherwise.
SELECT extract(epoch FROM coalesce(
    nullif(nullif(current_setting('citus.recover_2pc_interval', true), ''), '-1'), '1min'
)::interval)::float8;

-- name: known_chunks
-- digests. Those of them that need no bytes, and their sizes.
SELECT digest, size FROM known_chunks($1);

-- name: put_chunks
-- digests (in order), sizes, stored sizes, codecs, now. Returns those that were not known, or were
-- damaged; the bytes of these are to be put. A row that is known is locked, and so stays.
SELECT put_chunks($1, $2, $3, $4, $5);

-- name: put_chunk_data
-- digest, bytes.
INSERT INTO chunk_data (digest, bytes) VALUES ($1, $2)
ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes;

-- name: mark_chunk
-- digest, damaged.
UPDATE chunk SET damaged = $2 WHERE digest = $1 AND damaged <> $2;

-- name: add_manifest
-- id, chunk size, server, now. An upload begins; it may have begun already.
INSERT INTO manifest (id, chunk_size, server, created) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO NOTHING;

-- name: outlive_server
-- manifest. It is an upload's from here on that outlives its request.
UPDATE manifest SET server = NULL WHERE id = $1;

-- name: keep_open
-- manifest, how many bytes its list has. Whether it can grow. See functions.sql.
SELECT keep_open($1, $2);

-- name: add_places
-- manifest, digests needed (once each, in order); starts, sizes, digests and ties of places.
SELECT add_places($1, $2, $3, $4, $5, $6);

-- name: set_chunk_size
-- manifest, chunk size. What is joined to an open manifest, or was known, may have larger chunks.
UPDATE manifest SET chunk_size = $2 WHERE id = $1;

-- name: put_content
-- What put_chunks takes, bytes before `now`; manifest, how many bytes its list has; what add_places
-- takes besides; digest, size, chunk size, chunks, the list's digest and the proof; algorithms, values
-- and ties of checksums.
SELECT put_content($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                   $19, $20, $21, $22);

-- name: seal_manifest
-- manifest, digest, size, chunk size, chunks, the list's digest, proof. `keep_open` comes before.
SELECT seal_manifest($1, $2, $3, $4, $5, $6, $7);

-- name: replace_damaged
-- What seal_manifest takes. See functions.sql.
SELECT replace_damaged($1, $2, $3, $4, $5, $6, $7);

-- name: mark_list
-- digest of the content, manifest, proof. The list is damaged.
INSERT INTO damaged_list (digest, manifest, proof) VALUES ($1, $2, $3)
ON CONFLICT (digest, manifest) DO NOTHING;

-- name: marked_lists
-- manifests. Which of them have damaged lists.
SELECT DISTINCT manifest FROM damaged_list WHERE manifest = ANY ($1::bigint[]);

-- name: unmark_list
-- manifest. The list is whole, or gone.
DELETE FROM damaged_list WHERE manifest = $1;

-- name: delete_open_manifest
-- id. An upload is given up; if it was complete by then, it stays and nothing is returned.
DELETE FROM manifest WHERE id = $1 AND digest IS NULL RETURNING id;

-- name: delete_references
-- manifest.
DELETE FROM chunk_ref WHERE manifest = $1;

-- name: delete_some_references
-- manifest, digests.
SELECT delete_references_to($1, $2);

-- name: places_at
-- manifest, offset, how many at most. The place that holds the offset, and those behind it.
SELECT start, size, digest, tie FROM place
WHERE manifest = $1
  AND start >= (SELECT max(start) FROM place WHERE manifest = $1 AND start <= $2)
ORDER BY start LIMIT $3;

-- name: places_from
-- manifest, offset, how many at most.
SELECT start, size, digest, tie FROM place
WHERE manifest = $1 AND start >= $2
ORDER BY start LIMIT $3;

-- name: chunks
-- digests.
SELECT digest, codec, bytes FROM stored_chunks($1);

-- name: find_file
-- path.
SELECT path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified
FROM entry WHERE path = $1 AND manifest IS NOT NULL;

-- name: find_contents
-- paths, for each how many bytes its content has at most to be returned too. Of those that are files
-- the place among them, from 0, and the file. See find_content in functions.sql.
SELECT wanted.place - 1 AS place, path, manifest, digest, size, chunk_size, chunks, list, proof,
       media_type, created, modified, digests, sizes, codecs, contents
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS wanted (name, inline, place),
     find_content(wanted.name, wanted.inline)
WHERE path IS NOT NULL;

-- name: files_among
-- paths. As find_file, those of them that are files.
SELECT path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified
FROM entry WHERE path = ANY ($1::text[]) AND manifest IS NOT NULL;

-- name: lock_file
-- path. As find_file, and whether there are quotas; until the transaction ends nobody else changes it,
-- and no quota is added.
SELECT path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified,
       EXISTS (SELECT 1 FROM quota) AS quotas, EXISTS (SELECT 1 FROM lock) AS locks
FROM entry WHERE path = $1 AND manifest IS NOT NULL FOR UPDATE;

-- name: keep_below
-- A range of paths. Until the transaction ends nobody changes or removes what is there.
SELECT keep_below($1, $2);

-- name: lock_paths
-- paths (in order), for each whether it is to be changed; else it is a folder that a name lies in.
-- Returns whether there are quotas, and whether there are locks.
SELECT lock_paths($1, $2) AS quotas, EXISTS (SELECT 1 FROM lock) AS locks;

-- name: put_file
-- path, folders it lies in, range of names below it, manifest, digest, size, chunk size, chunks, the
-- list's digest, proof, media type, created, modified, whether it may create, whether it may replace.
-- See functions.sql.
SELECT outcome, conflict, quotas, path, manifest, digest, size, chunk_size, chunks, list, proof,
       media_type, created, modified, EXISTS (SELECT 1 FROM lock) AS locks
FROM put_file($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: put_at_once
-- receipt; what put_content takes; path, folders it lies in, range of names below it, media type,
-- created, modified, whether it may replace, whether it is alone in its transaction, an entry of the
-- audit log, whether it is strict, digests of which it replaces one, tokens of locks, and whose they are.
-- See functions.sql.
SELECT replaced, file_created, stored
FROM put_at_once($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                 $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36,
                 $37);

-- name: remove_entry
-- path. The folder that it lies in may be vacated by that.
SELECT remove_entry($1);

-- name: folder_exists
-- The least name below, the least behind all of them: whether a file or a made folder has such a
-- name.
SELECT EXISTS (
    SELECT 1 FROM entry WHERE name >= $1 AND name < $2 AND (manifest IS NOT NULL OR made)
);

-- name: make_folder
-- path, now.
UPDATE entry SET made = true, created = $2, modified = NULL, properties = NULL WHERE path = $1;

-- name: is_made
-- path. Whether it is that of a made folder.
SELECT made FROM entry WHERE path = $1;

-- name: keep_folder
-- path, now. Have a folder last that exists, also when nothing is in it any more.
UPDATE entry SET made = true, created = $2 WHERE path = $1 AND NOT made AND manifest IS NULL;

-- name: describe_names
-- paths, for each whether it is a folder's. See describe_names in functions.sql.
SELECT place, created, modified, properties FROM describe_names($1::text[], $2::boolean[]);

-- name: first_times
-- Those of the first name of all.
SELECT created, coalesce(modified, created) AS modified, NULL::bytea AS properties
FROM entry WHERE manifest IS NOT NULL OR made ORDER BY name LIMIT 1;

-- name: size_of_file
-- path.
SELECT size FROM entry WHERE path = $1;

-- name: find_properties
-- path.
SELECT properties FROM entry WHERE path = $1;

-- name: describe_again
-- path, created, modified (NULL leaves them), properties.
UPDATE entry
SET created = coalesce($2, created), modified = coalesce($3, modified, created), properties = $4
WHERE path = $1;

-- name: delete_below
-- The least path below, the least behind all of them.
DELETE FROM entry WHERE path >= $1 AND path < $2;

-- name: longest_name_below
-- The bytes of the longest name, of a file or folder, in a range of names; NULL if there is none.
SELECT max(octet_length(name)) FROM entry
WHERE name >= $1 AND name < $2 AND (manifest IS NOT NULL OR made);

-- name: copy_folder
-- path, the range of paths below it, the path that it is copied to, the place of the first character
-- kept, now; NULL keeps the times.
INSERT INTO entry (path, made, manifest, digest, size, chunk_size, chunks, list, proof, media_type,
                   created, modified, properties)
SELECT $4 || substr(path, $5), made, manifest, digest, size, chunk_size, chunks, list, proof,
       media_type, coalesce($6::bigint, created),
       CASE WHEN $6 IS NULL THEN modified WHEN manifest IS NOT NULL THEN $6 END, properties
FROM entry WHERE path = $1 OR (path >= $2 AND path < $3)
ON CONFLICT (path) DO UPDATE SET
    made = excluded.made, created = excluded.created, modified = excluded.modified,
    properties = excluded.properties;

-- name: vacate_folder
-- path, the range of paths below it. A collection will look at the folders that were not made.
INSERT INTO vacated (path)
SELECT path FROM entry
WHERE (path = $1 OR (path >= $2 AND path < $3)) AND manifest IS NULL AND NOT made;

-- name: list_names
-- From a name on, before another, behind a third, how many at most. As find_file, the name, whether
-- there are properties, and whether the store has locks.
SELECT path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified,
       name, properties IS NOT NULL AS described, EXISTS (SELECT 1 FROM lock) AS locks
FROM entry
WHERE name >= $1 AND name < $2 AND name > $3 AND (manifest IS NOT NULL OR made)
ORDER BY name LIMIT $4;

-- name: count_files
SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS logical_size
FROM entry WHERE manifest IS NOT NULL;

-- name: count_contents
SELECT count(*) AS contents FROM (
    SELECT DISTINCT list FROM entry WHERE manifest IS NOT NULL
) AS content;

-- name: count_chunks
SELECT count(*) AS chunks, coalesce(sum(size), 0)::bigint AS size,
       coalesce(sum(stored_size), 0)::bigint AS stored_size,
       count(*) FILTER (WHERE damaged) AS damaged
FROM chunk;

-- name: database_size
SELECT pg_database_size(current_database()) AS database_size;

-- name: put_server
-- id, now (of the database), seen, held. The server lives.
INSERT INTO server (id, beat, seen, held) VALUES ($1, $2, $3, $4::bigint[])
ON CONFLICT (id) DO UPDATE SET
    beat = excluded.beat, seen = excluded.seen, held = excluded.held;

-- name: servers
SELECT seen, held FROM server;

-- name: delete_server
-- id.
DELETE FROM server WHERE id = $1;

-- name: delete_dead_servers
-- The least beat that is not too old.
DELETE FROM server WHERE beat < $1;

-- name: sealed_manifests
-- Behind this id, created at the latest, how many at most.
SELECT id FROM manifest
WHERE id > $1 AND created <= $2 AND digest IS NOT NULL AND condemned IS NULL
ORDER BY id LIMIT $3;

-- name: manifests_of_files
-- manifests. Those of them that a file points at.
SELECT DISTINCT manifest FROM entry WHERE manifest = ANY ($1::bigint[]);

-- name: condemn_manifests
-- ids, now (of the database).
UPDATE manifest SET condemned = $2 WHERE id = ANY ($1::bigint[]) AND condemned IS NULL;

-- name: spare_manifests
-- ids. They are needed all the same.
UPDATE manifest SET condemned = NULL WHERE id = ANY ($1::bigint[]);

-- name: condemn_abandoned
-- now (of the database). What servers left behind that are gone.
UPDATE manifest SET condemned = $1
WHERE server IS NOT NULL AND condemned IS NULL
  AND NOT EXISTS (SELECT 1 FROM server WHERE server.id = manifest.server);

-- name: abandoned_manifests
-- As condemn_abandoned, without condemning them.
SELECT id FROM manifest
WHERE server IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM server WHERE server.id = manifest.server);

-- name: condemned_manifests
-- Condemned before this, behind this id, how many at most.
SELECT id FROM manifest WHERE condemned < $1 AND id > $2 ORDER BY id LIMIT $3;

-- name: last_places
-- manifest, how many at most. The last of a chunk list.
SELECT start, digest FROM place WHERE manifest = $1 ORDER BY start DESC LIMIT $2;

-- name: shorten_manifest
-- manifest, offset. Removes the places from there on.
DELETE FROM place WHERE manifest = $1 AND start >= $2 RETURNING digest;

-- name: places_with
-- manifest, digests. Which of them it has places for.
SELECT DISTINCT digest FROM place
WHERE manifest = $1 AND digest IN (SELECT unnest($2::bytea[]));

-- name: delete_manifest
-- id. Returns it, so that of two collections one counts it.
DELETE FROM manifest WHERE id = $1 RETURNING id;

-- name: unused_chunks
-- Behind this digest, created at the latest, how many at most.
SELECT chunk.digest, chunk.stored_size FROM chunk
WHERE chunk.digest > $1 AND chunk.created <= $2
  AND NOT EXISTS (SELECT 1 FROM chunk_ref WHERE chunk_ref.digest = chunk.digest)
ORDER BY chunk.digest LIMIT $3;

-- name: delete_unused_chunks
-- digests.
SELECT stored_size FROM delete_chunks_unused($1);

-- name: old_chunks
-- As unused_chunks, whether they are used or not.
SELECT digest, stored_size FROM chunk
WHERE digest > $1 AND created <= $2 ORDER BY digest LIMIT $3;

-- name: references
-- digests.
SELECT digest, manifest FROM references_to($1);

-- name: vacated_folders
-- Before this path, how many at most; those below others first.
SELECT DISTINCT path FROM vacated WHERE path < $1 ORDER BY path DESC LIMIT $2;

-- name: vacated_among
-- paths. Those of them that are vacated.
SELECT DISTINCT path FROM vacated WHERE path = ANY ($1::text[]);

-- name: forget_folder
-- path. Removes the row of a folder that exists no more.
SELECT forget_folder($1);

-- name: chunk_sizes_behind
-- digest, how many at most.
SELECT digest, stored_size FROM chunk WHERE digest > $1 ORDER BY digest LIMIT $2;

-- name: chunks_to_scrub
-- digests.
SELECT damaged, stored_size, digest, size, codec, bytes FROM stored_chunks($1) ORDER BY digest;

-- name: chunks_kept
-- manifest, digests. The chunks among them that are there, and stay because the manifest needs them.
SELECT digest FROM chunks_kept_for($1, $2);

-- name: names_of_manifests
-- manifests.
SELECT DISTINCT path FROM entry WHERE manifest = ANY ($1::bigint[]) ORDER BY path;

-- name: manifests_behind
-- id, how many at most.
SELECT id, digest, size, chunk_size, chunks, list, proof FROM manifest
WHERE id > $1 AND digest IS NOT NULL AND condemned IS NULL ORDER BY id LIMIT $2;

-- name: proofs_of_manifests
-- manifests.
SELECT id, proof FROM manifest WHERE id = ANY ($1::bigint[]);

-- name: proofs_of_files
-- manifest. What files that point at it say of their content.
SELECT DISTINCT digest, proof FROM entry WHERE manifest = $1;

-- name: files_behind
-- path, how many at most. As find_file.
SELECT path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified
FROM entry WHERE path > $1 AND manifest IS NOT NULL ORDER BY path LIMIT $2;
