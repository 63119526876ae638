-- Foreign keys, added when the tables lie where they stay.
ALTER TABLE chunk_data ADD CONSTRAINT chunk_data_of_chunk
    FOREIGN KEY (digest) REFERENCES chunk (digest) ON DELETE CASCADE;
-- This is what keeps a chunk from being collected between being relied on and being referenced.
ALTER TABLE chunk_ref ADD CONSTRAINT chunk_ref_of_chunk
    FOREIGN KEY (digest) REFERENCES chunk (digest);
ALTER TABLE place ADD CONSTRAINT place_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;
ALTER TABLE upload_part ADD CONSTRAINT upload_part_of_upload
    FOREIGN KEY (upload) REFERENCES upload (id) ON DELETE CASCADE;
ALTER TABLE subtree ADD CONSTRAINT subtree_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;
ALTER TABLE checksum ADD CONSTRAINT checksum_of_manifest
    FOREIGN KEY (manifest) REFERENCES manifest (id) ON DELETE CASCADE;
