-- The queries on records. Parameters are given by place. A record that has expired is as good as absent.

-- name: find_record
-- kind, key, now.
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = $1 AND key = $2 AND (expires IS NULL OR expires > $3);

-- name: list_records
-- kind, key after which, now, how many at most.
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = $1 AND key > $2 AND (expires IS NULL OR expires > $3)
ORDER BY key LIMIT $4;

-- name: list_records_of
-- kind, key after which, now, how many at most, owner.
SELECT kind, key, owner, value, revision, expires FROM record
WHERE kind = $1 AND key > $2 AND (expires IS NULL OR expires > $3) AND owner = $5
ORDER BY key LIMIT $4;

-- name: put_record
-- kind, key, owner, value, revision, expires, whether one that is there is to be replaced, now.
INSERT INTO record (kind, key, owner, value, revision, expires)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (kind, key) DO UPDATE SET
    owner = excluded.owner, value = excluded.value, revision = excluded.revision,
    expires = excluded.expires
WHERE $7 OR record.expires <= $8;

-- name: change_record
-- kind, key, owner, value, revision, expires, the revision that is expected, now.
UPDATE record SET owner = $3, value = $4, revision = $5, expires = $6
WHERE kind = $1 AND key = $2 AND revision = $7 AND (expires IS NULL OR expires > $8);

-- name: delete_record
-- kind, key, the revision that is expected or NULL, now.
DELETE FROM record
WHERE kind = $1 AND key = $2
  AND ($3::bigint IS NULL OR revision = $3 AND (expires IS NULL OR expires > $4));

-- name: delete_expired_records
-- now.
DELETE FROM record WHERE expires <= $1;
