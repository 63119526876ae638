-- From schema version 1 to 2.

-- Folders whose rows may be of no use any more, so that a collection looks at these only. Each that
-- exists only by what lies in it is looked at once.
CREATE TABLE vacated (
    path text COLLATE "C" NOT NULL,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (path, mark)
);
INSERT INTO vacated (path) SELECT path FROM entry WHERE manifest IS NULL AND NOT made;
DROP INDEX entry_implied;

-- Uploads: the digest of a whole one that has been read, why one can never become its file, and
-- what all unfinished ones come to, of which each counts for a chunk at least.
ALTER TABLE upload ADD COLUMN known_digest bytea CHECK (octet_length(known_digest) = 32);
ALTER TABLE upload ADD COLUMN failure text;
UPDATE upload SET extent = greatest(extent, chunk_size) WHERE digest IS NULL;
CREATE TABLE unfinished (
    slot smallint PRIMARY KEY,
    size bigint NOT NULL,
    empty bigint NOT NULL,
    concatenations bigint NOT NULL
);
INSERT INTO unfinished (slot, size, empty, concatenations)
SELECT 0,
       coalesce(sum(extent) FILTER (WHERE kind <> 'concatenation'), 0),
       count(*) FILTER (WHERE kind <> 'concatenation' AND received = 0),
       count(*) FILTER (WHERE kind = 'concatenation')
FROM upload WHERE digest IS NULL AND NOT used;
