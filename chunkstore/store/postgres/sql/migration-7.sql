-- From schema version 7 to 8, once there is the table of preparation-7.sql.
CREATE INDEX lock_by_root ON lock (root);
CREATE INDEX lock_by_expiry ON lock (expires);
-- What clients keep with a name.
ALTER TABLE entry ADD COLUMN properties bytea;
