-- From schema version 2 to 3.

-- Folders that are being copied, moved or removed in steps, for more names lie under them than one
-- transaction should touch. Those from `prefix` up to `stop` cannot change meanwhile; where `hidden`
-- is 1, nobody sees them: they are not there yet, or not any more.
CREATE TABLE folder_change (
    prefix TEXT PRIMARY KEY,
    stop ANY NOT NULL,
    hidden INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Uploads: the digest of a whole one that has been read, why one can never become its file, and
-- what an unfinished one counts for, which is a chunk at least.
ALTER TABLE upload ADD COLUMN known_digest BLOB CHECK (length(known_digest) = 32);
ALTER TABLE upload ADD COLUMN failure TEXT;
ALTER TABLE upload ADD COLUMN unfinished INTEGER AS (digest IS NULL AND failure IS NULL AND NOT used);
UPDATE upload SET extent = max(extent, (SELECT chunk_size FROM manifest WHERE id = upload.manifest))
WHERE manifest IS NOT NULL;

-- What all unfinished uploads come to: one row, which the triggers below keep.
CREATE TABLE unfinished (
    size INTEGER NOT NULL,
    empty INTEGER NOT NULL,
    concatenations INTEGER NOT NULL
) STRICT;
INSERT INTO unfinished
SELECT coalesce(sum(CASE WHEN kind != 'concatenation' THEN extent END), 0),
       count(CASE WHEN kind != 'concatenation' AND received = 0 THEN 1 END),
       count(CASE WHEN kind = 'concatenation' THEN 1 END)
FROM upload WHERE unfinished;
CREATE TRIGGER unfinished_more AFTER INSERT ON upload WHEN NEW.unfinished BEGIN
    UPDATE unfinished SET
        size = size + (NEW.kind != 'concatenation') * NEW.extent,
        empty = empty + (NEW.kind != 'concatenation' AND NEW.received = 0),
        concatenations = concatenations + (NEW.kind = 'concatenation');
END;
CREATE TRIGGER unfinished_less AFTER DELETE ON upload WHEN OLD.unfinished BEGIN
    UPDATE unfinished SET
        size = size - (OLD.kind != 'concatenation') * OLD.extent,
        empty = empty - (OLD.kind != 'concatenation' AND OLD.received = 0),
        concatenations = concatenations - (OLD.kind = 'concatenation');
END;
CREATE TRIGGER unfinished_changed AFTER UPDATE ON upload
WHEN (OLD.unfinished, OLD.extent, OLD.received) != (NEW.unfinished, NEW.extent, NEW.received) BEGIN
    UPDATE unfinished SET
        size = size + (NEW.kind != 'concatenation')
            * (NEW.unfinished * NEW.extent - OLD.unfinished * OLD.extent),
        empty = empty + (NEW.kind != 'concatenation')
            * (NEW.unfinished * (NEW.received = 0) - OLD.unfinished * (OLD.received = 0)),
        concatenations = concatenations
            + (NEW.kind = 'concatenation') * (NEW.unfinished - OLD.unfinished);
END;
