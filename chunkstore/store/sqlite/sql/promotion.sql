-- What makes a backup whose names are changed a store of its own, in the same transaction.
-- TEMP: of the connection that writes, and for as long as it is open.
-- A large folder is changed by hiding it; what becomes of its names while it is hidden is the rest
-- of that, or of what was under way in the store when it was backed up.

CREATE TEMP TRIGGER promote_by_new_file AFTER INSERT ON main.file
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND new.name >= prefix AND new.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_changed_file AFTER UPDATE ON main.file
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND new.name >= prefix AND new.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_deleted_file AFTER DELETE ON main.file
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND old.name >= prefix AND old.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_new_folder AFTER INSERT ON main.folder
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND new.name >= prefix AND new.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_changed_folder AFTER UPDATE ON main.folder
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND new.name >= prefix AND new.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_deleted_folder AFTER DELETE ON main.folder
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND old.name >= prefix AND old.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_new_folder_change AFTER INSERT ON main.folder_change
WHEN new.hidden = 1
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

CREATE TEMP TRIGGER promote_by_changed_folder_change AFTER UPDATE ON main.folder_change
WHEN new.hidden = 1
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;
