-- What by_digest.sql has, where tables are spread over machines: each of these is asked once. They get
-- the lists themselves, and plan for them.

-- name: known_chunks
CREATE OR REPLACE FUNCTION known_chunks(wanted bytea[])
RETURNS TABLE (digest bytea, size integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT chunk.digest, chunk.size FROM chunk
    WHERE chunk.digest = ANY (wanted) AND NOT chunk.damaged;
END
$$;

-- name: stored_chunks
CREATE OR REPLACE FUNCTION stored_chunks(wanted bytea[])
RETURNS TABLE (
    digest bytea, damaged boolean, size integer, stored_size integer, codec smallint, bytes bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT chunk.digest, chunk.damaged, chunk.size, chunk.stored_size, chunk.codec,
                        chunk_data.bytes
    FROM chunk LEFT JOIN chunk_data ON chunk_data.digest = chunk.digest
    WHERE chunk.digest = ANY (wanted);
END
$$;

-- name: references_to
CREATE OR REPLACE FUNCTION references_to(wanted bytea[])
RETURNS TABLE (digest bytea, manifest bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT chunk_ref.digest, chunk_ref.manifest FROM chunk_ref
    WHERE chunk_ref.digest = ANY (wanted);
END
$$;

-- name: chunks_kept_for
CREATE OR REPLACE FUNCTION chunks_kept_for(needing bigint, wanted bytea[])
RETURNS TABLE (digest bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT chunk.digest
    FROM chunk JOIN chunk_ref ON chunk_ref.digest = chunk.digest
    WHERE chunk.digest = ANY (wanted) AND chunk_ref.manifest = needing;
END
$$;

-- name: delete_references_to
CREATE OR REPLACE FUNCTION delete_references_to(needing bigint, unneeded bytea[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM chunk_ref WHERE manifest = needing AND digest = ANY (unneeded);
END
$$;

-- name: delete_chunks_unused
CREATE OR REPLACE FUNCTION delete_chunks_unused(candidates bytea[])
RETURNS TABLE (stored_size integer) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY DELETE FROM chunk
    WHERE chunk.digest = ANY (candidates)
      AND NOT EXISTS (SELECT 1 FROM chunk_ref WHERE chunk_ref.digest = chunk.digest)
    RETURNING chunk.stored_size;
END
$$;
