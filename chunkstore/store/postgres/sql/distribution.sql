-- On Citus, which spreads tables over machines by a hash of the column named. Those of one group
-- have equal values on the same machine. What is small and read by all is on each of them.
SELECT create_reference_table('setting');
SELECT create_reference_table('server');
SELECT create_reference_table('record');
SELECT create_reference_table('quota');
SELECT create_reference_table('lock');
SELECT create_distributed_table('chunk', 'digest');
SELECT create_distributed_table('chunk_data', 'digest', colocate_with => 'chunk');
SELECT create_distributed_table('chunk_ref', 'digest', colocate_with => 'chunk');
SELECT create_distributed_table('manifest', 'id', colocate_with => 'none');
SELECT create_distributed_table('place', 'manifest', colocate_with => 'manifest');
SELECT create_distributed_table('damaged_list', 'digest', colocate_with => 'chunk');
SELECT create_distributed_table('entry', 'path', colocate_with => 'none');
SELECT create_distributed_table('vacated', 'path', colocate_with => 'entry');
SELECT create_distributed_table('upload', 'id', colocate_with => 'none');
SELECT create_distributed_table('upload_part', 'upload', colocate_with => 'upload');
SELECT create_distributed_table('upload_pack', 'upload', colocate_with => 'upload');
SELECT create_distributed_table('subtree', 'manifest', colocate_with => 'manifest');
SELECT create_distributed_table('checksum', 'manifest', colocate_with => 'manifest');
SELECT create_distributed_table('unfinished', 'slot', colocate_with => 'none');
SELECT create_distributed_table('receipt', 'id', colocate_with => 'none');
SELECT create_distributed_table('audit', 'id', colocate_with => 'none');
