"""The migration of chunk lists from schema version 3: whole, however often it is interrupted."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
from blake3 import blake3

from chunkstore.core.errors import StoreDamaged
from chunkstore.store.contract.resumable import UploadState
from chunkstore.store.sqlite import list_conversion, schema
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import get, put, scrub

CHUNK_SIZE: Final = 4096
RANDOM: Final = random.Random(3)
LONG: Final = RANDOM.randbytes(40 * CHUNK_SIZE + 7)
SHORT: Final = b"short"
UPLOAD: Final = "u" * 43


def plant(db: sqlite3.Connection, name: str, content: bytes, chunk_size: int = CHUNK_SIZE) -> int:
    """Make a file as version 3 did."""
    manifest = add_list(db, content, chunk_size)
    digest = blake3(content).digest()
    db.execute(
        "UPDATE manifest SET digest = ?, size = ? WHERE id = ?", (digest, len(content), manifest)
    )
    db.execute("INSERT INTO file VALUES (?, ?, 'text/plain', 1, 2)", (name, manifest))
    return manifest


def add_list(db: sqlite3.Connection, content: bytes, chunk_size: int = CHUNK_SIZE) -> int:
    [(manifest,)] = db.execute(
        "INSERT INTO manifest (chunk_size, created) VALUES (?, 1) RETURNING id", (chunk_size,)
    ).fetchall()
    for seq, at in enumerate(range(0, len(content), chunk_size)):
        part = content[at : at + chunk_size]
        digest = blake3(part).digest()
        db.execute(
            "INSERT OR IGNORE INTO chunk (digest, size, stored_size, created) VALUES (?, ?, ?, 1)",
            (digest, len(part), len(part)),
        )
        [(chunk,)] = db.execute("SELECT id FROM chunk WHERE digest = ?", (digest,)).fetchall()
        db.execute("INSERT OR IGNORE INTO chunk_data VALUES (?, ?)", (chunk, part))
        db.execute("INSERT INTO manifest_chunk VALUES (?, ?, ?)", (manifest, seq, chunk))
    assert isinstance(manifest, int)
    return manifest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a database of version 3 with files, and an upload that goes on."""
    path = tmp_path / "store.db"
    script = Path(__file__).parents[1] / "schemas" / "3.sql"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script.read_text())
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 3")
        for number in range(10):
            plant(db, f"many/{number}", b"%d" % number)
        plant(db, "long", LONG)
        plant(db, "empty", b"")
        # A list that another chunk size made, and that is equal.
        plant(db, "short", SHORT)
        plant(db, "again", SHORT, 2 * CHUNK_SIZE)
        plant(db, "cut/otherwise", LONG, 2 * CHUNK_SIZE)
        for name, damage in (
            ("damaged/middle", "seq = 1"),
            ("damaged/end", "seq = 2"),
            ("damaged/all", "seq >= 0"),
        ):
            content = name.encode() * 1000
            manifest = plant(db, name, content[: 3 * CHUNK_SIZE])
            db.execute(f"DELETE FROM manifest_chunk WHERE manifest = ? AND {damage}", (manifest,))
        manifest = add_list(db, LONG[: 2 * CHUNK_SIZE])
        db.execute(
            "INSERT INTO upload (id, kind, manifest, received, extent, created, expires, target,"
            " media_type, conditions, checks, metadata, tail) VALUES (?, 'file', ?, ?, ?, 1,"
            " 1 << 52, 'uploaded', 'text/plain', '{}', '{}', '', ?)",
            (UPLOAD, manifest, 2 * CHUNK_SIZE + 4, 2 * CHUNK_SIZE + 4, b"tail"),
        )
        db.commit()
    return path


