-- The queries on quotas. Parameters are named.

-- name: quotas
-- Those of which it is known what is used.
SELECT folder, max_size, max_files, size, files FROM quota WHERE counted > 0 ORDER BY folder;

-- name: quota_folders
SELECT folder FROM quota;

-- name: find_quota
SELECT folder, max_size, max_files, size, files, counted FROM quota WHERE folder = :folder;

-- name: put_quota
INSERT INTO quota (folder, max_size, max_files) VALUES (:folder, :max_size, :max_files)
ON CONFLICT (folder) DO UPDATE SET max_size = excluded.max_size, max_files = excluded.max_files;

-- name: delete_quota
DELETE FROM quota WHERE folder = :folder;

-- name: add_usage
-- What uses less is always allowed, and everything until it is counted what is used.
UPDATE quota SET size = size + :size, files = files + :files
WHERE folder = :folder
  AND (counted = 0
       OR (:size <= 0 OR max_size IS NULL OR size + :size <= max_size)
          AND (:files <= 0 OR max_files IS NULL OR files + :files <= max_files));

-- name: mend_usage
-- Unless another count came first.
UPDATE quota SET size = size + :size, files = files + :files, counted = counted + 1
WHERE folder = :folder AND counted = :counted;

-- name: usage_in
-- What the files in a range of names come to, none of which is hidden.
SELECT coalesce(sum(manifest.size), 0) AS size, count(*) AS files
FROM file LEFT JOIN manifest ON manifest.id = file.manifest
WHERE file.name >= :start AND file.name < :stop;
