-- Rows of chunks by lists of digests, where all tables are on one machine: each by its key, one after
-- the other. By `digest = ANY (list)` PostgreSQL may read whole tables and compare each row with all of
-- the list, by a plan that it made, and keeps, while the tables were small. So a LATERAL is behind an
-- OFFSET, which keeps it from becoming such a join.

-- name: known_chunks
-- The chunks that need no bytes, and their sizes.
CREATE OR REPLACE FUNCTION known_chunks(wanted bytea[])
RETURNS TABLE (digest bytea, size integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT found.digest, found.size
    FROM unnest(wanted) AS one (digest) CROSS JOIN LATERAL (
        SELECT chunk.digest, chunk.size FROM chunk
        WHERE chunk.digest = one.digest AND NOT chunk.damaged OFFSET 0
    ) AS found;
END
$$;

-- name: stored_chunks
-- What is stored of chunks; no bytes where there are none.
CREATE OR REPLACE FUNCTION stored_chunks(wanted bytea[])
RETURNS TABLE (
    digest bytea, damaged boolean, size integer, stored_size integer, codec smallint, bytes bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT found.*
    FROM unnest(wanted) AS one (digest) CROSS JOIN LATERAL (
        SELECT chunk.digest, chunk.damaged, chunk.size, chunk.stored_size, chunk.codec,
               chunk_data.bytes
        FROM chunk LEFT JOIN chunk_data ON chunk_data.digest = chunk.digest
        WHERE chunk.digest = one.digest OFFSET 0
    ) AS found;
END
$$;

-- name: references_to
-- Which manifests need chunks.
CREATE OR REPLACE FUNCTION references_to(wanted bytea[])
RETURNS TABLE (digest bytea, manifest bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT found.digest, found.manifest
    FROM unnest(wanted) AS one (digest) CROSS JOIN LATERAL (
        SELECT chunk_ref.digest, chunk_ref.manifest FROM chunk_ref
        WHERE chunk_ref.digest = one.digest OFFSET 0
    ) AS found;
END
$$;

-- name: chunks_kept_for
-- The chunks that are there, and stay because a manifest needs them.
CREATE OR REPLACE FUNCTION chunks_kept_for(needing bigint, wanted bytea[])
RETURNS TABLE (digest bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT found.digest
    FROM unnest(wanted) AS one (digest) CROSS JOIN LATERAL (
        SELECT chunk.digest FROM chunk JOIN chunk_ref ON chunk_ref.digest = chunk.digest
        WHERE chunk.digest = one.digest AND chunk_ref.manifest = needing OFFSET 0
    ) AS found;
END
$$;

-- name: delete_references_to
-- Have a manifest need some chunks no more.
CREATE OR REPLACE FUNCTION delete_references_to(needing bigint, unneeded bytea[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one bytea;
BEGIN
    FOREACH one IN ARRAY unneeded LOOP
        DELETE FROM chunk_ref WHERE digest = one AND manifest = needing;
    END LOOP;
END
$$;

-- name: delete_chunks_unused
-- Removes those chunks that nothing needs; returns how many bytes each took.
CREATE OR REPLACE FUNCTION delete_chunks_unused(candidates bytea[])
RETURNS TABLE (stored_size integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one bytea;
BEGIN
    FOREACH one IN ARRAY candidates LOOP
        DELETE FROM chunk
        WHERE chunk.digest = one
          AND NOT EXISTS (SELECT 1 FROM chunk_ref WHERE chunk_ref.digest = chunk.digest)
        RETURNING chunk.stored_size INTO stored_size;
        IF FOUND THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
