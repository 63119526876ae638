-- What notes the names that a transaction changes, so that they can be told before it is committed.
-- TEMP: it belongs to the connection that writes, and ends with it.

-- name: create_table
-- NULL stands for all names.
CREATE TEMP TABLE changed_name (name TEXT);

-- name: note_added_file
CREATE TEMP TRIGGER note_added_file AFTER INSERT ON main.file
BEGIN
    INSERT INTO changed_name (name) VALUES (NEW.name);
END;

-- name: note_changed_file
CREATE TEMP TRIGGER note_changed_file AFTER UPDATE ON main.file
BEGIN
    INSERT INTO changed_name (name) VALUES (OLD.name), (NEW.name);
END;

-- name: note_deleted_file
CREATE TEMP TRIGGER note_deleted_file AFTER DELETE ON main.file
BEGIN
    INSERT INTO changed_name (name) VALUES (OLD.name);
END;

-- name: note_added_folder_change
-- It hides or shows any number of names, as the next two do.
CREATE TEMP TRIGGER note_added_folder_change AFTER INSERT ON main.folder_change
BEGIN
    INSERT INTO changed_name (name) VALUES (NULL);
END;

-- name: note_changed_folder_change
CREATE TEMP TRIGGER note_changed_folder_change AFTER UPDATE ON main.folder_change
BEGIN
    INSERT INTO changed_name (name) VALUES (NULL);
END;

-- name: note_deleted_folder_change
CREATE TEMP TRIGGER note_deleted_folder_change AFTER DELETE ON main.folder_change
BEGIN
    INSERT INTO changed_name (name) VALUES (NULL);
END;
