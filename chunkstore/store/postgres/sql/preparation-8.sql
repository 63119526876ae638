-- The table that is new in schema version 9.
CREATE TABLE checksum (
    manifest bigint NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    tie bigint NOT NULL,
    PRIMARY KEY (manifest, algorithm)
);
