"""The store against a dict: any sequence of calls, what it holds checked after each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chunkstore.core.compression import DEFAULT_COMPRESSION, NO_COMPRESSION
from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.errors import ChunkstoreError, NameConflict, NotFound, PreconditionFailed
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.store import Store
from tests.backends import Backend, SQLiteBackend
from tests.conftest import on_each_backend
from tests.store import edits
from tests.store.conformance import CHUNK_SIZE, get, name_of, names, put, scrub
from tests.store.edits import delete, get_file

T = TypeVar("T")

file_names = st.sampled_from(["a", "b", "a/b", "c/d", "c/e"])
# Few different chunks, so that contents share them, by what they are filled with; and what follows.
shapes = st.tuples(st.binary(max_size=5), st.sampled_from([b"", b"x", b"end"]))


class StoreMachine(RuleBasedStateMachine):
    """Calls of the store, each mirrored on `files`."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.runner = asyncio.Runner()
        self.files: dict[str, bytes] = {}
        self.run(backend.clear())
        self.store: Store = self.run(backend.open())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    def expect(self, error: type[ChunkstoreError] | None, call: Coroutine[Any, Any, Any]) -> bool:
        """Run a call that must fail with `error`, or succeed if that is None; say which."""
        if error is None:
            self.run(call)
            return True
        with pytest.raises(error):
            self.run(call)
        return False

    @rule(name=file_names, shape=shapes, appended=st.integers(0, 3))
    def put(self, name: str, shape: tuple[bytes, bytes], appended: int) -> None:
        content = content_of(shape)
        error = NameConflict if conflicts(name, self.files) else None
        if self.expect(error, put(self.store, name, content, appended=appended)):
            self.files[name] = content

    @rule(name=file_names, shape=shapes)
    def create(self, name: str, shape: tuple[bytes, bytes]) -> None:
        content = content_of(shape)
        error: type[ChunkstoreError] | None = PreconditionFailed if name in self.files else None
        if error is None and conflicts(name, self.files):
            error = NameConflict
        if self.expect(error, put(self.store, name, content, CREATE_ONLY)):
            self.files[name] = content

    @rule(name=file_names)
    def delete(self, name: str) -> None:
        error = None if name in self.files else NotFound
        if self.expect(error, delete(self.store, name_of(name))):
            del self.files[name]

    @precondition(lambda self: self.files)
    @rule(source=file_names, to=file_names, move=st.booleans())
    def transfer(self, source: str, to: str, move: bool) -> None:
        if source == to or source not in self.files:
            return
        transfer = partial(edits.move if move else edits.copy, self.store)
        error = NameConflict if conflicts(to, self.files) else None
        if self.expect(error, transfer(name_of(source), name_of(to))):
            self.files[to] = self.files[source]
            if move:
                del self.files[source]

    @rule(name=file_names, start=st.integers(0, 30_000), length=st.integers(0, 30_000))
    def read_range(self, name: str, start: int, length: int) -> None:
        if name not in self.files:
            return
        content = self.files[name]
        start = min(start, len(content))
        stop = min(start + length, len(content))
        manifest = self.run(get_file(self.store, name_of(name))).manifest
        assert self.run(self.store.contents.read(manifest, start, stop)) == content[start:stop]

    @rule()
    def abandon_an_upload(self) -> None:
        async def abandon() -> None:
            upload = self.store.contents.begin()
            await upload.append([])
            await upload.abort()

        self.run(abandon())

    @rule(compressed=st.booleans())
    def reopen(self, compressed: bool) -> None:
        self.run(self.store.close())
        compression = DEFAULT_COMPRESSION if compressed else NO_COMPRESSION
        self.store = self.run(self.backend.open(compression=compression))

    @rule()
    def scrub(self) -> None:
        assert not any(step.damage for step in self.run(scrub(self.store)))

    @rule()
    def collect(self) -> None:
        self.run(collect_all(self.store.maintenance, 0))
        assert self.run(self.backend.rows.unused()) == []
        needed = {
            content[start : start + CHUNK_SIZE]
            for content in self.files.values()
            for start in range(0, len(content), CHUNK_SIZE)
        }
        stats = self.run(self.store.maintenance.stats())
        assert (stats.chunks, stats.unique_size) == (len(needed), sum(map(len, needed)))

    @invariant()
    def contents_are_equal(self) -> None:
        async def held() -> dict[str, bytes]:
            return {name: await get(self.store, name) for name in await names(self.store)}

        assert self.run(held()) == self.files

    @invariant()
    def every_reference_holds(self) -> None:
        assert self.run(self.backend.rows.broken()) == []


def content_of(shape: tuple[bytes, bytes]) -> bytes:
    chunks, last = shape
    return b"".join(bytes([value % 5]) * CHUNK_SIZE for value in chunks) + last


def conflicts(name: str, files: Iterable[str]) -> bool:
    """Whether a file's name is that of a folder, or a folder's that of a file."""
    return any(other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in files)


@on_each_backend
def test_any_sequence_of_calls(backend: Backend) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(backend)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            # Each takes several times as long there, most of it to open the store again and again.
            max_examples=20 if isinstance(backend, SQLiteBackend) else 8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
