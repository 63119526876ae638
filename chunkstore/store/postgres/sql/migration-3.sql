-- From schema version 3 to 4, once `list_conversion` has filled `place` and what proves it.

-- Chunk lists say at which offset a chunk begins, and prove themselves.
DROP TABLE manifest_chunk;
ALTER TABLE manifest DROP CONSTRAINT manifest_check;
ALTER TABLE manifest ADD CONSTRAINT manifest_check CHECK ((digest IS NULL) = (list IS NULL));
ALTER TABLE place ADD CONSTRAINT place_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;

-- Concatenations join their parts at any offset now; those under way begin anew.
UPDATE upload SET received = 0, tail = ''
WHERE kind = 'concatenation' AND digest IS NULL AND failure IS NULL AND NOT whole;

-- What came of a file that was put in one statement, whose answer may be lost.
ALTER TABLE receipt ADD COLUMN replaced boolean;
ALTER TABLE receipt ADD COLUMN file_created bigint;
ALTER TABLE receipt ADD COLUMN stored bytea[];
