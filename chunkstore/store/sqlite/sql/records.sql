-- The queries on records. Parameters are named. A record that has expired at `now` is as good as absent.

-- name: find_record
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = :kind AND key = :key AND (expires IS NULL OR expires > :now);

-- name: list_records
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = :kind AND key > :after AND (expires IS NULL OR expires > :now)
ORDER BY key LIMIT :most;

-- name: list_records_of
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = :kind AND owner = :owner AND key > :after AND (expires IS NULL OR expires > :now)
ORDER BY key LIMIT :most;

-- name: put_record
-- Replaces one that is there only where it is to be `replaced`.
INSERT INTO record (kind, key, owner, value, revision, expires)
VALUES (:kind, :key, :owner, :value, :revision, :expires)
ON CONFLICT (kind, key) DO UPDATE SET
    owner = excluded.owner, value = excluded.value, revision = excluded.revision,
    expires = excluded.expires
WHERE :replaced OR record.expires <= :now;

-- name: change_record
-- One that has the revision `expected`.
UPDATE record SET owner = :owner, value = :value, revision = :revision, expires = :expires
WHERE kind = :kind AND key = :key AND revision = :expected AND (expires IS NULL OR expires > :now);

-- name: delete_record
-- Of the revision `expected`, unless that is NULL.
DELETE FROM record
WHERE kind = :kind AND key = :key
  AND (:expected IS NULL OR revision = :expected AND (expires IS NULL OR expires > :now));

-- name: delete_expired_records
DELETE FROM record
WHERE (kind, key) IN (SELECT kind, key FROM record WHERE expires <= :now LIMIT :count);
