-- On one machine the tables of chunks are split by digest: no relation grows beyond 32 TB, and each
-- part is vacuumed by itself.
DO $$
DECLARE
    name text;
BEGIN
    FOR part IN 0..15 LOOP
        FOR name IN SELECT unnest(ARRAY['chunk', 'chunk_data', 'chunk_ref']) LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
                name || '_' || part, name, part);
        END LOOP;
    END LOOP;
END
$$;
