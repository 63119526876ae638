-- Folders whose rows may be of no use any more, so that a collection looks at these only. Each that
-- exists only by what lies in it is looked at once.
CREATE TABLE vacated (
    path text COLLATE "C" NOT NULL,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (path, mark)
);
INSERT INTO vacated (path) SELECT path FROM entry WHERE manifest IS NULL AND NOT made;
DROP INDEX entry_implied;
