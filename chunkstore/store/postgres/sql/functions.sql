-- What would otherwise take a round trip for each row that is read or locked. Each statement keeps
-- the rules of queries.sql: rows of one distribution, locks on one row at a time. The functions are
-- created again when the schema is created or migrated.

-- name: put_chunks
-- Records chunks, in the order of their digests; returns those that were not there, or damaged, whose
-- bytes are to be put.
CREATE OR REPLACE FUNCTION put_chunks(
    new_digests bytea[], new_sizes integer[], new_stored_sizes integer[], new_codecs smallint[],
    now bigint
) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    stored bytea[] := '{}';
    one bytea;
BEGIN
    FOR one IN
        INSERT INTO chunk (digest, size, stored_size, codec, created)
        SELECT new.digest, new.size, new.stored_size, new.codec, now
        FROM unnest(new_digests, new_sizes, new_stored_sizes, new_codecs)
            AS new (digest, size, stored_size, codec)
        ON CONFLICT (digest) DO UPDATE SET
            size = excluded.size, stored_size = excluded.stored_size, codec = excluded.codec,
            damaged = false
            WHERE chunk.damaged
        RETURNING digest
    LOOP
        stored := array_append(stored, one);
    END LOOP;
    RETURN stored;
END
$$;

-- name: add_places
-- References chunks, whose digests are given once each and in order, and records their places.
CREATE OR REPLACE FUNCTION add_places(
    manifest_id bigint, needed bytea[],
    starts bigint[], sizes integer[], digests bytea[], ties bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chunk_ref (digest, manifest)
    SELECT new.digest, manifest_id FROM unnest(needed) AS new (digest)
    ON CONFLICT (digest, manifest) DO NOTHING;
    INSERT INTO place (manifest, start, size, digest, tie)
    SELECT manifest_id, new.start, new.size, new.digest, new.tie
    FROM unnest(starts, sizes, digests, ties) AS new (start, size, digest, tie)
    ON CONFLICT (manifest, start) DO NOTHING;
END
$$;

-- name: keep_open
-- Whether an upload's chunk list, of `length` bytes so far, can grow; then it stays until the
-- transaction ends. A collector may have taken its server for dead, and a failover may have lost its
-- last places: commits of batches are not synced, but what survives one of them has all that came
-- before. So if the last place is there, and each was put behind one that was, there is no gap.
CREATE OR REPLACE FUNCTION keep_open(manifest_id bigint, length bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    stop bigint;
BEGIN
    PERFORM 1 FROM manifest WHERE id = manifest_id AND condemned IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF length = 0 THEN
        RETURN true;
    END IF;
    SELECT start + size INTO stop FROM place
    WHERE manifest = manifest_id AND start < length
    ORDER BY start DESC LIMIT 1;
    RETURN coalesce(stop = length, false);
END
$$;

-- name: replace_damaged
-- Has the files of damaged lists of a content, which has just been put again, point at the new list.
CREATE OR REPLACE FUNCTION replace_damaged(
    new_manifest bigint, content_digest bytea, content_size bigint, new_chunk_size integer,
    new_chunks bigint, new_list bytea, new_proof bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old_manifest bigint;
    old_proof bigint;
BEGIN
    FOR old_manifest, old_proof IN
        SELECT manifest, proof FROM damaged_list WHERE digest = content_digest
    LOOP
        UPDATE entry
        SET manifest = new_manifest, digest = content_digest, size = content_size,
            chunk_size = new_chunk_size, chunks = new_chunks, list = new_list, proof = new_proof
        WHERE manifest = old_manifest AND proof = old_proof;
    END LOOP;
    IF FOUND THEN
        DELETE FROM damaged_list WHERE digest = content_digest;
    END IF;
END
$$;

-- name: seal_manifest
-- Completes an open list; from here on it never changes. Returns whether it was not given up.
CREATE OR REPLACE FUNCTION seal_manifest(
    manifest_id bigint, content_digest bytea, content_size bigint, content_chunk_size integer,
    content_chunks bigint, list_digest bytea, content_proof bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE manifest
    SET digest = content_digest, size = content_size, chunk_size = content_chunk_size,
        chunks = content_chunks, list = list_digest, proof = content_proof, server = NULL
    WHERE id = manifest_id AND condemned IS NULL;
    RETURN FOUND;
END
$$;

-- name: put_content
-- Stores the last chunks of a manifest, whose list has `length` bytes by then, seals it, and keeps
-- checksums of it. Returns the chunks that were not there; NULL, and the transaction is to fail, if the list cannot grow, as
-- `keep_open` has it.
CREATE OR REPLACE FUNCTION put_content(
    new_digests bytea[], new_sizes integer[], new_stored_sizes integer[], new_codecs smallint[],
    new_contents bytea[], now bigint,
    manifest_id bigint, length bigint, needed bytea[],
    starts bigint[], sizes integer[], digests bytea[], ties bigint[],
    content_digest bytea, content_size bigint, content_chunk_size integer, content_chunks bigint,
    list_digest bytea, content_proof bigint,
    sum_algorithms text[], sum_values bytea[], sum_ties bigint[]
) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    stored bytea[] := '{}';
BEGIN
    IF cardinality(new_digests) > 0 THEN
        stored := put_chunks(new_digests, new_sizes, new_stored_sizes, new_codecs, now);
    END IF;
    IF cardinality(stored) > 0 THEN
        INSERT INTO chunk_data (digest, bytes)
        SELECT new.digest, new.content
        FROM unnest(new_digests, new_contents) AS new (digest, content)
        WHERE new.digest = ANY (stored)
        ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes;
    END IF;
    IF length = 0 THEN
        INSERT INTO manifest (id, digest, size, chunk_size, chunks, list, proof, created)
        VALUES (manifest_id, content_digest, content_size, content_chunk_size, content_chunks,
                list_digest, content_proof, now);
    ELSIF NOT seal_manifest(
        manifest_id, content_digest, content_size, content_chunk_size, content_chunks, list_digest,
        content_proof
    ) OR NOT keep_open(manifest_id, length) THEN
        RETURN NULL;
    END IF;
    IF cardinality(digests) > 0 THEN
        PERFORM add_places(manifest_id, needed, starts, sizes, digests, ties);
    END IF;
    PERFORM replace_damaged(
        manifest_id, content_digest, content_size, content_chunk_size, content_chunks, list_digest,
        content_proof);
    IF cardinality(sum_algorithms) > 0 THEN
        INSERT INTO checksum (manifest, algorithm, value, tie)
        SELECT manifest_id, new.algorithm, new.value, new.tie
        FROM unnest(sum_algorithms, sum_values, sum_ties) AS new (algorithm, value, tie);
    END IF;
    RETURN stored;
END
$$;

-- name: find_content
-- A file, with its content if that has at most `inline` bytes in some chunks: the digests and sizes of
-- its places in order, and of each the codec and the bytes of the chunk, NULL where there is none.
CREATE OR REPLACE FUNCTION find_content(
    name_path text, inline bigint,
    OUT path text, OUT manifest bigint, OUT digest bytea, OUT size bigint, OUT chunk_size integer,
    OUT chunks bigint, OUT list bytea, OUT proof bigint,
    OUT media_type text, OUT created bigint, OUT modified bigint,
    OUT digests bytea[], OUT sizes integer[], OUT codecs smallint[], OUT contents bytea[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    of_manifest bigint;
    place_digest bytea;
    place_size integer;
    place_codec smallint;
    place_bytes bytea;
BEGIN
    SELECT entry.path, entry.manifest, entry.digest, entry.size, entry.chunk_size, entry.chunks,
           entry.list, entry.proof, entry.media_type, entry.created, entry.modified
    INTO path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created, modified
    FROM entry WHERE entry.path = name_path AND entry.manifest IS NOT NULL;
    IF NOT FOUND OR size > inline OR chunks > 8 THEN
        RETURN;
    END IF;
    of_manifest := manifest;
    FOR place_digest, place_size IN
        SELECT digest, size FROM place WHERE manifest = of_manifest ORDER BY start LIMIT 8
    LOOP
        -- One by one, so that each is looked for where it lies.
        SELECT chunk.codec, chunk_data.bytes INTO place_codec, place_bytes
        FROM chunk LEFT JOIN chunk_data ON chunk_data.digest = chunk.digest
        WHERE chunk.digest = place_digest;
        digests := array_append(digests, place_digest);
        sizes := array_append(sizes, place_size);
        codecs := array_append(codecs, place_codec);
        contents := array_append(contents, place_bytes);
    END LOOP;
END
$$;

-- name: enter_folders
-- Keeps folders, from the outermost inwards, until the transaction ends; returns the first that is
-- a file, and then the transaction is to fail.
CREATE OR REPLACE FUNCTION enter_folders(folders text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    folder text;
    is_file boolean;
BEGIN
    FOREACH folder IN ARRAY folders LOOP
        LOOP
            SELECT manifest IS NOT NULL INTO is_file FROM entry WHERE path = folder FOR KEY SHARE;
            EXIT WHEN FOUND;
            INSERT INTO entry (path) VALUES (folder) ON CONFLICT (path) DO NOTHING;
        END LOOP;
        IF is_file THEN
            RETURN folder;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- name: lock_paths
-- Locks the rows of paths, one by one, until the transaction ends: exclusively those `to_change`, the
-- others, folders that a name lies in, so that nobody changes or removes them. A path without a row
-- gets one, of a folder that does not exist yet, so that it can be locked. Returns whether there are
-- quotas; while the transaction runs, none is added.
CREATE OR REPLACE FUNCTION lock_paths(paths text[], to_change boolean[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    one text;
    exclusive boolean;
BEGIN
    FOR one, exclusive IN SELECT * FROM unnest(paths, to_change) LOOP
        LOOP
            IF exclusive THEN
                PERFORM 1 FROM entry WHERE path = one FOR UPDATE;
            ELSE
                PERFORM 1 FROM entry WHERE path = one FOR KEY SHARE;
            END IF;
            EXIT WHEN FOUND;
            INSERT INTO entry (path) VALUES (one) ON CONFLICT (path) DO NOTHING;
        END LOOP;
    END LOOP;
    RETURN EXISTS (SELECT 1 FROM quota);
END
$$;

-- name: put_file
-- Points a name at file content. `outcome` says what came of it:
-- `created`, `replaced`;
-- `present`: there is a file, which is returned and locked, and not `may_replace`;
-- `absent`: there is none, and not `may_create`;
-- `file`: `conflict` is a file, so it holds no files; `folder`: the name is a folder's.
-- `replaced` and `present` return the file that there was. `quotas` says whether there are any; while the
-- transaction runs, none is added.
CREATE OR REPLACE FUNCTION put_file(
    name_path text, folders text[], below_start text, below_stop text,
    new_manifest bigint, new_digest bytea, new_size bigint, new_chunk_size integer,
    new_chunks bigint, new_list bytea, new_proof bigint,
    new_media_type text, new_created bigint, new_modified bigint,
    may_create boolean, may_replace boolean,
    OUT outcome text, OUT conflict text, OUT quotas boolean,
    OUT path text, OUT manifest bigint, OUT digest bytea, OUT size bigint, OUT chunk_size integer,
    OUT chunks bigint, OUT list bytea, OUT proof bigint,
    OUT media_type text, OUT created bigint, OUT modified bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_file boolean;
BEGIN
    quotas := EXISTS (SELECT 1 FROM quota);
    LOOP
        SELECT entry.path, entry.manifest, entry.digest, entry.size, entry.chunk_size, entry.chunks,
               entry.list, entry.proof, entry.media_type,
               -- Of a damaged entry it may be none.
               CASE WHEN entry.created BETWEEN 0 AND 253402300799999999 THEN entry.created END,
               entry.modified
        INTO path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created,
             modified
        FROM entry WHERE entry.path = name_path AND entry.manifest IS NOT NULL FOR UPDATE;
        IF FOUND THEN
            outcome := 'present';
            IF NOT may_replace THEN
                RETURN;
            END IF;
            outcome := 'replaced';
            EXIT;
        END IF;
        outcome := 'absent';
        IF NOT may_create THEN
            RETURN;
        END IF;
        conflict := enter_folders(folders);
        IF conflict IS NOT NULL THEN
            outcome := 'file';
            RETURN;
        END IF;
        outcome := 'created';
        INSERT INTO entry
            (path, manifest, digest, size, chunk_size, chunks, list, proof, media_type, created,
             modified, properties)
        VALUES (name_path, new_manifest, new_digest, new_size, new_chunk_size, new_chunks, new_list,
                new_proof, new_media_type, coalesce(new_created, new_modified), new_modified, NULL)
        ON CONFLICT (path) DO NOTHING;
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT entry.manifest IS NOT NULL INTO is_file
        FROM entry WHERE entry.path = name_path FOR UPDATE;
        -- Another has come first, or what was there has gone.
        CONTINUE WHEN NOT FOUND OR is_file;
        IF EXISTS (
            SELECT 1 FROM entry
            WHERE entry.name >= below_start AND entry.name < below_stop
              AND (entry.manifest IS NOT NULL OR entry.made)
        ) THEN
            outcome := 'folder';
            RETURN;
        END IF;
        -- Rows of folders that do not exist any more.
        DELETE FROM entry WHERE entry.path >= below_start AND entry.path < below_stop;
        EXIT;
    END LOOP;
    UPDATE entry
    SET manifest = new_manifest, digest = new_digest, size = new_size,
        chunk_size = new_chunk_size, chunks = new_chunks, list = new_list, proof = new_proof,
        media_type = new_media_type, modified = new_modified, properties = entry.properties,
        created = coalesce(
            new_created, CASE WHEN outcome = 'replaced' THEN put_file.created END, new_modified)
    WHERE entry.path = name_path;
END
$$;

-- name: put_at_once
-- Puts a file whose last chunks are few and small, as put_content and put_file do, in a transaction of
-- which no other statement is. Fails with CS001 if one of them says that it is to fail, or a quota does,
-- and with CS002, with the folder, if a quota counts it and it is not `alone` in its transaction: then it
-- would keep the quota locked while others wait for locks. It fails with CS001 too where a write lock
-- may be in the way: one whose token is not `submitted` by who took it; where the file has none of the
-- digests that are `required`, unless that is NULL; and where a put that is `strict` needs a folder that is
-- not there. If there is a receipt already, nothing is done, and what is in it is returned. `told` are the
-- columns of an entry of the audit log, or NULL.
CREATE OR REPLACE FUNCTION put_at_once(
    receipt_id uuid,
    new_digests bytea[], new_sizes integer[], new_stored_sizes integer[], new_codecs smallint[],
    new_contents bytea[], now bigint,
    manifest_id bigint, length bigint, needed bytea[],
    starts bigint[], sizes integer[], digests bytea[], ties bigint[],
    content_digest bytea, content_size bigint, content_chunk_size integer, content_chunks bigint,
    list_digest bytea, content_proof bigint,
    sum_algorithms text[], sum_values bytea[], sum_ties bigint[],
    name_path text, folders text[], below_start text, below_stop text,
    new_media_type text, new_created bigint, new_modified bigint,
    may_replace boolean, alone boolean, told text[],
    strict boolean, required bytea[], submitted text[], submitted_by text,
    OUT replaced boolean, OUT file_created bigint, OUT stored bytea[]
) LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
#variable_conflict use_variable
DECLARE
    put record;
    within text;
    over text[];
    limited text;
BEGIN
    INSERT INTO receipt (id, created) VALUES (receipt_id, now) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT receipt.replaced, receipt.file_created, receipt.stored
        INTO replaced, file_created, stored
        FROM receipt WHERE id = receipt_id;
        RETURN;
    END IF;
    stored := put_content(
        new_digests, new_sizes, new_stored_sizes, new_codecs, new_contents, now, manifest_id,
        length, needed, starts, sizes, digests, ties, content_digest, content_size,
        content_chunk_size, content_chunks, list_digest, content_proof, sum_algorithms, sum_values,
        sum_ties);
    IF EXISTS (SELECT 1 FROM lock) THEN
        -- In this order: whoever takes a lock waits for this, or is waited for.
        PERFORM 1 FROM lock WHERE token = '' FOR KEY SHARE;
        PERFORM lock_paths(
            folders || name_path, array_fill(false, ARRAY[cardinality(folders)]) || true);
        IF EXISTS (
            SELECT 1 FROM lock
            WHERE root = ANY (folders || ARRAY['', name_path])
              AND expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
              AND NOT (token = ANY (submitted) AND principal = submitted_by)
        ) THEN
            RAISE EXCEPTION 'refused' USING ERRCODE = 'CS001';
        END IF;
    END IF;
    IF required IS NOT NULL THEN
        PERFORM 1 FROM entry
        WHERE path = name_path AND manifest IS NOT NULL AND digest = ANY (required) FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'refused' USING ERRCODE = 'CS001';
        END IF;
    END IF;
    put := put_file(
        name_path, folders, below_start, below_stop, manifest_id, content_digest, content_size,
        content_chunk_size, content_chunks, list_digest, content_proof, new_media_type, new_created,
        new_modified, NOT strict AND required IS NULL, may_replace);
    IF put.outcome = 'absent' AND required IS NULL THEN
        PERFORM lock_paths(folders, array_fill(false, ARRAY[cardinality(folders)]));
        within := folders[cardinality(folders)];
        IF within IS NULL OR EXISTS (
            SELECT 1 FROM entry
            WHERE name >= within || '/' AND name < within || '0' AND (manifest IS NOT NULL OR made)
        ) THEN
            put := put_file(
                name_path, folders, below_start, below_stop, manifest_id, content_digest,
                content_size, content_chunk_size, content_chunks, list_digest, content_proof,
                new_media_type, new_created, new_modified, true, may_replace);
        END IF;
    END IF;
    IF stored IS NULL OR put.outcome NOT IN ('created', 'replaced') THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = 'CS001';
    END IF;
    replaced := put.outcome = 'replaced';
    file_created := coalesce(new_created, put.created, new_modified);
    UPDATE receipt SET replaced = put.outcome = 'replaced', file_created = coalesce(
        new_created, put.created, new_modified), stored = put_at_once.stored
    WHERE id = receipt_id;
    IF told IS NOT NULL THEN
        INSERT INTO audit (id, time, actor, via, action, name, address, request, detail)
        VALUES (told[1]::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, told[3],
                told[4],
                CASE WHEN replaced THEN 'replace' ELSE 'create' END, told[6], told[7], told[8],
                told[9]);
    END IF;
    IF NOT put.quotas THEN
        RETURN;
    END IF;
    over := ARRAY[''] || ARRAY(SELECT each || '/' FROM unnest(folders) AS each);
    SELECT min(folder) INTO limited FROM quota WHERE folder = ANY (over);
    IF limited IS NOT NULL AND NOT alone THEN
        RAISE EXCEPTION 'limited' USING ERRCODE = 'CS002', DETAIL = limited;
    END IF;
    IF limited IS NOT NULL AND add_usage(
        over,
        array_fill(content_size - coalesce(put.size, 0), ARRAY[cardinality(over)]),
        array_fill(CASE WHEN replaced THEN 0 ELSE 1 END::bigint, ARRAY[cardinality(over)])
    ) IS NOT NULL THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = 'CS001';
    END IF;
END
$$;

-- name: add_usage
-- Changes what folders use, as far as they have quotas, in the order in which they are given; returns
-- the first whose quota does not allow it, locked, and then the transaction is to fail. What uses less is
-- always allowed, and everything until it is counted what is used.
CREATE OR REPLACE FUNCTION add_usage(names text[], new_sizes bigint[], new_files bigint[])
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one text;
    more bigint;
    more_files bigint;
BEGIN
    FOR one, more, more_files IN SELECT * FROM unnest(names, new_sizes, new_files) LOOP
        PERFORM 1 FROM quota WHERE folder = one FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        UPDATE quota SET size = size + more, files = files + more_files
        WHERE folder = one
          AND (counted = 0
               OR (more <= 0 OR max_size IS NULL OR size + more <= max_size)
                  AND (more_files <= 0 OR max_files IS NULL OR files + more_files <= max_files));
        IF NOT FOUND THEN
            RETURN one;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- name: describe_names
-- What is kept with files, and with folders by their paths, of those that exist, and its place among
-- the `paths`, from 1. A folder that was not made has the times of the first name in it.
CREATE OR REPLACE FUNCTION describe_names(paths text[], are_folders boolean[])
RETURNS TABLE (place integer, created bigint, modified bigint, properties bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one text;
    is_folder boolean;
    is_made boolean;
BEGIN
    FOR place, one, is_folder IN
        SELECT ordinality, wanted_path, wanted_folder
        FROM unnest(paths, are_folders) WITH ORDINALITY
            AS wanted (wanted_path, wanted_folder, ordinality)
    LOOP
        SELECT entry.created, coalesce(entry.modified, entry.created), entry.properties, entry.made
        INTO created, modified, properties, is_made
        FROM entry WHERE entry.path = one AND (entry.manifest IS NULL) = is_folder;
        IF is_folder AND NOT coalesce(is_made, false) THEN
            SELECT entry.created, coalesce(entry.modified, entry.created), NULL
            INTO created, modified, properties
            FROM entry
            WHERE name >= one || '/' AND name < one || '0' AND (manifest IS NOT NULL OR made)
            ORDER BY name LIMIT 1;
        END IF;
        IF FOUND THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- name: vacate_parent
-- Notes that the folder in which a path lies may not exist any more.
CREATE OR REPLACE FUNCTION vacate_parent(of_path text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF of_path LIKE '%/%' THEN
        INSERT INTO vacated (path) VALUES (substring(of_path FROM '^(.*)/'));
    END IF;
END
$$;

-- name: remove_entry
-- Removes a path's row; returns whether there was one.
CREATE OR REPLACE FUNCTION remove_entry(of_path text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM entry WHERE path = of_path;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM vacate_parent(of_path);
    RETURN true;
END
$$;

-- name: forget_folder
-- Removes the row of a folder that was vacated, unless it exists all the same.
CREATE OR REPLACE FUNCTION forget_folder(folder text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- First of all: who vacates it again after this leaves a new row, and what those did whose rows
    -- are removed is seen by the statements that follow.
    DELETE FROM vacated WHERE path = folder;
    -- Once without a lock, for which the file that has come meanwhile would be waited for.
    FOR turn IN 1..2 LOOP
        IF EXISTS (
            SELECT 1 FROM entry
            WHERE name >= folder || '/' AND name < folder || '0' AND (manifest IS NOT NULL OR made)
        ) THEN
            RETURN;
        END IF;
        IF turn = 1 THEN
            PERFORM 1 FROM entry WHERE path = folder AND manifest IS NULL AND NOT made FOR UPDATE;
            IF NOT FOUND THEN
                RETURN;
            END IF;
        END IF;
    END LOOP;
    DELETE FROM entry WHERE path = folder;
    PERFORM vacate_parent(folder);
END
$$;

-- name: keep_below
-- Keeps all rows in a range of paths as they are until the transaction ends.
CREATE OR REPLACE FUNCTION keep_below(below_start text, below_stop text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kept text;
BEGIN
    FOR kept IN
        SELECT path FROM entry WHERE path >= below_start AND path < below_stop ORDER BY path
    LOOP
        PERFORM 1 FROM entry WHERE path = kept FOR SHARE;
    END LOOP;
END
$$;
