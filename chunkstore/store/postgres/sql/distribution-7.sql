-- As distribution.sql, for the table that is new in schema version 8.
SELECT create_reference_table('lock');
