-- The table that is new in schema version 6.
CREATE TABLE record (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    value text NOT NULL,
    revision bigint NOT NULL,
    expires bigint,
    PRIMARY KEY (kind, key)
);
