-- How the store is set up, by name: `schema`, `chunk_size` and `id`; `spread` where the tables lie on
-- several machines; and `scrub`, the last report.
CREATE TABLE IF NOT EXISTS setting (
    name text PRIMARY KEY,
    value text NOT NULL
);
