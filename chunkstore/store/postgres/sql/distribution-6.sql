-- As distribution.sql, for the tables that are new in schema version 7.
SELECT create_reference_table('quota');
SELECT create_distributed_table('audit', 'id', colocate_with => 'none');
