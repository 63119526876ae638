-- From schema version 5 to 6.

-- Accounts, groups, rules, tokens and the like are records.
CREATE TABLE record (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_owner ON record (kind, owner, key);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

-- Whose an upload is.
ALTER TABLE upload ADD COLUMN owner TEXT NOT NULL DEFAULT '';
