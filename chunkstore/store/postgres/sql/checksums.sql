-- Queries on checksums of contents. See queries.sql.

-- name: find_checksums
-- manifests.
SELECT manifest, algorithm, value, tie FROM checksum WHERE manifest = ANY($1);

-- name: keep_content
-- manifest. Keeps a content until the transaction ends, if it is there.
SELECT 1 FROM manifest WHERE id = $1 AND digest IS NOT NULL FOR KEY SHARE;

-- name: put_checksums
-- manifest; algorithms, values and ties. What is there already is not written again.
INSERT INTO checksum (manifest, algorithm, value, tie)
SELECT $1, new.algorithm, new.value, new.tie
FROM unnest($2::text[], $3::bytea[], $4::bigint[]) AS new (algorithm, value, tie)
ON CONFLICT (manifest, algorithm) DO UPDATE SET value = excluded.value, tie = excluded.tie
    WHERE (checksum.value, checksum.tie) IS DISTINCT FROM (excluded.value, excluded.tie);
