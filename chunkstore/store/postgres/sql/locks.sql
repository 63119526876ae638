-- The queries on write locks. Parameters are given by place. One that has expired is none; times are
-- those of the database's clock. The row without a token stands for the root folder (see locks.py).

-- name: first_lock
-- A row, if there is one.
SELECT token FROM lock LIMIT 1;

-- name: first_token
-- That of a lock, expired or not, if there is one.
SELECT token FROM lock WHERE token <> '' LIMIT 1;

-- name: locks
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
ORDER BY root, token;

-- name: locks_at
-- roots. Those rooted there.
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock
WHERE root = ANY ($1::text[]) AND expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
ORDER BY root, token;

-- name: locks_below
-- The range of the roots, how many at most.
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock
WHERE root >= $1 AND root < $2
  AND expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
ORDER BY root LIMIT $3;

-- name: find_lock
-- token.
SELECT token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires
FROM lock WHERE token = $1 AND expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: count_locks
-- All, when those that have expired are deleted.
SELECT count(*) FROM lock;

-- name: count_locks_of
-- principal. Likewise its own.
SELECT count(*) FROM lock WHERE principal = $1;

-- name: put_lock
-- All columns, the last of which is its seconds.
INSERT INTO lock (token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::integer,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $8::integer * 1000000::bigint);

-- name: extend_lock
-- token, seconds.
UPDATE lock
SET seconds = $2::integer,
    expires = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2::integer * 1000000::bigint
WHERE token = $1 AND expires > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: delete_lock
-- token.
DELETE FROM lock WHERE token = $1;

-- name: delete_locks_of
-- root, the range of the roots below it.
DELETE FROM lock WHERE token <> '' AND (root = $1 OR (root >= $2 AND root < $3));

-- name: delete_locks_in_place
-- root, whether that is a folder now, the range of the roots below it.
DELETE FROM lock
WHERE token <> '' AND ((root = $1 AND is_folder <> $2) OR (root >= $3 AND root < $4));

-- name: delete_expired_locks
DELETE FROM lock
WHERE token <> '' AND expires <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: keep_root
-- Until the transaction ends, nobody takes a lock on the root folder, or finds that there are no locks.
SELECT 1 FROM lock WHERE token = '' FOR KEY SHARE;

-- name: lock_root
SELECT 1 FROM lock WHERE token = '' FOR UPDATE;

-- name: lock_memberships
-- roots. Those who change which members a folder has come one after the other, where that is locked.
SELECT token FROM lock
WHERE root = ANY ($1::text[]) AND NOT is_deep AND token <> '' ORDER BY token FOR UPDATE;

-- name: lock_writers_out
-- Nobody who keeps the first row changes names any more when this is granted.
LOCK TABLE lock IN EXCLUSIVE MODE;

-- name: lock_locks
-- Nobody who knows of no lock changes names any more when this is granted.
LOCK TABLE lock IN ACCESS EXCLUSIVE MODE;

-- name: put_root
INSERT INTO lock (token, root, is_folder, is_deep, is_exclusive, owner, principal, seconds, expires)
VALUES ('', '', true, false, false, '', '', 0, 0)
ON CONFLICT (token) DO NOTHING;

-- name: delete_root
DELETE FROM lock WHERE token = '' AND NOT EXISTS (SELECT 1 FROM lock WHERE token <> '');

-- name: vacate
-- A path that has a row, perhaps of a folder that does not exist.
INSERT INTO vacated (path) VALUES ($1);
