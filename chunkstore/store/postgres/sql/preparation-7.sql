-- The table that is new in schema version 8.
CREATE TABLE lock (
    token text COLLATE "C" PRIMARY KEY,
    root text COLLATE "C" NOT NULL,
    is_folder boolean NOT NULL,
    is_deep boolean NOT NULL,
    is_exclusive boolean NOT NULL,
    owner text NOT NULL,
    principal text NOT NULL,
    seconds integer NOT NULL,
    expires bigint NOT NULL
);
