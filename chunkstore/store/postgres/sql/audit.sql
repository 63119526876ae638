-- The queries on the audit log. Parameters are given by place.
--
-- The time of an entry is the database's, and is taken while its transaction has a lock on the table. So
-- no entry can come any more that is older than all transactions which have one, and than now.

-- name: add_audit
-- id, microseconds after now, actor, via, action, name, address, request, detail.
INSERT INTO audit (id, time, actor, via, action, name, address, request, detail)
VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2, $3, $4, $5, $6, $7, $8, $9);

-- name: audit_settled
-- The time before which no entry comes any more, in microseconds; 0 if nobody can tell, as of a
-- transaction of another user's. The entries themselves are to be read by a later statement.
SELECT (extract(epoch FROM least(
    statement_timestamp(),
    (SELECT min(coalesce(activity.xact_start, 'epoch'))
     FROM pg_locks LEFT JOIN pg_stat_activity AS activity ON activity.pid = pg_locks.pid
     WHERE pg_locks.relation = 'audit'::regclass AND pg_locks.mode = 'RowExclusiveLock'
       AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
)) * 1000000)::bigint;

-- name: list_audit
-- Time and id behind which, time before which, actor, action, what the name begins with, how many at
-- most; NULL or an empty name leave all.
SELECT id, time, actor, via, action, name, address, request, detail FROM audit
WHERE (time, id) > ($1, $2) AND time < $3
  AND ($4::text IS NULL OR actor = $4) AND ($5::text IS NULL OR action = $5)
  AND (starts_with(name, $6) OR starts_with(detail::json ->> 'to', $6))
ORDER BY time, id LIMIT $7;

-- name: delete_audit
-- Time before which.
DELETE FROM audit WHERE time < $1;