async def check(path: Path) -> None:
    """Check that all that could be read before can be read, and that damage is known."""
    store = await SQLiteStore.open(path)
    try:
        for number in range(10):
            assert await get(store, f"many/{number}") == b"%d" % number
        assert await get(store, "long") == await get(store, "cut/otherwise") == LONG
        assert await get(store, "short") == await get(store, "again") == SHORT
        assert await get(store, "empty") == b""
        found = [damage for step in await scrub(store) for damage in step.damage]
        names = [name for damage in found for name in damage.files]
        assert names == ["damaged/middle", "damaged/end", "damaged/all"]
        for name in names:
            with pytest.raises(StoreDamaged):
                await get(store, name)
            content = (name.encode() * 1000)[: 3 * CHUNK_SIZE]
            await put(store, name, content)
            assert await get(store, name) == content
        assert not any(step.damage for step in await scrub(store))
        upload = await store.uploads.get(UPLOAD)
        assert upload.state is UploadState.OPEN
        assert upload.chunks is not None
        kept = await store.contents.read(upload.chunks, 0, upload.chunks.size)
        assert kept + upload.tail == LONG[: 2 * CHUNK_SIZE] + b"tail"
    finally:
        await store.close()


async def test_all_lists_are_converted(path: Path) -> None:
    await check(path)


class Interrupted(Exception):
    """The process ended here, as it were."""


def migrate(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        schema.prepare(db)


async def test_a_conversion_goes_on_where_it_was_interrupted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asyncio.to_thread(migrate_with_interruptions, path, monkeypatch) > 10
    await check(path)


def migrate_with_interruptions(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Migrate in as many attempts as it takes; return how many were interrupted."""
    monkeypatch.setattr(list_conversion, "_PLACES_A_STEP", 3)
    transaction = list_conversion._transaction
    left = 0

    @contextmanager
    def counted(db: sqlite3.Connection) -> Iterator[None]:
        nonlocal left
        if not left:
            raise Interrupted
        left -= 1
        with transaction(db):
            yield

    monkeypatch.setattr(list_conversion, "_transaction", counted)
    interruptions = 0
    while True:
        # A long list takes many transactions, and begins anew; so each time there are more.
        left = 2 + interruptions
        try:
            migrate(path)
        except Interrupted:
            interruptions += 1
        else:
            break
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchall() == [(3,)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    monkeypatch.undo()
    return interruptions


async def test_what_an_older_program_did_meanwhile_is_converted_too(path: Path) -> None:
    await asyncio.to_thread(convert_and_change, path)
    await check(path)


def convert_and_change(path: Path) -> None:
    """Convert all lists, and then change files and an upload as version 3 did."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        list_conversion.convert_lists(db)
        db.row_factory = None
        db.execute("PRAGMA foreign_keys = ON")
        # Two files have changed places, and one was put again after its content was collected.
        files = db.execute(
            "SELECT name, manifest FROM file WHERE name IN ('many/0', 'many/1', 'many/9')"
        )
        manifests = dict(files.fetchall())
        for name, other in (("many/0", "many/1"), ("many/1", "many/0")):
            db.execute("UPDATE file SET manifest = ? WHERE name = ?", (manifests[other], name))
        for old, new in (("many/0", "x"), ("many/1", "many/0"), ("x", "many/1")):
            db.execute("UPDATE file SET name = ? WHERE name = ?", (new, old))
        db.execute("DELETE FROM file WHERE name = 'many/9'")
        db.execute("DELETE FROM manifest WHERE id = ?", (manifests["many/9"],))
        plant(db, "many/9", b"9")
        # The upload has come on, and what was not confirmed has gone.
        [(manifest,)] = db.execute("SELECT manifest FROM upload").fetchall()
        db.execute("DELETE FROM manifest_chunk WHERE manifest = ? AND seq = 1", (manifest,))
        kept = LONG[CHUNK_SIZE : 2 * CHUNK_SIZE]
        [(chunk,)] = db.execute(
            "SELECT id FROM chunk WHERE digest = ?", (blake3(kept).digest(),)
        ).fetchall()
        db.execute("INSERT INTO manifest_chunk VALUES (?, 1, ?)", (manifest, chunk))
