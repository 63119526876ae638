-- As distribution.sql, for the table that is new in schema version 6.
SELECT create_reference_table('record');
