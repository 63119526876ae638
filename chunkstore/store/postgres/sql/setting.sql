-- How the store is set up, by name: `schema`, `chunk_size` and `id`; `spread` where the tables lie on
-- several machines; `scrub`, the last report; `records`, the revision of the records; and `root`, what
-- is kept with the root folder.
CREATE TABLE IF NOT EXISTS setting (
    name text PRIMARY KEY,
    value text NOT NULL
);
