-- Queries on chaining values, in pages. See queries.sql.

-- name: find_subtrees
-- manifest, offset, how many at most.
SELECT start, chaining_values, tie FROM subtree
WHERE manifest = $1 AND start >= $2
ORDER BY start LIMIT $3;

-- name: keep_list
-- manifest. Keeps it until the transaction ends, if it is there.
SELECT 1 FROM manifest WHERE id = $1 FOR KEY SHARE;

-- name: put_subtrees
-- manifest; starts, values and ties of pages.
INSERT INTO subtree (manifest, start, chaining_values, tie)
SELECT $1, new.start, new.chaining_values, new.tie
FROM unnest($2::bigint[], $3::bytea[], $4::bigint[]) AS new (start, chaining_values, tie)
ON CONFLICT (manifest, start) DO UPDATE SET
    chaining_values = excluded.chaining_values, tie = excluded.tie;

-- name: last_subtrees
-- manifest, how many at most. Where its last pages begin.
SELECT start FROM subtree WHERE manifest = $1 ORDER BY start DESC LIMIT $2;

-- name: shorten_subtrees
-- manifest, offset. Removes the pages from there on.
DELETE FROM subtree WHERE manifest = $1 AND start >= $2;
