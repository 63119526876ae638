-- The queries on the audit log. Parameters are named.

-- name: add_audit
INSERT INTO audit (id, time, actor, via, action, name, address, request, detail)
VALUES (:id, :time, :actor, :via, :action, :name, :address, :request, :detail);

-- name: last_audit
-- The time of the last entry.
SELECT max(time) FROM audit;

-- name: list_audit
-- Those behind one of a time and an id, before `:until`; NULL or an empty name leave all.
SELECT id, time, actor, via, action, name, address, request, detail FROM audit
WHERE (time, id) > (:time, :id) AND time < :until
  AND (:actor IS NULL OR actor = :actor) AND (:action IS NULL OR action = :action)
  AND (substr(name, 1, length(:name)) = :name
       OR substr(json_extract(detail, '$.to'), 1, length(:name)) = :name)
ORDER BY time, id LIMIT :most;

-- name: delete_audit
DELETE FROM audit
WHERE (time, id) IN (SELECT time, id FROM audit WHERE time < :until ORDER BY time LIMIT :count);
