-- The queries on write locks. Parameters are named; one that has expired by `now` is none.

-- name: has_locks
SELECT EXISTS (SELECT 1 FROM lock);

-- name: locks
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE expires > :now ORDER BY root, token;

-- name: locks_at
-- Those rooted at one of the paths, an array in JSON.
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE root IN (SELECT value FROM json_each(:roots)) AND expires > :now
ORDER BY root, token;

-- name: locks_below
-- The first of those rooted in a range of paths.
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE root >= :start AND root < :stop AND expires > :now
ORDER BY root LIMIT :count;

-- name: find_lock
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE token = :token AND expires > :now;

-- name: count_locks
-- All, when those that have expired are deleted.
SELECT count(*) FROM lock;

-- name: count_locks_of
-- Likewise those of a principal.
SELECT count(*) FROM lock WHERE principal = :principal;

-- name: put_lock
INSERT INTO lock (token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires)
VALUES (:token, :root, :is_folder, :is_deep, :is_exclusive, :owner, :principal, :seconds, :expires);

-- name: extend_lock
UPDATE lock SET seconds = :seconds, expires = :expires WHERE token = :token AND expires > :now;

-- name: delete_lock
DELETE FROM lock WHERE token = :token;

-- name: delete_locks_at
DELETE FROM lock WHERE root = :root;

-- name: delete_locks_in_place
-- Those of what had a path, if that is a folder now and was none, or was one and is none.
DELETE FROM lock WHERE root = :root AND is_folder <> :is_folder;

-- name: delete_locks_below
DELETE FROM lock WHERE root >= :start AND root < :stop;

-- name: delete_expired_locks
DELETE FROM lock WHERE expires <= :now;
