-- The queries on the audit log. Parameters are given by place.

-- name: add_audit
-- id, time, actor, via, action, name, address, request, detail.
INSERT INTO audit (id, time, actor, via, action, name, address, request, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

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
