-- The queries of segments.

-- name: add_segment
-- Publish a segment. It may be there already: one of many chunks is published in steps.
INSERT INTO segment (id, size, created) VALUES (:id, :size, :now) ON CONFLICT (id) DO NOTHING;

-- name: needed_segments
-- Those that chunks are in.
SELECT id FROM segment WHERE EXISTS (SELECT 1 FROM chunk WHERE chunk.segment = segment.id);

-- name: segment_ids
-- Those that are not condemned.
SELECT id FROM segment WHERE NOT condemned;

-- name: condemned_segments
SELECT id FROM segment WHERE condemned;

-- name: unused_segments
-- Segments that no chunk is in.
SELECT id FROM segment WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.segment = segment.id);

-- name: condemn_segment
UPDATE segment SET condemned = 1
WHERE id = :id AND NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.segment = segment.id);

-- name: mark_segment
-- Mark some chunks of a segment that has no file as damaged, so that the next upload repairs them.
UPDATE chunk SET damaged = 1
WHERE id IN (SELECT id FROM chunk WHERE segment = :id AND NOT damaged LIMIT :count);

-- name: delete_condemned_segment
DELETE FROM segment WHERE id = :id AND condemned;

-- name: segment_uses
-- What was written to each segment, and what of it is still a chunk's: of `:count`, after `:after`.
SELECT used.id, used.size, count(chunk.id) AS chunks, coalesce(sum(chunk.stored_size), 0) AS live
FROM (SELECT id, size FROM segment WHERE NOT condemned AND id > :after ORDER BY id LIMIT :count)
    AS used
LEFT JOIN chunk ON chunk.segment = used.id
GROUP BY used.id ORDER BY used.id;

-- name: chunks_of_segment
-- After the row `:after`, in order of their rows; the caller stops when it has enough.
SELECT id, digest, size, codec, stored_size, segment, segment_row FROM chunk
WHERE segment = :segment AND segment_row > :after AND NOT damaged
ORDER BY segment_row;

-- name: move_chunk
-- Note where the bytes of a chunk were copied to, if they are still where they were copied from.
UPDATE chunk SET segment = :segment, segment_row = :segment_row
WHERE id = :id AND segment = :old_segment AND segment_row = :old_row;
