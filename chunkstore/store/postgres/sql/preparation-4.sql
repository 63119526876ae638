-- The tables that are new in schema version 5.
CREATE TABLE upload_pack (
    upload text NOT NULL,
    manifest bigint NOT NULL,
    PRIMARY KEY (upload, manifest)
);
CREATE TABLE subtree (
    manifest bigint NOT NULL,
    start bigint NOT NULL,
    chaining_values bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, start)
);
ALTER TABLE subtree ALTER COLUMN chaining_values SET STORAGE EXTERNAL;
