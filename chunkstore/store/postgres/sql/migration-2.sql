-- From schema version 2 to 3: functions are made anew by every migration, and this one is not used.
DROP FUNCTION IF EXISTS store_chunks(bytea[], integer[], integer[], smallint[], bytea[], bigint);
