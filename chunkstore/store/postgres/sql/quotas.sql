-- The queries on quotas. Parameters are given by place.

-- name: quotas
-- Those of which it is known what is used.
SELECT folder, max_size, max_files, size, files FROM quota WHERE counted > 0 ORDER BY folder;

-- name: quota_folders
SELECT folder FROM quota ORDER BY folder;

-- name: quotas_of
-- folders. Those of them that have a quota of which it is known what is used.
SELECT folder, max_size, max_files, size, files FROM quota
WHERE folder = ANY ($1::text[]) AND counted > 0 ORDER BY folder;

-- name: quota_folders_touched
-- folders, the range of names below the last. Those of them, and below, that have a quota.
SELECT folder FROM quota
WHERE folder = ANY ($1::text[]) OR (folder >= $2 AND folder < $3) ORDER BY folder;

-- name: find_quota
-- folder.
SELECT folder, max_size, max_files, size, files, counted FROM quota WHERE folder = $1;

-- name: wait_briefly
-- While a lock on the table is waited for, so do all who change names.
SET LOCAL lock_timeout = '50ms';

-- name: lock_quotas
-- Nobody who knows of no quota changes names any more when this is granted.
LOCK TABLE quota IN ACCESS EXCLUSIVE MODE;

-- name: change_quota
-- folder, size and files that it may have.
UPDATE quota SET max_size = $2, max_files = $3 WHERE folder = $1;

-- name: put_quota
-- folder, size and files that it may have.
INSERT INTO quota (folder, max_size, max_files) VALUES ($1, $2, $3)
ON CONFLICT (folder) DO UPDATE SET max_size = excluded.max_size, max_files = excluded.max_files;

-- name: delete_quota
-- folder.
DELETE FROM quota WHERE folder = $1;

-- name: add_usage
-- folders in order, what is added to the size and the files of each. See functions.sql.
SELECT add_usage($1, $2, $3);

-- name: mend_usage
-- folder, the number of the last count, what is added to its size and its files.
UPDATE quota SET size = size + $3, files = files + $4, counted = counted + 1
WHERE folder = $1 AND counted = $2;

-- name: usage_in
-- The least name, the least behind all of them. What the files in between come to.
SELECT coalesce(sum(size), 0)::bigint AS size, count(*) AS files
FROM entry WHERE name >= $1 AND name < $2 AND manifest IS NOT NULL;
