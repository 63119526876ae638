-- As distribution.sql, for the tables that are new in schema version 5.
SELECT create_distributed_table('upload_pack', 'upload', colocate_with => 'upload');
SELECT create_distributed_table('subtree', 'manifest', colocate_with => 'manifest');
