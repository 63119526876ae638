-- Queries on chaining values, in pages. See queries.sql.

-- name: find_subtrees
SELECT start, chaining_values, tie FROM subtree
WHERE manifest = :manifest AND start >= :start
ORDER BY start LIMIT :count;

-- name: put_subtrees
-- The list may be gone.
INSERT INTO subtree (manifest, start, chaining_values, tie)
SELECT id, :start, :chaining_values, :tie FROM manifest WHERE id = :manifest
ON CONFLICT (manifest, start) DO UPDATE SET
    chaining_values = excluded.chaining_values, tie = excluded.tie;

-- name: drop_subtrees
-- Remove the last pages of a list, at most `:most`.
DELETE FROM subtree
WHERE manifest = :manifest
  AND start >= (SELECT min(start) FROM (
      SELECT start FROM subtree WHERE manifest = :manifest ORDER BY start DESC LIMIT :most));

-- name: shorten_open_subtrees
-- Likewise of an open manifest that no upload holds as a pack.
DELETE FROM subtree
WHERE manifest = (
    SELECT id FROM manifest
    WHERE id = :manifest AND digest IS NULL
      AND NOT EXISTS (SELECT 1 FROM upload_pack WHERE upload_pack.manifest = manifest.id))
  AND start >= (SELECT min(start) FROM (
      SELECT start FROM subtree WHERE manifest = :manifest ORDER BY start DESC LIMIT :most));
