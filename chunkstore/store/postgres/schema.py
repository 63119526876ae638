"""Creating, recognising and migrating the tables.

Any number of servers may start at the same moment: all of it is one transaction, which holds the
table of settings to itself.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import asyncpg

from chunkstore.core.errors import NewerSchema, NotAStore, StoreUnusable
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.list_conversion import convert_lists
from chunkstore.store.postgres.rows import PACKAGE, QUERIES
from chunkstore.store.shared.queries import load_queries, load_script

_logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 9
OLDEST_SERVER: Final = 140000
# From a version to the next: the statements that lead there.
MIGRATIONS: Final[Mapping[int, str]] = {
    version: load_script(PACKAGE, f"migration-{version}.sql")
    for version in range(1, SCHEMA_VERSION)
}


class _Preparation(Protocol):
    async def __call__(self, db: Connection, *, distributed: bool) -> None: ...


async def _create_new_tables(db: Connection, *, distributed: bool, version: int) -> None:
    """Create the tables that are new after a version, where they stay."""
    await _run_one_by_one(db, _SCRIPTS[f"preparation-{version}"])
    if distributed:
        await _run_one_by_one(db, _SCRIPTS[f"distribution-{version}"])


# What goes before these statements, in the same transaction.
_PREPARATIONS: Final[Mapping[int, _Preparation]] = {
    3: convert_lists,
    4: partial(_create_new_tables, version=4),
    5: partial(_create_new_tables, version=5),
    6: partial(_create_new_tables, version=6),
    7: partial(_create_new_tables, version=7),
    8: partial(_create_new_tables, version=8),
}
_PARTITIONED: Final = ") PARTITION BY HASH (digest);"
# Here, because the event loop must not wait for files.
_SCRIPTS: Final[Mapping[str, str]] = {
    name: load_script(PACKAGE, f"{name}.sql")
    for name in (
        "setting",
        "schema",
        "partitions",
        "distribution",
        "references",
        "preparation-4",
        "distribution-4",
        "preparation-5",
        "distribution-5",
        "preparation-6",
        "distribution-6",
        "preparation-7",
        "distribution-7",
        "preparation-8",
        "distribution-8",
    )
}
_FUNCTIONS: Final[Mapping[str, str]] = load_queries(PACKAGE, "functions.sql") | load_queries(
    PACKAGE, "by_digest.sql"
)
# Where the tables are spread over machines, these instead of those of the same names.
_FUNCTIONS_SPREAD: Final[Mapping[str, str]] = load_queries(PACKAGE, "by_digest_spread.sql")


class _CreatedByAnother(StoreUnusable):
    """Another server created the tables at the same moment."""


async def check(db: Connection, known: int = SCHEMA_VERSION) -> int:
    """Return the version of the tables, 0 if there are none.

    Raises:
        NotAStore: there are others of the same names.
        NewerSchema: they are newer than the version that is `known`.
        StoreUnusable: the database server is too old.
    """
    if int(await db.fetchval("SHOW server_version_num")) < OLDEST_SERVER:
        raise StoreUnusable("PostgreSQL 14 or later is needed.")
    if await db.fetchval("SELECT to_regclass('setting')") is None:
        return 0
    try:
        found = await db.fetchval(QUERIES["find_setting"], "schema")
    except asyncpg.UndefinedColumnError as error:
        raise NotAStore("There is a table `setting` of another program.") from error
    if found is None:
        raise NotAStore("There is a table `setting` of another program.")
    version = int(found)
    if version > known:
        raise NewerSchema(
            f"Its schema has version {version} and this program knows {known};"
            " a newer chunkstore is needed to open it."
        )
    return version


async def require_current(db: Connection) -> None:
    """Make sure that nothing is to be created or migrated.

    Raises:
        StoreUnusable: something is; or as `check`.
    """
    version = await check(db)
    if version != SCHEMA_VERSION:
        raise StoreUnusable(
            "It is empty."
            if version == 0
            else "Its schema is old: `chunkstore init --db` on it migrates it."
        )


async def prepare(
    database: Database,
    *,
    distributed: bool = False,
    target: int = SCHEMA_VERSION,
    migrations: Mapping[int, str] = MIGRATIONS,
) -> None:
    """Bring the tables to schema `target`; new ones are spread over machines if `distributed`.

    Raises:
        NotAStore, NewerSchema: as `check`.
        StoreUnusable: as `check`, or there are tables already that would have to be distributed.
    """
    prepare_once = partial(_prepare, distributed=distributed, target=target, migrations=migrations)
    try:
        migrated_from = await database.write(prepare_once)
    except _CreatedByAnother:
        migrated_from = await database.write(prepare_once)
    if migrated_from is not None:
        _logger.warning(
            "The database was migrated from schema version %d to %d.", migrated_from, target
        )


async def create_distributed(url: str) -> None:
    """Create the tables in the database at `url`, spread over the machines of Citus.

    Raises:
        StoreUnusable: Citus is not there, or there are tables already.
    """
    database = await Database.open(url, connections=1)
    try:
        await prepare(database, distributed=True)
    finally:
        await database.close()


async def _prepare(
    db: Connection, distributed: bool, target: int, migrations: Mapping[int, str]
) -> int | None:
    """Do the work of `prepare`; return the version that the tables had if they were migrated."""
    version = await check(db, target)
    if version == target and not distributed:
        return None
    if version == 0:
        await _create(db, distributed=distributed, target=target)
        return None
    if distributed:
        raise StoreUnusable("There are tables already; only new ones can be distributed.")
    await db.execute("LOCK TABLE setting IN ACCESS EXCLUSIVE MODE")
    await _create_functions(db, distributed=await is_spread(db))
    # Another server may have migrated them while this one waited for the lock.
    version = await check(db, target)
    for step in range(version, target):
        if step in _PREPARATIONS:
            await _PREPARATIONS[step](db, distributed=await is_spread(db))
        await _run_one_by_one(db, migrations[step])
    if not await is_spread(db):
        await _plan_functions_once(db)
    await db.execute(QUERIES["put_setting"], "schema", str(target))
    return version if version < target else None


async def _create(db: Connection, *, distributed: bool, target: int) -> None:
    try:
        await db.execute(_SCRIPTS["setting"])
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError) as error:
        # IF NOT EXISTS does not see what another transaction is about to commit.
        raise _CreatedByAnother from error
    await db.execute("LOCK TABLE setting IN ACCESS EXCLUSIVE MODE")
    if await db.fetchval(QUERIES["find_setting"], "schema") is not None:
        # Another server was faster.
        return
    await _create_functions(db, distributed=distributed)
    tables = _SCRIPTS["schema"]
    if distributed:
        await _require_citus(db)
        for script in (tables.replace(_PARTITIONED, ");"), _SCRIPTS["distribution"]):
            await _run_one_by_one(db, script)
        await db.execute(QUERIES["add_setting"], "spread", "yes")
    else:
        await db.execute(tables)
        await db.execute(_SCRIPTS["partitions"])
        await _plan_functions_once(db)
    await _run_one_by_one(db, _SCRIPTS["references"])
    await db.execute(QUERIES["put_setting"], "schema", str(target))
    await db.execute(QUERIES["add_setting"], "id", secrets.token_hex(16))


async def _run_one_by_one(db: Connection, script: str) -> None:
    """Run the statements of a script; Citus passes on one at a time only."""
    for statement in script.split(";\n"):
        if statement.strip():
            await db.execute(statement, timeout=LONG_SECONDS)


async def _create_functions(db: Connection, *, distributed: bool) -> None:
    """Create the functions, before the tables: Citus does not take them after what it spreads.

    Those of an older version are dropped, because what they take and return may be other than now.
    """
    for (old,) in await db.fetch(QUERIES["functions_named"], list(_FUNCTIONS)):
        await db.execute(f"DROP FUNCTION {old}")
    functions = {**_FUNCTIONS, **(_FUNCTIONS_SPREAD if distributed else {})}
    for function in functions.values():
        await db.execute(function)


async def _plan_functions_once(db: Connection) -> None:
    """Have the statements of functions keep one plan, where all tables are on one machine.

    They find rows by their keys. To plan that anew each time, for tables in parts, takes longer
    than to do it. Citus has to, because it plans by the values.
    """
    for name in _FUNCTIONS:
        await db.execute(f"ALTER FUNCTION {name} SET plan_cache_mode = force_generic_plan")


async def is_spread(db: Connection) -> bool:
    """Whether the tables are spread over machines."""
    return await db.fetchval(QUERIES["find_setting"], "spread") is not None


async def _require_citus(db: Connection) -> None:
    if await db.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'citus'") is None:
        raise StoreUnusable(
            "Tables can be distributed where the extension citus is: CREATE EXTENSION citus."
        )
