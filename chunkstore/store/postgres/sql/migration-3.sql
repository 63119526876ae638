-- From schema version 3 to 4: functions, which every migration makes anew.
SELECT;
