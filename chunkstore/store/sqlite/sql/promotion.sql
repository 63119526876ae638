-- Templates of the triggers that make a backup whose names are changed a store of its own, in the
-- same transaction. TEMP: they belong to the connection that writes, and end with it.

-- name: changed_name
-- A hidden folder is excepted: its names change as the rest of a change that has hidden it, or that
-- the store had not completed when it was backed up.
CREATE TEMP TRIGGER promote_on_{event}_{table} AFTER {event} ON main.{table}
WHEN NOT EXISTS (
    SELECT 1 FROM folder_change
    WHERE hidden = 1 AND {row}.name >= prefix AND {row}.name < stop)
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

-- name: changed_root
-- What is kept with the root folder.
CREATE TEMP TRIGGER promote_on_{event}_setting AFTER {event} ON main.setting
WHEN NEW.name = 'root'
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;

-- name: hidden_folder
CREATE TEMP TRIGGER promote_on_{event}_folder_change AFTER {event} ON main.folder_change
WHEN NEW.hidden = 1
BEGIN
    DELETE FROM setting WHERE name = 'backup_of';
    SELECT note_name_change();
END;
