-- Queries on checksums of contents. See queries.sql.

-- name: find_checksums
-- `:manifests` is a JSON array.
SELECT checksum.manifest, checksum.algorithm, checksum.value, checksum.tie
FROM json_each(:manifests) AS wanted JOIN checksum ON checksum.manifest = wanted.value;

-- name: put_checksum
-- The content may be gone. What is there already is not written again.
INSERT INTO checksum (manifest, algorithm, value, tie)
SELECT id, :algorithm, :value, :tie FROM manifest WHERE id = :manifest AND digest IS NOT NULL
ON CONFLICT (manifest, algorithm) DO UPDATE SET value = excluded.value, tie = excluded.tie
    WHERE (value, tie) != (excluded.value, excluded.tie);
