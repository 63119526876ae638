-- As distribution.sql, for the table that is new in schema version 9.
SELECT create_distributed_table('checksum', 'manifest', colocate_with => 'manifest');
