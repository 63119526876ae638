-- From schema version 8 to 9, once there is the table of preparation-8.sql.
ALTER TABLE checksum ADD CONSTRAINT checksum_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;
