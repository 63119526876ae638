-- From schema version 5 to 6, once there is the table of preparation-5.sql.
CREATE INDEX record_by_owner ON record (kind, owner, key);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

-- Whose an upload is.
ALTER TABLE upload ADD COLUMN owner text NOT NULL DEFAULT '';
