-- From schema version 4 to 5, once there are the tables of preparation-4.sql.

-- Uploads may be sent chunks in packs, and refer to chunks that the store has.
ALTER TABLE upload ADD COLUMN spared bigint NOT NULL DEFAULT 0;
ALTER TABLE upload ADD COLUMN bases text NOT NULL DEFAULT '[]';
ALTER TABLE upload ADD COLUMN chunking text NOT NULL DEFAULT 'fixed';
ALTER TABLE subtree ADD CONSTRAINT subtree_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;
