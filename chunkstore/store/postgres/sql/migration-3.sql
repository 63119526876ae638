-- From schema version 3 to 4.

-- What came of a file that was put in one statement, whose answer may be lost.
ALTER TABLE receipt ADD COLUMN replaced boolean;
ALTER TABLE receipt ADD COLUMN file_created bigint;
ALTER TABLE receipt ADD COLUMN stored bytea[];
