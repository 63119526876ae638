-- The tables that are new in schema version 7.
CREATE TABLE quota (
    folder text COLLATE "C" PRIMARY KEY CHECK (folder = '' OR folder LIKE '%_/'),
    max_size bigint,
    max_files bigint,
    size bigint NOT NULL DEFAULT 0,
    files bigint NOT NULL DEFAULT 0,
    counted bigint NOT NULL DEFAULT 0
);
CREATE TABLE audit (
    id bigint PRIMARY KEY,
    time bigint NOT NULL,
    actor text NOT NULL,
    via text NOT NULL,
    action text NOT NULL,
    name text COLLATE "C" NOT NULL,
    address text NOT NULL,
    request text NOT NULL,
    detail text NOT NULL
);
