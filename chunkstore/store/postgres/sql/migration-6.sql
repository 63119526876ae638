-- From schema version 6 to 7, once there are the tables of preparation-6.sql.
CREATE INDEX audit_by_time ON audit (time, id);
