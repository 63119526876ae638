-- How the store is set up, by name: `schema`, `chunk_size` and `id`, and `scrub`, the last report.
CREATE TABLE IF NOT EXISTS setting (
    name text PRIMARY KEY,
    value text NOT NULL
);
